"""Measurements of xpmlp beside its yardsticks and its peers.

    training    a training step of one network (the default; --network, --device)
    inference   1 row and 10,000 rows, from host to host
    threads     the default number of CPU threads beside fixed ones (--busy: on a busy machine)
    processes   from process start to a trained model: seconds and peak memory
    scaling     a step's cost against width, depth, batch and members
    estimators  MLPClassifier beside scikit-learn's: fit, partial_fit, predict
    checkpoints what they cost, and how long a run takes to resume from one
    charts      draw the README's figures from records
    all         everything but the charts, each in a process of its own

Answers are compared with a float64 oracle before any time is taken; competitors take turns in
one run. Records go to --out, by default benchmarks/results; with --quick only where --out is given.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.machine import VARIABLES, pin, schedulable_cores
from benchmarks.problems import NETWORKS, network_problem
from benchmarks.record import failures, read_record, write_record

RESULTS = Path(__file__).resolve().parent / "results"
PICTURES = Path(__file__).resolve().parents[1] / "docs"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one part; 1 if a competitor was wrong or failed, or a part of `all` did."""
    parser = argument_parser()
    options = parser.parse_args(arguments)
    numbers = (options.threads, options.steps, options.rounds)
    if min(1 if number is None else number for number in numbers) < 1:
        parser.error("--threads, --steps and --rounds take integers from 1")
    if options.records and options.part != "charts":
        parser.error(f"{options.records[0]}: only charts are drawn from records")
    try:
        if options.part == "charts":
            return draw_charts(options)
        if options.part == "all":
            return run_all(options)
        return run_part(options)
    except ValueError as error:
        parser.error(str(error))


def argument_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("part", nargs="?", default="training", choices=[*PARTS, "charts", "all"])
    parser.add_argument("records", nargs="*", type=Path, metavar="RECORD", help="for charts")
    parser.add_argument("--network", choices=NETWORKS, default="lecture")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    parser.add_argument("--busy", action="store_true", help="threads: with every core busy")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where records or charts go")
    parser.add_argument("--steps", type=int, metavar="N", help="steps of a turn, rounded up")
    parser.add_argument("--rounds", type=int, metavar="N", help="turns of each competitor")
    parser.add_argument(
        "--threads", type=int, metavar="N",
        help="cores to use (1; threads, processes, estimators: as users find it)",
    )  # fmt: skip
    return parser


def run_part(options: argparse.Namespace) -> int:
    """One part in this process: its table printed, its records written."""
    if options.device == "cpu":
        os.environ.setdefault("JAX_PLATFORMS", "cpu")
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # the GPU is shared in a run
    if options.part == "threads":
        for name in VARIABLES:
            os.environ.pop(name, None)
    elif options.part not in ("processes", "estimators", "checkpoints") or options.threads:
        pin(options.threads or 1)
    failed = []
    for stem, record, text in PARTS[options.part](options):
        print(f"{text}\n", flush=True)
        if directory := options.out or (None if options.quick else RESULTS):
            print(f"written: {write_record(record, directory, named(stem, options))}\n", flush=True)
        for contest in contests(record):
            failed += failures(contest)
    for cause in failed:
        print(cause, file=sys.stderr)
    return int(bool(failed))


def named(stem: str, options: argparse.Namespace) -> str:
    """The record's name: what differs from the default is in it."""
    parts = [stem]
    if options.threads and options.threads > 1:
        parts.append(f"{options.threads}-threads")
    if options.busy:
        parts.append("busy")
    if options.device != "cpu":
        parts.append(options.device)
    return "-".join(parts)


def contests(record: dict[str, Any]) -> list[dict[str, Any]]:
    """The record itself, its contests, or the points of its sweeps: whatever has rows."""
    if "contests" in record:
        return list(record["contests"])
    if "sweeps" in record:
        return [point for sweep in record["sweeps"] for point in sweep["points"]]
    return [record]


Found = list[tuple[str, dict[str, Any], str]]
"""(stem, record, text) of each record of a part."""


def training(options: argparse.Namespace) -> Found:
    from benchmarks.competitors import for_training
    from benchmarks.tables import table
    from benchmarks.training import measure_training, whole_blocks

    network, problem = NETWORKS[options.network], network_problem(options.network)
    steps = options.steps or (network.quick_steps if options.quick else network.steps)
    record = measure_training(
        problem,
        for_training((options.device,), ceiling=options.network != "lecture", quick=options.quick),
        steps=whole_blocks(steps, problem),
        rounds=options.rounds or (network.quick_rounds if options.quick else network.rounds),
        threads=options.threads or 1,
    )
    return [(f"{options.network}-step", record, table(record))]


def inference(options: argparse.Namespace) -> Found:
    from benchmarks.competitors import for_inference
    from benchmarks.inference import CALLS, measure_inference
    from benchmarks.tables import table

    found: Found = []
    for rows, calls in CALLS.items():
        record = measure_inference(
            network_problem(options.network),
            for_inference((options.device,)),
            rows=rows,
            calls=max(1, calls // 4) if options.quick else calls,
            rounds=options.rounds or (3 if options.quick else 15),
            threads=options.threads or 1,
        )
        found.append((f"{options.network}-inference-{rows}", record, table(record)))
    return found


def threads(options: argparse.Namespace) -> Found:
    from benchmarks.tables import table
    from benchmarks.threads import measure_thread_choice
    from benchmarks.training import whole_blocks

    network, problem = NETWORKS[options.network], network_problem(options.network)
    # Long turns: a busy machine gives and takes the processor for tenths of a second at a time.
    steps = options.steps or (network.quick_steps if options.quick else 3 * network.steps)
    record = measure_thread_choice(
        problem,
        steps=whole_blocks(steps, problem),
        rounds=options.rounds or (network.quick_rounds if options.quick else network.rounds),
        busy=options.busy,
    )
    ratio = record["default_over_best"]
    said = "" if ratio is None else f"the default takes {ratio:.2f} times what the best takes"
    text = f"{table(record)}\n\nbusy processes: {record['busy_processes']}; {said}"
    return [(f"{options.network}-threads", record, text)]


def processes(options: argparse.Namespace) -> Found:
    from benchmarks.processes import measure_processes, process_table
    from benchmarks.tables import machine_lines, pinned

    record = measure_processes(
        device=options.device,
        rounds=options.rounds or (1 if options.quick else 5),
        quick=options.quick,
    )
    lines = [*machine_lines(record["machine"]), f"threads: {pinned(record['threads'])}", ""]
    return [("processes", record, "\n".join([*lines, process_table(record)]))]


def scaling(options: argparse.Namespace) -> Found:
    from benchmarks.scaling import measure_scaling
    from benchmarks.tables import machine_lines, pinned

    record = measure_scaling(
        device=options.device,
        rounds=options.rounds or (2 if options.quick else 7),
        threads=options.threads or 1,
        quick=options.quick,
    )
    lines = [*machine_lines(record["machine"]), f"threads: {pinned(record['threads'])}"]
    return [("scaling", record, "\n".join(lines))]


def estimators(options: argparse.Namespace) -> Found:
    from benchmarks.estimators import WORKS, measure_estimators, shortened
    from benchmarks.tables import machine_lines, pinned

    record = measure_estimators(
        device=options.device,
        rounds=options.rounds or (2 if options.quick else 7),
        threads=options.threads,
        works=[shortened(work) for work in WORKS] if options.quick else WORKS,
    )
    lines = [*machine_lines(record["machine"]), f"threads: {pinned(record['threads'])}"]
    return [("estimators" + "-one-core" * (options.threads == 1), record, "\n".join(lines))]


def checkpoints(options: argparse.Namespace) -> Found:
    from benchmarks.checkpoints import checkpoint_table, measure_checkpoints
    from benchmarks.tables import machine_lines

    record = measure_checkpoints(rounds=options.rounds or (2 if options.quick else 9))
    lines = [*machine_lines(record["machine"]), "", checkpoint_table(record)]
    return [("checkpoints", record, "\n".join(lines))]


PARTS: dict[str, Callable[[argparse.Namespace], Found]] = {
    "training": training,
    "inference": inference,
    "threads": threads,
    "processes": processes,
    "scaling": scaling,
    "estimators": estimators,
    "checkpoints": checkpoints,
}


def run_all(options: argparse.Namespace) -> int:
    """Each part in a process of its own, since threads are pinned before libraries are loaded."""
    shared = ["--device", options.device]
    for name in ("out", "rounds"):
        if (value := getattr(options, name)) is not None:
            shared += [f"--{name}", str(value)]
    if options.quick:
        shared.append("--quick")
    status = 0
    for arguments in plan(options.device, quick=options.quick, cores=len(schedulable_cores())):
        print(f"== {' '.join(arguments)}", flush=True)
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks", *arguments, *shared],
            cwd=Path(__file__).resolve().parents[1],
            check=False,
        )
        status = max(status, done.returncode)
    return status


def plan(device: str, *, quick: bool, cores: int) -> list[list[str]]:
    """The parts of `all`: large networks on all cores, the largest on a GPU only."""
    every_core = ["--threads", str(cores)]
    parts = [["training"], ["training", "--network", "wide", *every_core]]
    if not quick:
        parts.append(["training", "--network", "deep", *every_core])
    if device == "cuda":
        parts.append(["training", "--network", "huge", *every_core])
    parts += [["inference"], ["processes"], ["scaling"], ["estimators"]]
    if device == "cpu":
        parts += [["estimators", "--threads", "1"], ["checkpoints"]]
        parts += [["threads"], ["threads", "--busy"]]
        if not quick:
            parts.insert(4, ["inference", *every_core])
            wide = ["threads", "--network", "wide"]
            parts += [wide, [*wide, "--busy"]]
    return parts


def draw_charts(options: argparse.Namespace) -> int:
    """Draw the given records, by default into docs/."""
    from benchmarks.charts import draw

    if not options.records:
        raise ValueError("charts: give the records to draw, such as benchmarks/results/*.json")
    records = [read_record(path) for path in options.records]
    for path in draw(records, options.out or PICTURES):
        print(f"drawn: {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
