"""`xpmlp train --log NAME`: logs inside the run directory."""

import csv
import shutil
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.cli.watched import assert_same_run
from xpmlp.runs import RunDirectory, load_checkpoint
from xpmlp.training import Trainer
from xpmlp.training.loggers import CSVLogger

pytestmark = [
    pytest.mark.usefixtures("undrawn"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

LOG = ("--log", "csv", "--log", "tensorboard")


def epochs_of(run: Path) -> tuple[list[int], list[int]]:
    """The epochs in the table, and those in TensorBoard's files."""
    with (run / "epochs.csv").open(encoding="utf-8", newline="") as file:
        rows = [int(row["epoch"]) for row in csv.DictReader(file)]
    found = EventAccumulator(str(run / "tensorboard"))
    found.Reload()
    return rows, [one.step for one in found.Scalars("loss")]


def test_logs_have_what_metrics_have_and_resume(command, tiny, tmp_path: Path) -> None:
    said = command(*tiny, *LOG, "--out", "r")
    assert said.status == 0, said
    assert epochs_of(tmp_path / "r") == ([1, 2], [1, 2])
    assert command("train", "--resume", "r", "--epochs", "4", *LOG).status == 0
    assert epochs_of(tmp_path / "r") == ([1, 2, 3, 4], [1, 2, 3, 4])
    tables = []
    for name in ("metrics.csv", "epochs.csv"):
        with (tmp_path / "r" / name).open(encoding="utf-8", newline="") as file:
            tables.append([(row["loss"], row["accuracy"]) for row in csv.DictReader(file)])
    assert tables[0] == tables[1]


def test_log_begins_where_resume_asks_for_it(command, trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained, "r")
    assert command("train", "--resume", "r", "--epochs", "3", *LOG).status == 0
    assert epochs_of(tmp_path / "r") == ([1, 2, 3], [1, 2, 3])


@pytest.mark.parametrize(("event", "epoch"), [("on_start", 0), ("on_epoch", 1), ("on_end", 3)])
def test_failing_callback_leaves_a_run_to_resume(
    command, tiny, event: str, epoch: int, tmp_path: Path, monkeypatch
) -> None:
    def fail(self: CSVLogger, trainer: Trainer, /) -> None:
        raise RuntimeError("no server")

    assert command(*tiny, "--epochs", "3", "--out", "whole").status == 0
    with monkeypatch.context() as patch:
        patch.setattr(CSVLogger, event, fail)
        said = command(*tiny, "--epochs", "3", "--log", "csv", "--out", "r")
    assert said.status == 1
    again = ": resume with xpmlp train --resume r" if epoch < 3 else ""
    assert said.err.splitlines()[-1] == (
        f"xpmlp: callback CSVLogger failed in {event} (RuntimeError: no server); the run is as it "
        f"was after epoch {epoch}; all is saved in r{again}"
    )
    assert "Traceback" not in said.err
    run = RunDirectory(tmp_path / "r")
    assert load_checkpoint(run)[0].epoch == epoch == len(run.load_history().accuracies)
    if epoch < 3:
        assert command("train", "--resume", "r").status == 0
    assert_same_run(run.path, tmp_path / "whole")


def test_summary_says_who_stopped_a_run(command, tiny, tmp_path: Path) -> None:
    options = "--epochs 50 --set validation=0.2 --set patience=1 --set monitor=accuracy"
    said = command(*tiny, *options.split(), "--out", "r")
    stopped_by = RunDirectory(tmp_path / "r").load_summary()["stopped_by"]
    assert stopped_by.startswith("EarlyStopping: no better validation accuracy in the last 1")
    assert f" by {stopped_by}" in said.out
