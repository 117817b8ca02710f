"""Runs that something happens to on their way, and what two runs have in common."""

import contextlib
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from xpmlp.cli.watching import Interruption
from xpmlp.training import Trainer

RUN_FILES = (
    "config.toml", "checkpoint.safetensors", "model.safetensors", "history.npz", "metrics.csv",
    "summary.json", "training.png",
)  # fmt: skip
"""What a run leaves."""

XPMLP = [sys.executable, "-m", "xpmlp"]


@contextlib.contextmanager
def at_event(
    event: str, act: Callable[[Trainer], object], *, command: str = "train"
) -> Iterator[None]:
    """Do something at an event of every run of a command, before what it does there itself."""

    def method(self: Interruption, trainer: Trainer, /) -> None:
        act(trainer)
        getattr(Interruption, event)(self, trainer)

    acting = type("Acting", (Interruption,), {event: method})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(f"xpmlp.cli.{command}.Interruption", acting)
        yield


def assert_same_run(one: Path, other: Path) -> None:
    """Both learned the same, byte for byte; but for the seconds, the checkpoints are the same."""
    for name in ("model.safetensors", "metrics.csv"):
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
    histories = [dict(np.load(run / "history.npz")) for run in (one, other)]
    for first, second in (
        histories,
        [load_file(run / "checkpoint.safetensors") for run in (one, other)],
    ):
        assert first.keys() == second.keys()
        for name, array in first.items():
            assert array.dtype == second[name].dtype, name
            assert array.tobytes() == second[name].tobytes(), name


def on_a_terminal(*arguments: str, status: int = 0, **environment: str) -> str:
    """Return what a command prints to a terminal that has colours."""
    main, terminal = pty.openpty()
    ours = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "CI")}
    process = subprocess.Popen(
        [*XPMLP, *arguments], stdin=terminal, stdout=terminal, stderr=terminal,
        env={**ours, "TERM": "xterm-256color", "COLUMNS": "100", **environment},
    )  # fmt: skip
    os.close(terminal)
    seen = b""
    with contextlib.suppress(OSError):  # how Linux says that the other end is closed
        while block := os.read(main, 4096):
            seen += block
    os.close(main)
    assert process.wait() == status
    return seen.decode()
