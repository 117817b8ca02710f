"""Whole processes: their time, their memory, and whether they have learned the right thing."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from benchmarks import processes
from benchmarks.processes import LAUNCHER, Program, measure_processes, process_table, take_turns
from benchmarks.record import failures

pytestmark = pytest.mark.extended

PYTHON = sys.executable


def launch(report: Path, *command: str, before: tuple[str, ...] = (), **settings) -> dict:
    subprocess.run(
        [PYTHON, "-S", str(LAUNCHER), *before, str(report), *command],
        check=True, capture_output=True, **settings,
    )  # fmt: skip
    return json.loads(report.read_text())


def test_peak_is_the_commands_and_not_its_parents(tmp_path: Path) -> None:
    ballast = np.ones(30_000_000)  # this process holds 240 MB
    small = launch(tmp_path / "small.json", PYTHON, "-S", "-c", "pass")
    large = launch(tmp_path / "large.json", PYTHON, "-S", "-c", "x = b'1' * 100_000_000")
    assert ballast.nbytes > 200_000_000
    assert small["status"] == large["status"] == 0
    assert 1_000_000 < small["peak_bytes"] < 60_000_000
    assert 90_000_000 < large["peak_bytes"] - small["peak_bytes"] < 110_000_000


def test_time_and_status_are_the_commands(tmp_path: Path) -> None:
    code = "import time; time.sleep(0.2); raise SystemExit(3)"
    found = launch(tmp_path / "report.json", PYTHON, "-S", "-c", code)
    assert found["status"] == 3
    assert 0.2 <= found["seconds"] < 10.0


def test_gpus_memory_is_what_it_rose_by(tmp_path: Path) -> None:
    """With a stand-in for nvidia-smi that shows 500, then 900 MiB."""
    fake = tmp_path / "nvidia-smi"
    fake.write_text("#!/bin/sh\necho 500\nsleep 0.1\necho 900\nexec sleep 60\n")
    fake.chmod(0o755)
    found = launch(
        tmp_path / "report.json", PYTHON, "-S", "-c", "import time; time.sleep(0.5)",
        before=("--watch-gpu",),
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
    )  # fmt: skip
    assert found["gpu_peak_bytes"] == 400 * 2**20


@pytest.mark.parametrize("code", ["exec sleep 60", "exit 1", "trap '' TERM; sleep 60"])
def test_an_nvidia_smi_without_an_answer_is_not_waited_for(
    code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = tmp_path / "nvidia-smi"
    fake.write_text(f"#!/bin/sh\n{code}\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    started = time.monotonic()
    impatient = "import sys; from benchmarks import launch; launch.ANSWER_SECONDS = 0.5; "
    subprocess.run(
        [PYTHON, "-c", f"{impatient} launch.main(sys.argv[1:])", "--watch-gpu",
         str(tmp_path / "report"), PYTHON, "-S", "-c", "pass"],
        check=True, cwd=LAUNCHER.parents[1],
    )  # fmt: skip
    assert time.monotonic() - started < 10.0
    found = json.loads((tmp_path / "report").read_text())
    assert found["status"] == 0
    assert "gpu_peak_bytes" not in found


def test_a_program_that_hangs_is_stopped_with_all_that_it_has_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = tmp_path / "late"
    child = f"import time; time.sleep(4); open({str(late)!r}, 'w')"
    code = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {child!r}]); "
    monkeypatch.setattr(processes, "LIMIT", 1.0)
    hangs = Program("hangs", "", [PYTHON, "-S", "-c", f"{code} time.sleep(60)"])
    started = time.monotonic()
    (row,) = take_turns([hangs], 2, distance_from_one)
    assert (row.status, row.cause) == ("failed", "stopped after 1 s: it said nothing")
    assert time.monotonic() - started < 4.0
    time.sleep(max(0.0, started + 6.0 - time.monotonic()))
    assert not late.exists()


def distance_from_one(losses: np.ndarray, parts: Sequence[int]) -> float:
    assert not parts
    return abs(float(losses[0]) - 1.0)


def test_programs_that_fail_or_err_get_no_time(tmp_path: Path) -> None:
    def saving(name: str, value: float) -> Program:
        path = tmp_path / f"{name}.npz"
        code = f"import numpy; numpy.savez({str(path)!r}, losses=[{value}], parts=())"
        return Program(name, "", [PYTHON, "-c", code], path)

    rows = take_turns(
        [
            saving("right", 1.0),
            saving("wrong", 2.0),
            Program("ends badly", "", [PYTHON, "-S", "-c", "raise SystemExit('out of luck')"]),
            Program("absent", "", [PYTHON], needs="no_such_module"),
        ],
        2,
        distance_from_one,
    )
    right, wrong, bad, absent = rows
    assert (right.status, right.difference, len(right.seconds)) == ("timed", 0.0, 2)
    assert right.median_seconds is not None
    assert right.median_seconds > 0.0
    assert (wrong.status, wrong.difference) == ("WRONG", 1.0)
    assert (bad.status, bad.cause) == ("failed", "exit status 1: out of luck")
    assert absent.status == "not installed"
    assert not wrong.seconds
    assert not bad.seconds
    assert wrong.median_seconds is None


def test_command_and_the_lectures_program_learn_alike() -> None:
    names = ("xpmlp train, 1 epoch", "xpmlp.train()", "lecture")
    record = measure_processes(rounds=1, only=names)
    assert [row["name"] for row in record["rows"]] == list(names)
    assert failures(record) == []
    for row in record["rows"]:
        assert row["difference"] < 1e-5
        assert row["median_peak_bytes"] > 50_000_000  # MNIST's images, at least
        assert row["name"] in process_table(record)


@pytest.mark.filterwarnings("default")
def test_one_epoch_needs_nothing_of_xpmlp() -> None:
    code = "import sys, benchmarks.one_epoch; print('xpmlp' in sys.modules)"
    done = subprocess.run(
        [PYTHON, "-c", code], cwd=LAUNCHER.parents[1], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
