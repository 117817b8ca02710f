"""The answer first, then the time: competitors are checked, timed in turns, and recorded."""

import contextlib
import datetime
import importlib.metadata
import json
import math
import os
import platform
import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.competitors import WARM, Competitor, Problem, TakeTurn, Unavailable, lecture_losses

TOLERANCES = {"float32": 1e-4, "float64": 1e-9}
"""Largest relative difference allowed between any loss and the lecture's program's in float64."""

LIBRARIES = (
    "xpmlp", "numpy", "scipy", "scikit-learn", "jax", "jaxlib", "torch", "cupy-cuda12x",
    "cupy-cuda13x", "array-api-compat", "threadpoolctl",
)  # fmt: skip


@dataclass
class Row:
    """What was found of one competitor.

    `status` is "timed", "WRONG" (its losses differ: no time is taken), "not installed",
    "unavailable" or "failed", with `cause` in words. `difference` is the largest of its losses'
    relative differences, None where it has none; `microseconds` one figure a round.
    """

    name: str
    device: str
    precision: str
    includes: str
    status: str = "timed"
    cause: str = ""
    difference: float | None = None
    tolerance: float | None = None
    microseconds: list[float] = field(default_factory=list)
    median: float | None = None
    ratio_to_products: float | None = None


def measure(
    problem: Problem, competitors: Sequence[Competitor], *, steps: int, rounds: int, threads: int
) -> dict[str, Any]:
    """Check every competitor, time those that are right, and return the whole record.

    `steps` (a multiple of `WARM`) are under the clock in each turn; a round is a turn of each,
    and each round begins with another one.
    """
    if steps < WARM or steps % WARM:
        raise ValueError(f"steps={steps}: give a multiple of {WARM}")
    available = len(problem.labels) // problem.batch_size
    if WARM + steps > available:
        raise ValueError(f"steps={steps}: the data has batches for {available - WARM}")
    begun = datetime.datetime.now(datetime.UTC)
    rows = [Row(*competitor[:4]) for competitor in competitors]
    ready = {
        index: take_turn
        for index, competitor in enumerate(competitors)
        if (take_turn := _start(competitor, problem, rows[index])) is not None
    }
    with limited(threads) as pinned:
        expected = lecture_losses(problem, WARM + steps)
        for index, take_turn in list(ready.items()):
            if not _check(take_turn, expected, rows[index], steps):
                del ready[index]
        order = list(ready)
        for _ in range(rounds):
            for index in order:
                rows[index].microseconds.append(ready[index](steps).seconds * 1e6)
            order = [*order[1:], *order[:1]]
    _summarise(competitors, rows)
    return {
        "begun": begun.isoformat(timespec="seconds"),
        "problem": {
            "layer_sizes": problem.layer_sizes,
            "batch_size": problem.batch_size,
            "learning_rate": problem.learning_rate,
        },
        "steps_per_turn": steps,
        "warm_up_steps": WARM,
        "rounds": rounds,
        "threads": pinned,
        "machine": describe_machine(),
        "rows": [asdict(row) for row in rows],
    }


def _start(competitor: Competitor, problem: Problem, row: Row) -> TakeTurn | None:
    try:
        return competitor.start(problem)
    except ImportError as error:
        row.status, row.cause = "not installed", str(error)
    except Unavailable as error:
        row.status, row.cause = "unavailable", str(error)
    except Exception as error:  # one broken library leaves the others their turn
        row.status, row.cause = "failed", f"{type(error).__name__}: {error}"
    return None


def _check(take_turn: TakeTurn, expected: np.ndarray, row: Row, steps: int) -> bool:
    """Whether its losses are the lecture's; this turn compiles and warms up what there is."""
    try:
        losses = take_turn(steps).losses
    except Exception as error:
        row.status, row.cause = "failed", f"{type(error).__name__}: {error}"
        return False
    if losses is None:
        return True
    row.tolerance = TOLERANCES[row.precision]
    if losses.ndim != 1 or not len(losses) or len(expected) % len(losses):
        row.status, row.cause = "WRONG", f"losses of shape {losses.shape} for {expected.shape}"
        return False
    means = expected.reshape(len(losses), -1).mean(axis=1)
    difference = float(np.abs(losses / means - 1.0).max())
    row.difference = difference if math.isfinite(difference) else None  # JSON has no NaN
    if difference <= row.tolerance:
        return True
    row.status = "WRONG"
    row.cause = f"a loss differs by {difference:.1e} from the lecture's, allowed {row.tolerance:g}"
    return False


def _summarise(competitors: Sequence[Competitor], rows: Sequence[Row]) -> None:
    yardsticks = {}
    for competitor, row in zip(competitors, rows, strict=True):
        if row.microseconds:
            row.median = statistics.median(row.microseconds)
            if competitor.is_yardstick:
                yardsticks[row.device, row.precision] = row.median
    for row in rows:
        yardstick = yardsticks.get((row.device, row.precision))
        if row.median is not None and yardstick is not None:
            row.ratio_to_products = row.median / yardstick


@contextlib.contextmanager
def limited(threads: int) -> Iterator[dict[str, Any]]:
    """BLAS and PyTorch held to a number of threads; yields what is pinned, in words and figures.

    Enter it when all libraries are loaded: threadpoolctl does not see later ones.
    """
    pinned: dict[str, Any] = {"requested": threads}
    with contextlib.ExitStack() as stack:
        try:
            import threadpoolctl
        except ImportError:
            pinned["blas"] = "not limited: threadpoolctl is not installed"
        else:
            stack.enter_context(threadpoolctl.threadpool_limits(threads))
            pinned["blas"] = [
                {key: pool.get(key) for key in ("internal_api", "version", "num_threads")}
                for pool in threadpoolctl.threadpool_info()
            ]
        if torch := sys.modules.get("torch"):
            stack.callback(torch.set_num_threads, torch.get_num_threads())
            torch.set_num_threads(threads)
            pinned["torch"] = torch.get_num_threads()
            pinned["torch_float32_precision"] = torch.get_float32_matmul_precision()
        if "jax" in sys.modules:
            pinned["jax"] = "its CPU pool has a thread for each schedulable core"
            pinned["jax_float32_precision"] = "highest"
        pinned["schedulable_cores"] = len(schedulable_cores())
        yield pinned


def schedulable_cores() -> list[int]:
    """The cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))  # macOS and Windows cannot pin


def describe_machine() -> dict[str, Any]:
    """CPU, cores, load, and the versions of everything that takes part."""
    versions = {}
    for library in LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[library] = importlib.metadata.version(library)
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return {
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "load_average": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": versions,
        "numpy_blas": f"{blas['name']} {blas['version']}",
    }


def cpu_model() -> str:
    """The processor's name as Linux gives it, else what Python knows."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def table(record: dict[str, Any]) -> str:
    """The record for people: machine, a line for each competitor, what each includes."""
    machine, problem, threads = record["machine"], record["problem"], record["threads"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    blas = threads["blas"]
    if not isinstance(blas, str):
        pools = [
            f"{pool['internal_api']} {pool['version']}: {pool['num_threads']}" for pool in blas
        ]
        blas = f"threads {', '.join(dict.fromkeys(pools))}"
    lines = [
        f"{machine['cpu']}, {machine['cores']} cores, load {machine['load_average']}, "
        f"{machine['system']}",
        f"Python {machine['python']}, {versions}, NumPy's BLAS {machine['numpy_blas']}",
        f"pinned: process to {threads['schedulable_cores']} core(s), which JAX's pool follows; "
        f"{blas}; torch {threads.get('torch', 'not loaded')}",
        f"network {'-'.join(map(str, problem['layer_sizes']))}, batch {problem['batch_size']}, "
        f"learning rate {problem['learning_rate']:g}; {record['rounds']} rounds of "
        f"{record['steps_per_turn']} steps after {record['warm_up_steps']} to warm up; "
        "float32 products in float32, no TF32",
        "",
        f"{'us per training step':22}{'device':7}{'precision':11}{'median':>9}"
        f"{'min..max':>19}{'x products':>12}{'loss within':>13}",
    ]
    notes: dict[str, str] = {}
    for row in sorted(record["rows"], key=_place):
        start = f"{row['name']:22}{row['device']:7}{row['precision']:11}"
        if row["status"] != "timed":
            cause = row["cause"].partition("\n")[0]
            lines.append(f"{start}{row['status']}: {cause}")
            continue
        spread = f"{min(row['microseconds']):.1f}..{max(row['microseconds']):.1f}"
        ratio = "" if row["ratio_to_products"] is None else f"{row['ratio_to_products']:.2f}"
        within = "" if row["difference"] is None else f"{row['difference']:.1e}"
        lines.append(f"{start}{row['median']:9.1f}{spread:>19}{ratio:>12}{within:>13}")
        family = "xpmlp" if row["name"].startswith("xpmlp") else row["name"]
        notes.setdefault(family, row["includes"])
    return "\n".join([*lines, "", *(f"{name}: {note}" for name, note in notes.items())])


def _place(row: dict[str, Any]) -> tuple[object, ...]:
    """Device by device, precision by precision, quickest first; what has no time at the end."""
    timed = row["status"] == "timed" and row["median"] is not None
    return (not timed, row["device"], row["precision"], row["median"] if timed else 0.0)


def write_record(record: dict[str, Any], directory: Path, stem: str) -> Path:
    """Write the record as `STEM-<date>.json` and return its path."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{stem}-{datetime.datetime.now(datetime.UTC):%Y-%m-%d}.json"
    path.write_text(json.dumps(record, indent=1, allow_nan=False) + "\n")
    return path
