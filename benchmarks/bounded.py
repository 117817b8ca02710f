"""Run a command for a limited time, and leave none of its processes behind."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

KILL_SECONDS = 5
"""How long to wait for a killed process: one stuck in a driver does not die."""


def run_bounded(
    command: Sequence[str], *, limit: float, output: Any, cwd: Path | None = None
) -> int | None:
    """Run a command and return its exit status, or None if it outlasts `limit` seconds.

    Standard output and error go to the file `output`. A pipe would not do: whatever the command
    leaves running would hold it open. In the end the whole process group is killed.
    """
    process = subprocess.Popen(
        command, cwd=cwd, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
        start_new_session=True,
    )  # fmt: skip
    try:
        return process.wait(limit)
    except subprocess.TimeoutExpired:
        return None
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(KILL_SECONDS)
