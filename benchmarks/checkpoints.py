"""What checkpoints cost, and how long a run takes to resume from one.

A process begins the lecture's run, or resumes one, and ends when its first step is about to be
taken; the two take turns. The cost is the time within `save` of a run of its own, by all of it.
"""

import datetime
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.machine import describe_machine

TO_THE_FIRST_STEP = """
import os, sys
from xpmlp.training.engine import Engine
Engine.run = lambda *_: os._exit(0)
from xpmlp.cli.app import run
sys.exit(run(sys.argv[1:]))
"""

SHARE_OF_CHECKPOINTS = """
import json, sys, time
from xpmlp.runs import Checkpoints
from xpmlp.training import Training
spent = dict(checkpoints=0.0, run=0.0, written=0)

def timed(owner, name, key):
    inner = getattr(owner, name)
    def call(*arguments, **settings):
        began = time.perf_counter()
        try:
            return inner(*arguments, **settings)
        finally:
            spent[key] += time.perf_counter() - began
            spent["written"] += key == "checkpoints"
    setattr(owner, name, call)

timed(Checkpoints, "save", "checkpoints")
timed(Training, "run", "run")
from xpmlp.cli.app import run
status = run(sys.argv[1:])
print(json.dumps(spent))
sys.exit(status)
"""

RUNS = {"lecture": ["lecture"], "modern": ["modern", "--epochs", "5"]}


def measure_checkpoints(*, rounds: int) -> dict[str, Any]:
    """The record: seconds to the first step, begun and resumed, and each recipe's share."""
    shares = {}
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        for name, arguments in RUNS.items():
            command = ["train", *arguments, "--quiet", "--out", name]
            said = _python(SHARE_OF_CHECKPOINTS, command, directory)
            spent = json.loads(said.splitlines()[-1])
            shares[name] = {**spent, "share": spent["checkpoints"] / spent["run"]}
        begun, gone_on = list[float](), list[float]()
        for number in range(rounds):
            fresh = ["train", "--quiet", "--out", f"fresh-{number}"]
            begun.append(_seconds(fresh, directory))
            gone_on.append(_seconds(["train", "--quiet", "--resume", f"fresh-{number}"], directory))
    return {
        "kind": "checkpoints",
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": describe_machine(),
        "contests": [],
        "shares": shares,
        "begun": begun,
        "gone_on": gone_on,
        "later": statistics.median(gone_on) - statistics.median(begun),
    }


def checkpoint_table(record: dict[str, Any]) -> str:
    """The record in lines."""
    lines = [
        f"{name}: {spent['written']} checkpoints, {spent['share']:.2%} of {spent['run']:.2f} s"
        for name, spent in record["shares"].items()
    ]
    medians = [statistics.median(record[name]) for name in ("begun", "gone_on")]
    return "\n".join(
        [
            *lines,
            f"to the first step: {medians[0]:.2f} s begun, {medians[1]:.2f} s resumed, "
            f"{record['later']:+.2f} s",
        ]
    )


def _seconds(command: list[str], directory: Path) -> float:
    began = time.perf_counter()
    _python(TO_THE_FIRST_STEP, command, directory)
    return time.perf_counter() - began


def _python(code: str, command: list[str], directory: Path) -> str:
    found = subprocess.run(
        [sys.executable, "-c", code, *command],
        cwd=directory, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if found.returncode:
        raise RuntimeError(f"{' '.join(command)}: status {found.returncode}: {found.stderr}")
    return found.stdout
