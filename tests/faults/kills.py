"""Runs killed at random moments, each then gone on with to the same bytes as one left alone.

    python tests/faults/kills.py --kills 200 --seed 1

Prints a line for each way of training, and at last how many kills were survived. The process that
is killed is forked from one that has everything imported, so that nearly all of its life is
training and writing; what kills it is SIGKILL, after a time drawn from 0 to that of a whole run.
"""

import argparse
import contextlib
import json
import math
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # a forked process has no other thread

import matplotlib.pyplot  # noqa: F401 (imported once, for all that are forked)
import numpy as np
import typer.rich_utils  # noqa: F401

from xpmlp.cli.app import run as xpmlp
from xpmlp.data import write_idx
from xpmlp.errors import InputError
from xpmlp.runs import RunDirectory, checkpoints, load_checkpoint

WAYS = {
    "plain": "",
    "members, momentum": "--members 3 --set optimizer.name=nesterov",
    "Adam, dropout, cosine": (
        "--set optimizer.name=adam --set objective.dropout=0.2 --set schedule.name=cosine"
    ),
    "AdamW, batch normalisation, EMA": (
        "--set optimizer.name=adamw --set model.normalization=batch --set optimizer.average=ema"
    ),
    "plateau, early stopping, the best kept": (
        "--set validation=0.2 --set schedule.name=plateau --set early_stopping.patience=6 "
        "--set early_stopping.restore_best=true --learning-rate 0.5"
    ),
    "RMSprop, SWA, mixup": (
        "--set optimizer.name=rmsprop --set optimizer.average=swa --set objective.mixup=0.3"
    ),
    "Lion, warm-up, clipping": (
        "--set optimizer.name=lion --set schedule.warm_up=2 --set optimizer.clip_norm=1.0 "
        "--learning-rate 0.001"
    ),
    "float64, max-norm, smoothing, a smaller last batch": (
        "--dtype float64 --set optimizer.max_norm=2 --set objective.label_smoothing=0.1 "
        "--set drop_last=false --batch-size 7"
    ),
}
"""Options of `xpmlp train`: whatever has a state of its own is in one of them."""

COMMON = (
    "--set model.layer_sizes=16,8,10 --batch-size 4 --epochs 12 --shuffle --backend numpy "
    "--threads 1 --checkpoint-every 10 --seed 3"
)

RESULTS = ("model.safetensors", "metrics.csv")
TIMES = ("seconds", "seconds_per_step")


class Outcome(NamedTuple):
    """How often a way of training was killed, in which stages, and what came of it."""

    kills: int
    before_first_checkpoint: int
    runs: int


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args(arguments)
    checkpoints.CHECKPOINT_SHARE = math.inf  # a checkpoint at every occasion, whatever it costs
    chance = random.Random(asked.seed)  # noqa: S311
    total = 0
    with tempfile.TemporaryDirectory(prefix="kills") as folder, contextlib.chdir(folder):
        write_data(Path("data"))
        each = -(-asked.kills // len(WAYS))
        for way, options in WAYS.items():
            command = ["train", *COMMON.split(), *options.split(), "--data", "data"]
            found = survive(command, kills=each, chance=chance)
            total += found.kills
            print(
                f"{way}: {found.kills} kills of {found.runs} runs, all gone on with to the same "
                f"bytes ({found.before_first_checkpoint} before the first checkpoint)"
            )
    print(f"{total} of {total} kills survived")
    return 0


def survive(command: list[str], *, kills: int, chance: random.Random) -> Outcome:
    """Kill runs of a command until so many kills are done, and compare each in the end."""
    for name in ("alone", "broken"):
        shutil.rmtree(name, ignore_errors=True)
    began = time.perf_counter()
    assert finish([*command, "--out", "alone"]) == 0
    whole = time.perf_counter() - began
    expected = content(Path("alone"))
    done = runs = early = 0
    while done < kills:
        shutil.rmtree("broken", ignore_errors=True)
        runs += 1
        for _ in range(chance.randint(1, 5)):
            if not was_killed(again(command), after=chance.uniform(0.0, whole)):
                break
            done += 1
            early += look(Path("broken"))
        while (status := finish(again(command))) != 0:
            raise AssertionError(f"going on ended with status {status}: {again(command)}")
        assert content(Path("broken")) == expected, f"other bytes: {command}"
        left = [one.name for one in Path("broken").iterdir() if "checkpoint.s" in one.name]
        assert left == ["checkpoint.safetensors"], left
    return Outcome(done, early, runs)


def again(command: list[str]) -> list[str]:
    """What goes on with the broken run, or begins it if it has not come so far."""
    run = Path("broken")
    if not (run / "config.toml").exists():
        return [*command, "--out", "broken"]
    if not (run / "checkpoint.safetensors").exists():
        shutil.rmtree(run)
        return [*command, "--out", "broken"]
    if is_finished(RunDirectory(run)):
        return ["evaluate", "broken"]
    return ["train", "--resume", "broken"]


def is_finished(run: RunDirectory) -> bool:
    try:
        summary = json.loads((run.path / "summary.json").read_text())
    except (OSError, ValueError):
        return False
    snapshot, _ = load_checkpoint(run)
    return bool(summary["epochs"] == snapshot.epoch and run.has_results_of(snapshot.epoch)) and (
        snapshot.epoch == run.recipe.epochs or "ended" in summary
    )


def look(run: Path) -> bool:
    """Whether there is no checkpoint yet; what there is must be whole."""
    if not (run / "checkpoint.safetensors").exists():
        return True
    load_checkpoint(RunDirectory(run))
    return False


def content(run: Path) -> dict[str, object]:
    """All that a run leaves, but for the time it took and its picture."""
    found: dict[str, object] = {name: (run / name).read_bytes() for name in RESULTS}
    with np.load(run / "history.npz") as arrays:
        found |= {name: arrays[name].tobytes() for name in arrays.files}
    snapshot, _ = load_checkpoint(RunDirectory(run))
    found |= {name: array.tobytes() for name, array in snapshot.state.items()}
    summary = json.loads((run / "summary.json").read_text())
    return found | {name: value for name, value in summary.items() if name not in TIMES}


def was_killed(command: list[str], *, after: float) -> bool:
    """Run a command in a process that is killed after so many seconds, unless it is done before."""
    child = forked(command)

    def kill(*_: object) -> None:
        with contextlib.suppress(ProcessLookupError):  # it ended a moment before
            os.kill(child, signal.SIGKILL)

    signal.signal(signal.SIGALRM, kill)
    signal.setitimer(signal.ITIMER_REAL, max(after, 1e-6))
    _, status = os.waitpid(child, 0)
    signal.setitimer(signal.ITIMER_REAL, 0.0)
    return os.WIFSIGNALED(status)


def finish(command: list[str]) -> int:
    """The exit status of a command that is left alone."""
    _, status = os.waitpid(forked(command), 0)
    return os.waitstatus_to_exitcode(status)


def forked(command: list[str]) -> int:
    """A process of its own that runs a command of xpmlp."""
    sys.stdout.flush()
    if child := os.fork():
        return child
    status = 1
    try:
        with open("said.txt", "w") as said:
            os.dup2(said.fileno(), 1)
            os.dup2(said.fileno(), 2)
            status = xpmlp([*command, "--quiet"] if command[0] == "train" else command)
    except InputError as error:
        print(error, file=sys.stderr)
    finally:
        os._exit(status)


def write_data(directory: Path) -> None:
    """A data set of 100 and 40 images of 4 x 4."""
    chance = np.random.default_rng(0)
    directory.mkdir()
    for part, count in (("train", 100), ("t10k", 40)):
        images = chance.integers(0, 256, (count, 4, 4), dtype=np.uint8)
        write_idx(directory / f"{part}-images-idx3-ubyte", images)
        labels = chance.integers(0, 10, count).astype(np.uint8)
        write_idx(directory / f"{part}-labels-idx1-ubyte", labels)


if __name__ == "__main__":
    sys.exit(main())
