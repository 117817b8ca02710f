"""Runs that do not reach their end: signals, --resume, divergence, readers that leave."""

import contextlib
import math
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.cli.watched import XPMLP, assert_same_run, at_event
from xpmlp import cli
from xpmlp.cli.watching import Interruption
from xpmlp.runs import RunDirectory, load_checkpoint
from xpmlp.training import StopTraining, Trainer

pytestmark = [pytest.mark.extended(keep=11), pytest.mark.usefixtures("undrawn")]

RESULTS = ("model.safetensors", "metrics.csv", "checkpoint.safetensors")


class PowerFailure(BaseException):
    """Nothing is saved after it, as after an ordinary error of a callback."""


@pytest.fixture
def slow(tiny: list[str]) -> list[str]:
    """100 steps an epoch: the loop looks up after 64 and after 100 of them."""
    return [*tiny, "--batch-size", "1", "--epochs", "3", "--shuffle"]


def interrupted(iteration: int) -> contextlib.AbstractContextManager[None]:
    """Runs stop, as after Ctrl-C, at the first look up after this many steps."""

    def interrupt(trainer: Trainer) -> None:
        if trainer.iteration >= iteration:
            signal.raise_signal(signal.SIGINT)

    return at_event("on_tick", interrupt)


def switched_off(iteration: int) -> contextlib.AbstractContextManager[None]:
    """The machine loses its power at the first look up after this many steps."""

    def switch_off(trainer: Trainer) -> None:
        if trainer.iteration >= iteration:
            raise PowerFailure

    return at_event("on_tick", switch_off)


@pytest.fixture
def unbroken(command, slow: list[str], tmp_path: Path) -> Path:
    assert command(*slow, "--out", "unbroken").status == 0
    return tmp_path / "unbroken"


# Resuming


@pytest.mark.extended(keep=2)
@pytest.mark.parametrize("iteration", [1, 65, 101, 200, 300])
@pytest.mark.parametrize("options", ["", "--members 2", "--dtype float64 --no-shuffle"])
def test_a_resumed_run_equals_the_unbroken_one(command, slow, iteration: int, options: str) -> None:
    assert command(*slow, *options.split(), "--out", "unbroken").status == 0
    with interrupted(iteration):
        said = command(*slow, *options.split(), "--out", "broken run")
    assert said.status == 130
    *_, last = said.err.splitlines()
    assert last == (
        f"xpmlp: stopped in epoch {1 + iteration // 101} of 3; all is saved: "
        "resume with xpmlp train --resume 'broken run'"
    )
    assert command("train", "--resume", "broken run").status == 0
    assert_same_run(Path("unbroken"), Path("broken run"))


def test_a_run_stopped_before_its_first_tick_can_go_on(command, slow, unbroken, tmp_path) -> None:
    """As when the machine is switched off in the first epoch."""
    first = RunDirectory(tmp_path / "first")

    with switched_off(0), pytest.raises(PowerFailure):
        command(*slow, "--out", first.path)
    assert load_checkpoint(first)[0].epoch == 0
    assert command("train", "--resume", first.path).status == 0
    assert_same_run(unbroken, first.path)


def test_more_epochs_give_what_a_longer_run_gives(command, tiny, trained: Path, tmp_path) -> None:
    shutil.copytree(trained, "r")
    assert command("train", "--resume", "r", "--epochs", "4").status == 0
    assert command(*tiny, "--epochs", "4", "--out", "long").status == 0
    assert_same_run(tmp_path / "long", tmp_path / "r")
    assert RunDirectory(tmp_path / "r").recipe.epochs == 4  # so that config.toml repeats the run


def test_resume_counts_the_seconds_of_both_parts(command, trained: Path) -> None:
    shutil.copytree(trained, "r")
    before = load_checkpoint(RunDirectory(Path("r")))[0].seconds
    command("train", "--resume", "r", "--epochs", "3", "--quiet")
    assert load_checkpoint(RunDirectory(Path("r")))[0].seconds > before > 0


def test_resume_tells_what_was_changed_and_can_be_forced(
    command, refused, tiny, make_data, tmp_path: Path
) -> None:
    data = make_data(tmp_path / "changing")
    command(*tiny, "--data", data, "--out", "r")
    config = RunDirectory(Path("r")).config
    config.write_text(config.read_text().replace("learning_rate = 0.03", "learning_rate = 0.01"))
    make_data(tmp_path / "changing", seed=1)
    line = refused("train", "--resume", "r", "--epochs", "5")
    assert "r: differs from its start: learning_rate 0.03 -> 0.01, other content of" in line
    assert "--force" in line
    assert load_checkpoint(RunDirectory(Path("r")))[0].epoch == 2
    assert command("train", "--resume", "r", "--epochs", "3", "--force").status == 0
    assert load_checkpoint(RunDirectory(Path("r")))[1].settings["learning_rate"] == 0.01
    # From now on it is a run with these.
    assert command("train", "--resume", "r", "--epochs", "4").status == 0
    forced = ("--epochs", "5", "--learning-rate", "0.02", "--force")
    assert command("train", "--resume", "r", *forced).status == 0
    assert RunDirectory(Path("r")).recipe.learning_rate == 0.02


def test_a_run_is_saved_in_mid_epoch(command, slow, unbroken: Path, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("xpmlp.runs.checkpoints.CHECKPOINT_SHARE", math.inf)

    with switched_off(60), pytest.raises(PowerFailure):
        command(*slow, "--checkpoint-every", "30", "--out", "r")
    stopped = load_checkpoint(RunDirectory(tmp_path / "r"))[0]
    assert (stopped.epoch, stopped.step) == (0, 60)
    assert command("train", "--resume", "r").status == 0
    assert_same_run(unbroken, tmp_path / "r")


# Signals


def start(*arguments: object, **streams: object) -> subprocess.Popen:
    return subprocess.Popen(
        [*XPMLP, *map(str, arguments)],
        text=True,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams},
    )


@pytest.mark.extended
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_run_after_all_is_saved(
    command, tiny, number: int, status: int, tmp_path: Path
) -> None:
    process = start(*tiny, "--epochs", 10**6, "--out", "r")
    assert process.stderr is not None
    assert process.stderr.readline().startswith("epoch 1/")
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == status
    *_, last = said.splitlines()
    assert last.startswith("xpmlp: stopped in epoch ")
    assert last.endswith("all is saved: resume with xpmlp train --resume r")
    assert "Traceback" not in said

    run = RunDirectory(tmp_path / "r")
    checkpoint = load_checkpoint(run)[0]
    assert len(run.load_history().losses) == checkpoint.epoch * 25 + checkpoint.step
    np.testing.assert_array_equal(run.load_model().parameters, checkpoint.parameters)
    epochs = checkpoint.epoch + 1
    assert command("train", "--resume", "r", "--epochs", epochs).status == 0
    assert command(*tiny, "--epochs", epochs, "--out", "unbroken").status == 0
    assert_same_run(tmp_path / "unbroken", tmp_path / "r")


@pytest.fixture
def heard_ctrl_c() -> Iterator[None]:
    """Ctrl-C as a terminal's program has it: a shell starts background jobs with it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heard_ctrl_c")
def test_second_signal_ends_at_once() -> None:
    before = signal.getsignal(signal.SIGTERM)
    interruption = Interruption()
    with interruption:
        signal.raise_signal(signal.SIGTERM)
        assert interruption.status == 143
        with pytest.raises(StopTraining):
            interruption.on_tick(None)
        assert signal.getsignal(signal.SIGTERM) is before  # which kills
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_signals_after_a_run_are_as_before() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with Interruption():
        pass
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_signal_that_comes_too_late_leaves_a_finished_run(command, slow, unbroken) -> None:
    with at_event("on_end", lambda _: signal.raise_signal(signal.SIGINT)):
        said = command(*slow, "--out", "late")
    assert said.status == 130
    assert "stopped" not in said.err
    assert "Run saved in late" in said.out
    assert_same_run(unbroken, Path("late"))


# Divergence


def test_a_run_that_diverges_says_where_and_keeps_the_last_good_state(
    command, tiny, tmp_path: Path
) -> None:
    options = ("--set", "model.activation=relu", "--learning-rate", "1e30", "--out", "r")
    said = command(*tiny, *options, "--quiet")
    assert said.status == 1
    assert len(said.err.splitlines()) == 1
    for part in ("nan at iteration 2 ", "learning rate 1e+30", "try a smaller one", "in r\n"):
        assert part in said.err
    run = RunDirectory(tmp_path / "r")
    assert np.isfinite(run.load_model().parameters).all()
    assert np.isfinite(load_checkpoint(run)[0].parameters).all()
    assert command("evaluate", "r").status == 0


def test_a_run_that_diverges_late_keeps_the_epochs_before(command, tiny, trained: Path) -> None:
    def spoil(trainer: Trainer) -> None:
        if trainer.epoch == 2:
            trainer.state.parameters[...] = np.nan

    with at_event("on_epoch", spoil):
        said = command(*tiny, "--epochs", "4", "--out", "r", "--quiet")
    assert said.status == 1
    assert "nan at iteration 51 (epoch 3, step 1)" in said.err
    assert "the state after 2 epochs is kept in r" in said.err
    assert_same_run(trained, Path("r"))


# Devices that leave


def test_a_gpu_that_is_lost_leaves_a_run_to_go_on_with(
    command, slow, unbroken: Path, tmp_path: Path, monkeypatch
) -> None:
    def unplugged(*_: object) -> None:
        raise RuntimeError("cudaErrorIllegalAddress: an illegal memory access was encountered")

    def unplug(trainer: Trainer) -> None:
        if trainer.epoch == 2:
            monkeypatch.setattr(trainer.engine, "run", unplugged)

    with at_event("on_epoch", unplug):
        said = command(*slow, "--out", "r")
    assert said.status == 4
    *_, last = said.err.splitlines()
    assert "numpy on cpu was lost in epoch 3, step 1 (cudaErrorIllegalAddress" in last
    assert last.endswith(
        "the state after 2 epochs is kept in r; resume with xpmlp train --resume r"
    )
    assert load_checkpoint(RunDirectory(tmp_path / "r"))[0].epoch == 2
    assert command("train", "--resume", "r").status == 0
    assert_same_run(unbroken, tmp_path / "r")


# Readers that leave


@pytest.mark.extended
def test_training_goes_on_when_the_reader_of_its_output_leaves(tiny, tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    process = start(*tiny, "--out", "r", stdout=write)
    os.close(write)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "Traceback" not in said
    assert all((tmp_path / "r" / name).is_file() for name in RESULTS)


@pytest.mark.extended
def test_training_goes_on_when_nobody_reads_its_progress(tiny, tmp_path: Path) -> None:
    process = start(*tiny, "--epochs", "40", "--out", "r")
    assert process.stderr is not None
    process.stderr.close()
    assert process.stdout is not None
    out = process.stdout.read()
    process.stdout.close()
    assert process.wait(timeout=60) == 0
    assert "Run saved in r" in out
    assert load_checkpoint(RunDirectory(tmp_path / "r"))[0].epoch == 40


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("arguments", [["evaluate"], ["--help"], ["evaluate", "--help"]])
def test_output_that_is_lost_is_status_1(trained: Path, arguments: list[str]) -> None:
    given = [*arguments, trained] if arguments == ["evaluate"] else arguments
    with open("/dev/full", "w") as full:
        process = start(*given, stdout=full)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert said.startswith("xpmlp: standard output: cannot be written (No space left on device)")
    assert len(said.splitlines()) == 1


@pytest.mark.extended
def test_a_name_that_the_output_cannot_encode_is_escaped(tiny) -> None:
    process = start(*tiny, "--out", "ü", env={**os.environ, "PYTHONIOENCODING": "ascii"})
    out, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert "Run saved in \\xfc" in out


def test_a_run_directory_deleted_in_mid_run_is_one_line(command, slow) -> None:
    with at_event("on_tick", lambda _: shutil.rmtree("r", ignore_errors=True)):
        said = command(*slow, "--out", "r", "--quiet")
    assert said.status == 2
    assert said.err.startswith("xpmlp: r/checkpoint.safetensors: cannot be written")
    assert len(said.err.splitlines()) == 1


def test_a_signal_before_training_listens_is_heard() -> None:
    """As the first process of a container a program gets no SIGTERM that it does not ask for."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(SystemExit) as left:
            cli.main(["--version"])
        assert left.value.code == 0
        with pytest.raises(SystemExit) as left:
            signal.raise_signal(signal.SIGTERM)
        assert left.value.code == 143
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_run_that_lost_its_results_is_finished_by_resuming(command, tiny) -> None:
    """Killed between its last checkpoint and its model: nothing is lost."""
    assert command(*tiny, "--out", "r", "--quiet").status == 0
    Path("r/training.png").touch()  # these tests draw nothing
    wanted = Path("r/model.safetensors").read_bytes()
    for name in ("model.safetensors", "summary.json", "history.npz", "metrics.csv"):
        Path("r", name).unlink()
        assert command("train", "--resume", "r", "--quiet").status == 0
        assert Path("r/model.safetensors").read_bytes() == wanted
        assert Path("r", name).is_file()
    assert command("train", "--resume", "r").status == 2


def test_a_table_with_other_names_is_not_resumed(command, tmp_path: Path) -> None:
    """Another name of a category may be encoded as the same rows."""
    table = (Path(__file__).parents[2] / "docs" / "trees.csv").read_text()
    (tmp_path / "trees.csv").write_text(table)
    words = ["train", "--data", "trees.csv", "--hidden", "4", "--epochs", "1", "--quiet"]
    assert command(*words, "--out", "run").status == 0
    (tmp_path / "trees.csv").write_text(table.replace("flaky", "flakes"))
    said = command("train", "--resume", "run", "--epochs", "2")
    assert said.status == 2
    assert "other content of" in said.err
    (tmp_path / "trees.csv").write_text(table)
    assert command("train", "--resume", "run", "--epochs", "2", "--quiet").status == 0
