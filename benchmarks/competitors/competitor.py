"""What a competitor is: something that prepares a problem and then takes turns at it."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from benchmarks.problems import Problem

PRODUCTS = "bare products"
"""The yardstick: ratios are taken to the competitor of this name, device and precision."""

CEILING = "square product"
"""The rate of a large square matrix product, as time for a step's multiply-adds."""


class Turn(NamedTuple):
    """What a turn took and what came out of it.

    `seconds` of a step (or a call) under the clock; `answer` what is checked: the losses of all
    steps, or the probabilities of all rows, None where there are none (bare products). A library
    that tells only mean losses gives the number of steps behind each as `parts`. `note` is what a
    record should know, such as the threads that were chosen.
    """

    seconds: float
    answer: np.ndarray | None
    parts: tuple[int, ...] | None = None
    note: str = ""


TakeTurn = Callable[[int], Turn]
"""Takes a turn of this many steps, or calls, under the clock."""

Start = Callable[[Any], TakeTurn]
"""Imports what is needed, copies to the device; raises where that cannot be done."""

Advance = Callable[[int, int], np.ndarray]
"""Train from one step to another, (first, stop), and return the losses, on the host."""


class Unavailable(Exception):
    """Raised by `start` where this machine has no such library or device; says which."""


class Competitor(NamedTuple):
    """`start` raises `Unavailable` or `ModuleNotFoundError` where it cannot run.

    `includes` says in words what is under the clock.
    """

    name: str
    device: str
    precision: str
    includes: str
    start: Start


def clocked(problem: Problem, begin: Callable[[], Advance]) -> TakeTurn:
    """Turns of a competitor that can start anew and train from one step to another.

    The losses reach the host inside the clock, so a GPU has finished by then.
    """

    def take_turn(count: int) -> Turn:
        advance = begin()
        losses = [advance(0, problem.warm)] if problem.warm else []
        started = time.perf_counter()
        losses.append(advance(problem.warm, problem.warm + count))
        seconds = time.perf_counter() - started
        return Turn(seconds / count, np.concatenate(losses))

    return take_turn


def repeated(call: Callable[[], Any]) -> TakeTurn:
    """Turns that make the same call again and again; the first, not timed, gives the answer."""

    def take_turn(count: int) -> Turn:
        answer = call()
        started = time.perf_counter()
        for _ in range(count):
            call()
        return Turn((time.perf_counter() - started) / count, answer)

    return take_turn


def refuse_members(problem: Problem) -> None:
    """Raise `Unavailable` for several members: this competitor trains one network."""
    if problem.members > 1:
        raise Unavailable(f"it trains one network, not {problem.members} at once")
