"""Everything worth recording on a machine with an NVIDIA GPU, in one call of a few minutes.

    python benchmarks/gpu.py DIR                 writes DIR/gpu-<date>-1.json, or -2, ...
    python benchmarks/gpu.py DIR --only huge     some parts: DIR/gpu-huge-<date>-1.json
    python benchmarks/gpu.py DIR --tiny          a rehearsal with tiny sizes: DIR/gpu-tiny-...

Each part is a process with a time limit, the most informative part first. One that crashes, hangs
or fails is recorded with what it found until then, and the others still run. The record is
written anew after each part. This process never opens the GPU.
Exit status: 0 all parts passed, 1 a part failed, 2 bad usage or missing packages, 3 no GPU (with
2 and 3 nothing is written).
"""

import argparse
import datetime
import importlib.util
import json
import math
import os
import platform
import shlex
import signal
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
if Path(sys.path[0]).resolve() == ROOT / "benchmarks":
    sys.path[0] = str(ROOT)  # run as a file: `import benchmarks` works, `import timing` does not

BUDGET = 540.0
"""Seconds for all parts together."""

LIMITS = {
    "machine": 60.0,
    "tests": 90.0,
    "gradcheck": 45.0,
    "lecture": 90.0,
    "huge": 90.0,
    "members": 60.0,
    "deep": 60.0,
    "inference": 45.0,
    "precisions": 45.0,
    "estimators": 60.0,
    "kernels": 60.0,
    "sanitizer": 60.0,
    "all-tests": 180.0,
}
"""The parts in their order, and the seconds that each may take. `gpu_parts.py` has what they do."""

RESERVE = 10.0
"""Seconds of the budget kept back, for ending a part that hangs and for writing the record."""

TAIL = 40
"""Lines of output that the record keeps of a part that failed."""

DISTRIBUTIONS = {
    "array_api_compat": "array-api-compat",
    "array_api_strict": "array-api-strict",
    "cupy": "cupy-cuda13x",
    "hypothesis": "hypothesis",
    "jinja2": "jinja2",
    "matplotlib": "matplotlib",
    "numpy": "numpy",
    "PIL": "pillow",
    "pytest": "pytest",
    "rich": "rich",
    "safetensors": "safetensors",
    "sklearn": "scikit-learn",
    "threadpoolctl": "threadpoolctl",
    "tomli_w": "tomli-w",
    "typer": "typer",
}
"""The distribution of each module that the parts cannot do without. PyTorch and JAX are peers:
without them their rows say so."""


class Part(NamedTuple):
    """A command and its time limit in seconds.

    Two paths are added to the command: the JSON file where it leaves its findings, as often as it
    likes, and the record so far. It has passed if it exits with 0 and its findings have `passed`.
    """

    name: str
    limit: float
    command: tuple[str, ...]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the parts, write the record and return the exit status."""
    options = _parser().parse_args(arguments)
    missing = missing_distributions()
    if missing and missing != ["cupy-cuda13x"]:
        print(remedy(missing), file=sys.stderr)
        return 2
    if cause := no_gpu():
        print(f"no GPU here ({cause}): nothing measured, nothing written", file=sys.stderr)
        return 3
    if missing:
        print(remedy(missing), file=sys.stderr)
        return 2

    from benchmarks.record import claim_record

    # JAX would otherwise take three quarters of the GPU's memory.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    chosen = [name for name in LIMITS if name == "machine" or name in (options.only or LIMITS)]
    size = ["--tiny"] if options.tiny else []
    parts = [
        Part(name, LIMITS[name], (sys.executable, "-m", "benchmarks.gpu_parts", name, *size))
        for name in chosen
    ]
    stem = "-".join(["gpu", *(["tiny"] if options.tiny else []), *(options.only or ())])
    path = claim_record(options.directory, stem)
    record = run_parts(parts, path, budget=options.budget, about={"tiny": options.tiny})
    failed = [name for name, found in record["parts"].items() if not found["passed"]]
    print(f"failed: {', '.join(failed)}" if failed else "all parts passed")
    print(f"written: {path}")
    return int(bool(failed))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python benchmarks/gpu.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("directory", type=Path, metavar="DIR", help="where the record goes")
    parser.add_argument(
        "--only", nargs="+", metavar="PART", choices=LIMITS,
        help=f"some parts, beside `machine`: {', '.join(LIMITS)}",
    )  # fmt: skip
    parser.add_argument(
        "--budget", type=_seconds, default=BUDGET, metavar="S",
        help=f"seconds for all parts together ({BUDGET:g})",
    )  # fmt: skip
    parser.add_argument("--tiny", action="store_true", help="a rehearsal: the figures mean nothing")
    return parser


def _seconds(text: str) -> float:
    seconds = float(text)
    if not RESERVE < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"{text}: give more than {RESERVE:g} seconds")
    return seconds


def missing_distributions() -> list[str]:
    """Name what must be installed first; nothing is imported."""
    return sorted(
        distribution
        for module, distribution in DISTRIBUTIONS.items()
        if importlib.util.find_spec(module) is None
    )


def remedy(missing: Sequence[str]) -> str:
    """Return one line that names missing distributions and the command that fetches them."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    platforms = " ".join(
        f"--platform manylinux_2_{minor}_{platform.machine()}" for minor in (17, 27, 28)
    )
    fetch = f"pip download --only-binary=:all: --python-version {version} {platforms} -d wheels"
    return (
        f"missing: {', '.join(missing)}; fetch them where there is a network: "
        f"{fetch} --no-deps {shlex.join(missing)}; CONTRIBUTING.md says how to use them here"
    )


def no_gpu() -> str:
    """Say why there is no GPU, or nothing if there is one; a process of its own asks the driver."""
    from benchmarks.bounded import run_bounded

    code = "from xpmlp.backends.cupy import ask_driver; print(*ask_driver())"
    with tempfile.TemporaryFile("w+") as output:
        status = run_bounded([sys.executable, "-c", code], limit=60, output=output, cwd=ROOT)
        output.seek(0)
        lines = output.read().split("\n")[:-1] or [""]
    if status is None:
        return "the NVIDIA driver did not answer within 60 s"
    if status != 0:
        return f"the NVIDIA driver could not be asked: {lines[-1]}"
    driver, gpus = lines[-1].split()
    if driver == "0":
        return "no NVIDIA driver"
    return "the NVIDIA driver shows no GPU" if gpus == "0" else ""


def run_parts(
    parts: Sequence[Part], path: Path, *, budget: float, about: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Run one part after the other within the budget; the record is at `path` after each."""
    from benchmarks.record import replace_record

    ends = time.monotonic() + budget - RESERVE
    found: dict[str, Any] = {}
    record = {
        "begun": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": sys.argv,
        "budget_seconds": budget,
        **(about or {}),
        "parts": found,
    }
    replace_record(record, path)
    for part in parts:
        left = ends - time.monotonic()
        if left < 1.0:
            found[part.name] = {"passed": False, "summary": "not run: the budget is used up"}
        else:
            found[part.name] = _run_part(part, min(part.limit, left), path)
        replace_record(record, path)
        said = found[part.name]
        print(
            f"{part.name:10} {'passed' if said['passed'] else 'FAILED'}"
            f"{said.get('seconds', 0.0):7.1f} s  {said['summary']}",
            flush=True,
        )
    return record


def _run_part(part: Part, limit: float, record: Path) -> dict[str, Any]:
    """Return the part's findings, with how it ended, its seconds and, if it failed, its output."""
    from benchmarks.bounded import run_bounded

    started = time.monotonic()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory:
        report, log = Path(directory) / "report.json", Path(directory) / "log"
        with log.open("wb") as output:
            command = (*part.command, str(report), str(record.resolve()))
            status = run_bounded(command, limit=limit, output=output, cwd=ROOT)
        found = _findings(report)
        lines = log.read_text(errors="replace").splitlines()
    ended = _ended(status, limit)
    passed = status == 0 and found.get("passed") is True
    summary = found.get("summary", "")
    if status != 0:
        last = next((line for line in reversed(lines) if line.strip()), "no output")
        summary = "; ".join(filter(None, (ended, last, summary)))
    elif not summary:
        summary = ended
    return {
        **found,
        "passed": passed,
        "ended": ended,
        "seconds": round(time.monotonic() - started, 1),
        "summary": summary,
        **({} if passed else {"output": lines[-TAIL:]}),
    }


def _findings(report: Path) -> dict[str, Any]:
    try:
        found = json.loads(report.read_text())
    except (OSError, ValueError) as error:
        return {"summary": f"no findings ({type(error).__name__})"}
    return found if isinstance(found, dict) else {"summary": "its findings are no JSON object"}


def _ended(status: int | None, limit: float) -> str:
    if status is None:
        return f"stopped after {limit:.0f} s"
    if status < 0:
        return f"ended by {signal.Signals(-status).name}"
    return f"exit status {status}"


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that a part's processes end too
    sys.exit(main())
