"""The library's own choice of CPU threads beside fixed numbers of them, quiet or busy."""

import contextlib
from typing import Any

from benchmarks.competitors import xpmlp
from benchmarks.machine import every_core_busy, schedulable_cores
from benchmarks.problems import Problem
from benchmarks.training import measure_training

DEFAULT = "default threads"

PATIENCE = 5.0
"""Threads that wait for each other on a busy machine can take a hundred times as long: a turn of
them shows it, and a whole measurement of them would take an hour."""


def measure_thread_choice(
    problem: Problem, *, steps: int, rounds: int, busy: bool
) -> dict[str, Any]:
    """xpmlp on NumPy with its default, with 1, 2, 4 ... threads, and with one for every core.

    `busy` runs an endless loop on every core meanwhile. Nothing is pinned or limited: what a user
    finds who sets no variable. `default_over_best` is the default's
    median over the least median of a fixed count.
    """
    competitors = [xpmlp.training("numpy", "cpu", name=DEFAULT)]
    competitors += [
        xpmlp.training("numpy", "cpu", name=fixed(count), threads=count)
        for count in thread_counts(len(schedulable_cores()))
    ]
    with every_core_busy() if busy else contextlib.nullcontext(0) as processes:
        record = measure_training(
            problem, competitors, steps=steps, rounds=rounds, threads=None, patience=PATIENCE
        )
    return {**record, "busy_processes": processes, **compare_with_best(record["rows"])}


def fixed(count: int) -> str:
    """The name of the competitor with a fixed number of threads."""
    return f"{count} thread{'s' if count > 1 else ''}"


def thread_counts(cores: int) -> list[int]:
    """1, 2, 4, ... and the number of cores."""
    powers = [2**exponent for exponent in range(cores.bit_length()) if 2**exponent <= cores]
    return sorted({*powers, cores})


def compare_with_best(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The best fixed count by its median, and the default's median over it."""
    timed = {row["name"]: row for row in rows if row["median"] is not None}
    default = timed.pop(DEFAULT, None)
    if default is None or not timed:  # one of them failed
        return {"best": None, "default_over_best": None}
    best = min(timed.values(), key=lambda row: row["median"])
    return {"best": best["name"], "default_over_best": default["median"] / best["median"]}
