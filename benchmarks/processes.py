"""Whole processes, from their start to a trained model: seconds and peak memory.

Interleaved like everything else, each process with nothing else of ours beside it, and the losses
of the epoch are compared before any time is reported.
"""

import datetime
import importlib.util
import json
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.bounded import run_bounded
from benchmarks.machine import describe_machine, limited
from benchmarks.problems import Problem, lecture_problem
from benchmarks.reference import reference_losses
from benchmarks.training import TOLERANCES, largest_difference

ROOT = Path(__file__).resolve().parents[1]
LAUNCHER = ROOT / "benchmarks" / "launch.py"

LIMIT = 600.0
"""Seconds that a program may take; the longest takes tens."""

WHOLE_RUN, STEPWISE = "xpmlp train", "JAX jit"
"""The lecture's 20 epochs, and the slower of JAX's two: what the quick form leaves out."""

FROM_PYTHON = """
import sys, numpy, xpmlp
mnist = xpmlp.load_mnist()
run = xpmlp.train(
    xpmlp.MLP((784, 64, 32, 10)), mnist.train, epochs=1, seed=11,
    backend=xpmlp.select_backend(sys.argv[1], sys.argv[2]),
)
numpy.savez(sys.argv[3], losses=run.history.loss, parts=())
"""
"""An epoch as the README has it."""


class Program(NamedTuple):
    """A command and where it leaves its losses; None for one that trains nothing.

    `needs` is a module without which it cannot run.
    """

    name: str
    includes: str
    command: list[str]
    losses: Path | None = None
    needs: str = "numpy"


@dataclass
class Row:
    """The result of one program: seconds from start to end, peak bytes, one figure a round."""

    name: str
    device: str
    precision: str
    includes: str
    status: str = "timed"
    cause: str = ""
    difference: float | None = None
    seconds: list[float] = field(default_factory=list)
    peak_bytes: list[int] = field(default_factory=list)
    gpu_peak_bytes: list[int] = field(default_factory=list)
    median_seconds: float | None = None
    median_peak_bytes: float | None = None


def programs(problem: Problem, device: str, directory: Path) -> list[Program]:
    """What is run on a device (`cpu`, `cuda`); files go into the directory."""
    from xpmlp.data import mnist

    python, backend = sys.executable, {"cpu": "numpy", "cuda": "cupy"}[device]
    weights = directory / "weights.npz"
    np.savez(weights, **dict[str, Any](problem.weights))
    here = Path(mnist.__file__).parent
    files = [str(here / f"train-{name}-ubyte.gz") for name in ("images-idx3", "labels-idx1")]
    run, api = directory / "run", directory / "api.npz"
    train = [
        python, "-m", "xpmlp", "train", "--backend", backend, "--device", device,
        "--seed", "11", "--quiet", "--out", str(run),
    ]  # fmt: skip
    found = [
        Program("python", "the interpreter alone", [python, "-c", "pass"]),
        Program("import xpmlp", "the import alone", [python, "-c", "import xpmlp"]),
        Program(
            "xpmlp train, 1 epoch",
            "the command: MNIST read, an epoch, evaluation, figure, run directory",
            [*train, "--epochs", "1"],
            run / "history.npz",
        ),
        Program(
            WHOLE_RUN,
            "the lecture's 20 epochs, likewise",
            train,
            run / "history.npz",
        ),
        Program(
            "xpmlp.train()",
            "from Python, as in the README: MNIST read, an epoch",
            [python, "-c", FROM_PYTHON, backend, device, str(api)],
            api,
        ),
    ]
    peers = [("PyTorch eager", "torch"), ("JAX scan", "jax"), (STEPWISE, "jax")]
    if device == "cpu":
        peers += [("lecture", "numpy"), ("scikit-learn", "sklearn"), ("thinc", "thinc")]
    for number, (name, module) in enumerate(peers):
        losses = directory / f"losses-{number}.npz"
        command = [
            python, "-m", "benchmarks.one_epoch", name, device, *files, str(weights), str(losses)
        ]  # fmt: skip
        found.append(
            Program(name, "MNIST read by NumPy, the import, an epoch", command, losses, module)
        )
    return found


def measure_processes(
    *, device: str = "cpu", rounds: int, quick: bool = False, only: Sequence[str] = ()
) -> dict[str, Any]:
    """The record of the programs, run in turns; `only` and `quick` leave some out."""
    begun = datetime.datetime.now(datetime.UTC)
    problem = lecture_problem()
    expected = reference_losses(problem, problem.batches)
    with tempfile.TemporaryDirectory() as temporary:
        chosen = [
            program
            for program in programs(problem, device, Path(temporary))
            if (not only or program.name in only)
            and not (quick and program.name in (WHOLE_RUN, STEPWISE))
        ]
        rows = take_turns(
            chosen, rounds, lambda losses, parts: _judge(losses, parts, expected), device=device
        )
    with limited(None) as threads:
        pass
    return {
        "begun": begun.isoformat(timespec="seconds"),
        "problem": problem.describe(),
        "device": device,
        "rounds": rounds,
        "threads": threads,
        "machine": describe_machine(),
        "rows": [asdict(row) for row in rows],
    }


def take_turns(
    programs: Sequence[Program],
    rounds: int,
    judge: Callable[[np.ndarray, Sequence[int]], float],
    *,
    device: str = "cpu",
) -> list[Row]:
    """Run each program once untimed, judge its losses, then time those that are right in turns.

    The first run also brings the program's files into the system's cache.
    """
    rows = [Row(program.name, device, "float32", program.includes) for program in programs]
    watch_gpu = device == "cuda"
    ready = []
    for program, row in zip(programs, rows, strict=True):
        if importlib.util.find_spec(program.needs) is None:
            row.status, row.cause = "not installed", f"no module {program.needs}"
        elif _run(program, row, watch_gpu) and _is_right(program, row, judge):
            ready.append((program, row))
    for row in rows:
        row.seconds, row.peak_bytes, row.gpu_peak_bytes = [], [], []
    for _ in range(rounds):
        for program, row in ready:
            if row.status == "timed":
                _run(program, row, watch_gpu)
        ready = [*ready[1:], *ready[:1]]
    for row in rows:
        if row.status == "timed":
            row.median_seconds = statistics.median(row.seconds)
            row.median_peak_bytes = statistics.median(row.peak_bytes)
    return rows


def _run(program: Program, row: Row, watch_gpu: bool) -> bool:
    """Run it once; False, with the cause in its row, where it fails or takes too long."""
    with tempfile.TemporaryDirectory() as directory:
        report = Path(directory) / "report.json"
        if program.losses is not None:
            _remove(program.losses)
        command = [sys.executable, "-S", str(LAUNCHER), *(["--watch-gpu"] if watch_gpu else []),
                   str(report), *program.command]  # fmt: skip
        with (Path(directory) / "output").open("w+") as output:
            status = run_bounded(command, limit=LIMIT, output=output, cwd=ROOT)
            output.seek(0)
            said = output.read().strip().splitlines() or ["it said nothing"]
        found: dict[str, Any] = {"status": status}
        if report.exists():
            found = json.loads(report.read_text())
    if status is None:
        row.status, row.cause = "failed", f"stopped after {LIMIT:g} s: {said[-1]}"
        return False
    if found["status"] != 0:
        row.status, row.cause = "failed", f"exit status {found['status']}: {said[-1]}"
        return False
    row.seconds.append(found["seconds"])
    row.peak_bytes.append(found["peak_bytes"])
    if "gpu_peak_bytes" in found:
        row.gpu_peak_bytes.append(found["gpu_peak_bytes"])
    return True


def _remove(losses: Path) -> None:
    """What an earlier turn left; a run directory wholly, since `xpmlp train` makes a new one."""
    if losses.name == "history.npz" and losses.parent.is_dir():
        for path in losses.parent.iterdir():
            path.unlink()
        losses.parent.rmdir()
    losses.unlink(missing_ok=True)


def _is_right(
    program: Program, row: Row, judge: Callable[[np.ndarray, Sequence[int]], float]
) -> bool:
    if program.losses is None:
        return True
    with np.load(program.losses) as arrays:
        if "losses" in arrays:
            difference = judge(arrays["losses"], arrays["parts"].astype(int).tolist())
        else:
            difference = judge(arrays["loss"], ())
    row.difference = difference if np.isfinite(difference) else None
    if difference <= TOLERANCES["float32"]:
        return True
    row.status = "WRONG"
    row.cause = f"its losses differ by {difference:.1e} from the oracle's"
    return False


def _judge(losses: np.ndarray, parts: Sequence[int], expected: np.ndarray) -> float:
    """Only the first epoch has an oracle; parts are given for as many steps as were trained."""
    steps = sum(parts) if parts else len(losses)
    return largest_difference(losses, expected, parts or (1,) * steps)


def process_table(record: dict[str, Any]) -> str:
    """The record for people, quickest first."""
    lines = [
        f"{'process, start to end':24}{'median s':>10}{'min..max':>16}{'peak MB':>10}"
        f"{'GPU MB':>9}{'losses within':>15}"
    ]
    timed = [row for row in record["rows"] if row["status"] == "timed"]
    for row in sorted(timed, key=lambda row: row["median_seconds"]):
        spread = f"{min(row['seconds']):.2f}..{max(row['seconds']):.2f}"
        gpu = f"{max(row['gpu_peak_bytes']) / 1e6:.0f}" if row["gpu_peak_bytes"] else ""
        within = "" if row["difference"] is None else f"{row['difference']:.1e}"
        lines.append(
            f"{row['name']:24}{row['median_seconds']:10.2f}{spread:>16}"
            f"{row['median_peak_bytes'] / 1e6:10.0f}{gpu:>9}{within:>15}"
        )
    lines += [
        f"{row['name']:24}{row['status']}: {row['cause']}"
        for row in record["rows"]
        if row["status"] != "timed"
    ]
    return "\n".join([*lines, "", *(f"{row['name']}: {row['includes']}" for row in timed)])
