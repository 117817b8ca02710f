"""Every call to the system that writing a checkpoint makes is made to fail in turn.

Once as Python makes them, wherever the tests run, and once as the kernel sees them, by strace,
where that can be had. The checkpoint before stays whole, and nothing half done stays beside it.
"""

import errno
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import xpmlp.files
from xpmlp.errors import InputError
from xpmlp.recipes import Recipe
from xpmlp.runs import RunDirectory, RunFingerprint, load_checkpoint, save_checkpoint
from xpmlp.training import History, Snapshot

CALLS = ("mkstemp", "close", "open", "fsync", "chmod", "replace", "unlink")
CODES = (errno.ENOSPC, errno.EIO, errno.EROFS, errno.EACCES, errno.ENOENT)


def snapshot(epoch: int) -> Snapshot:
    return Snapshot(
        {"parameters": np.full(1000, float(epoch))}, epoch, 0, np.zeros((), int), History()
    )


ORIGIN = RunFingerprint({}, data="", versions={})


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    """A run with the checkpoint of its first epoch."""
    run = RunDirectory.create(tmp_path / "r", Recipe())
    save_checkpoint(run, snapshot(1), ORIGIN)
    return run


def names(run: RunDirectory) -> set[str]:
    return {one.name for one in run.path.iterdir()}


class Failing:
    """A module whose calls count, and of which one fails."""

    def __init__(self, module: Any, log: list[str], fails: int, code: int) -> None:
        self._module, self._log, self._fails, self._code = module, log, fails, code

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._module, name)
        if name not in CALLS:
            return found

        def call(*arguments: Any, **settings: Any) -> Any:
            self._log.append(name)
            if len(self._log) == self._fails:
                raise OSError(self._code, os.strerror(self._code))
            return found(*arguments, **settings)

        return call


def save_failing(run: RunDirectory, fails: int, code: int) -> tuple[list[str], str]:
    """Write the second checkpoint with one call failing: the calls made, and what is said."""
    log: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        for module in ("os", "tempfile"):
            failing = Failing(getattr(xpmlp.files, module), log, fails, code)
            patch.setattr(xpmlp.files, module, failing)
        try:
            save_checkpoint(run, snapshot(2), ORIGIN)
        except InputError as error:
            return log, str(error)
    return log, ""


@pytest.mark.parametrize("code", CODES, ids=errno.errorcode.get)
def test_every_call_of_the_writer_fails_in_turn(run: RunDirectory, code: int) -> None:
    calls, said = save_failing(run, 0, code)
    assert said == ""
    writing = ["mkstemp", "close", "open", "fsync", "close", "chmod", "replace"]
    assert calls == [*writing, "open", "fsync", "close"]
    before = names(run)
    for fails in range(1, len(calls) + 1):
        save_checkpoint(run, snapshot(1), ORIGIN)
        _, said = save_failing(run, fails, code)
        is_written = fails > calls.index("replace") + 1  # what comes then only hurries the disk
        if not is_written:
            assert re.search(
                rf"checkpoint\.safetensors: cannot be written \(.*{os.strerror(code)}", said
            )
        assert load_checkpoint(run)[0].epoch == 1 + is_written
        assert names(run) == before


@pytest.mark.extended
def test_a_disk_that_is_full_after_any_number_of_bytes(run: RunDirectory) -> None:
    """The limit of a file's size, which the kernel keeps, stands for the disk's."""
    size, before = run.checkpoint.stat().st_size, names(run)
    code = (
        "import sys, resource, test_system_calls as t\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))\n"
        "run = t.RunDirectory(t.Path(sys.argv[1]))\n"
        "try: t.save_checkpoint(run, t.snapshot(2), t.ORIGIN)\n"
        "except t.InputError as error: print(error)\n"
    )
    for limit in (0, 1, 100, size // 2, size - 1):
        found = subprocess.run(
            [sys.executable, "-c", code, run.path, str(limit)],
            capture_output=True, text=True, cwd=Path(__file__).parent, check=True,
        )  # fmt: skip
        assert re.search(r"cannot be written \(.*File too large", found.stdout), found
        assert load_checkpoint(run)[0].epoch == 1
        assert names(run) == before


def test_a_directory_that_vanished(run: RunDirectory) -> None:
    shutil.rmtree(run.path)
    with pytest.raises(InputError, match=r"cannot be written \(No such file or directory\)"):
        save_checkpoint(run, snapshot(2), ORIGIN)
    assert not run.path.exists()


SAVING = """
import os, sys, test_system_calls as t
run, new = t.RunDirectory(t.Path(sys.argv[1])), t.snapshot(2)
print("ready", flush=True)
sys.stdin.readline()
try: t.save_checkpoint(run, new, t.ORIGIN)
except t.InputError as error: print(error)
os._exit(0)
"""
SYSTEM_CALLS = ("openat", "write", "fsync", "chmod", "rename", "close", "ftruncate", "fallocate")


def traced(run: RunDirectory, inject: str) -> SimpleNamespace:
    """A process that writes the second checkpoint while strace makes one of its calls fail."""
    saving = subprocess.Popen(
        [sys.executable, "-c", SAVING, run.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True, cwd=Path(__file__).parent,
    )  # fmt: skip
    assert saving.stdin is not None
    assert saving.stdout is not None
    assert saving.stdout.readline() == "ready\n"
    strace = subprocess.Popen(
        ["strace", "-p", str(saving.pid), "-e", f"trace={','.join(SYSTEM_CALLS)}", *(
            ["-e", f"inject={inject}"] if inject else []
        )],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert strace.stderr is not None
    if "attached" not in (line := strace.stderr.readline()):
        saving.kill()
        saving.communicate()
        pytest.skip(f"strace cannot attach here: {line.strip()}")
    said, _ = saving.communicate("go\n", timeout=60)
    return SimpleNamespace(said=said, trace=strace.communicate(timeout=60)[1])


@pytest.mark.extended
@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_every_system_call_of_the_writer_fails_in_turn(run: RunDirectory) -> None:
    plain = traced(run, "").trace
    assert load_checkpoint(run)[0].epoch == 2
    counts = {name: len(re.findall(rf"^{name}\(", plain, re.MULTILINE)) for name in SYSTEM_CALLS}
    assert min(counts[name] for name in ("openat", "write", "fsync", "chmod", "rename")) >= 1
    tried = 0
    for name, count in counts.items():
        for number in range(1, count + 1):
            save_checkpoint(run, snapshot(1), ORIGIN)
            found = traced(run, f"{name}:error=ENOSPC:when={number}")
            assert "INJECTED" in found.trace
            epoch = load_checkpoint(run)[0].epoch
            # Said, if it was not written; what is not said is written.
            assert epoch == (1 if "cannot be written" in found.said else 2), found
            tried += 1
    assert tried >= 8
