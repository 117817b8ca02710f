"""What loggers write, read back by the libraries that it is written for, equals the history."""

import atexit
import csv
import functools
import json
import shutil
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import xpmlp
from tests.callbacks import StopAt, hearing
from tests.training import small_runs
from xpmlp import MLP, InputError, Split, Trainer, ValidationConfig
from xpmlp.optimizers import OPTIMIZERS
from xpmlp.training.loggers import LOGGERS, CSVLogger, loggers_named, settings_of

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(24, 6))
ROWS, HELD_OUT = Split(X[:18], np.arange(18) % 3), Split(X[18:], np.arange(6) % 3)
NUMBERS = Split(X[:18], X[:18, :1] - X[:18, 1:2])
MODEL, REGRESSION = MLP((6, 5, 3)), MLP((6, 5, 1), output="identity")
EPOCHS, STEPS = 5, 9

Series = dict[str, list[tuple[int, float]]]
"""The values of each series with their epochs."""

pytestmark = pytest.mark.filterwarnings("ignore")  # of other projects, from their libraries


@pytest.fixture(autouse=True)
def _nothing_is_sent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.chdir(tmp_path)


# Reading


def read_csv(directory: Path) -> Series:
    with (directory / "epochs.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return {
        name: [(int(row["epoch"]), float(row[name])) for row in rows if row[name]]
        for name in (rows[0] if rows else ())
        if name != "epoch"
    }


def read_tensorboard(directory: Path) -> Series:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(directory / "tensorboard"))
    found.Reload()
    return {
        name: [(one.step, one.value) for one in found.Scalars(name)]
        for name in found.Tags()["scalars"]
    }


def mlflow_run(directory: Path) -> tuple[Any, Any]:
    """MLflow's client, and its newest run."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{directory / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("xpmlp")
    runs = client.search_runs([experiment.experiment_id], order_by=["attributes.start_time DESC"])
    return client, runs[0]


def read_mlflow(directory: Path) -> Series:
    client, run = mlflow_run(directory)
    return {
        name: [(one.step, one.value) for one in client.get_metric_history(run.info.run_id, name)]
        for name in run.data.metrics
    }


def wandb_records(path: Path) -> Iterator[Any]:
    """The records of an offline run, as W&B's own messages.

    W&B 0.20 and later read these files with a program in Go that sends them on. The frame is that
    of LevelDB's logs: blocks of 32 KiB, in them a CRC, a length and a type (1 whole, 2 first, 3
    middle, 4 last part) before each part of a record, after a header of 7 bytes.
    """
    from wandb.proto.wandb_internal_pb2 import Record

    content, place, parts = path.read_bytes(), 7, b""
    assert content[:4] in (b":W&B", b"")  # not yet written
    while place + 7 <= len(content):
        left = 32768 - place % 32768
        if left < 7:
            place += left
            continue
        length, kind = struct.unpack_from("<HB", content, place + 4)
        part = content[place + 7 : place + 7 + length]
        place += 7 + length
        parts = part if kind in (1, 2) else parts + part
        if kind in (1, 4):
            record = Record()
            record.ParseFromString(parts)
            yield record


def wandb_run(directory: Path) -> list[Any]:
    """The records of the newest offline run, once its last one is there: another process writes
    them, and `finish` does not wait for it."""
    files = (directory / "wandb").glob("offline-run-*/*.wandb")
    newest = max(files, key=lambda file: file.parent.name)
    for _ in range(600):
        records = list(wandb_records(newest))
        if any(record.HasField("exit") for record in records):
            return records
        time.sleep(0.05)
    raise TimeoutError(f"{newest} has no end")


def read_wandb(directory: Path) -> Series:
    found: Series = {}
    for record in wandb_run(directory):
        if record.HasField("history"):
            step = record.history.step.num
            for item in record.history.item:
                name = item.key or "/".join(item.nested_key)
                if not name.startswith("_"):
                    found.setdefault(name, []).append((step, float(json.loads(item.value_json))))
    return found


READERS: dict[str, Callable[[Path], Series]] = {
    "csv": read_csv, "tensorboard": read_tensorboard, "mlflow": read_mlflow, "wandb": read_wandb,
}  # fmt: skip

LIGHT = ["csv", "tensorboard"]
EACH = [*LIGHT, *(pytest.param(name, marks=pytest.mark.trackers) for name in ("mlflow", "wandb"))]


# Expected values


def begin(model: MLP = MODEL, split: Split = ROWS, **settings: Any) -> Trainer:
    defaults = {"epochs": EPOCHS, "batch_size": 2, "dtype": "float64", "shuffle": False}
    return small_runs.begin(model, split, **{**defaults, **settings})


def expected_of(run: Trainer) -> Series:
    """From the history, by another way than the loggers go."""
    history, epochs = run.history, run.epoch
    score = "r2" if run.model.is_regression else "accuracy"
    rates = run.config.learning_rates(history, STEPS)
    by_epoch: dict[str, dict[int, np.ndarray]] = {
        name: dict(enumerate(values, start=1))
        for name, values in (
            ("loss", history.loss.reshape(epochs, STEPS, *run.metric_sum.shape).mean(axis=1)),
            (score, history[score]),
            ("learning_rate", rates[STEPS - 1 :: STEPS]),
        )
    }
    if validation := history.validation:
        at = -(-validation["validation_iteration"] // STEPS)
        by_epoch["validation_loss"] = dict(zip(at, validation["validation_loss"], strict=True))
        by_epoch[f"validation_{score}"] = dict(
            zip(at, validation[f"validation_{score}"], strict=True)
        )
    found: Series = {}
    for name, values in by_epoch.items():
        for epoch, value in values.items():
            several = np.broadcast_to(value, run.metric_sum.shape)
            for member, one in enumerate(several.ravel(), start=1):
                each = f"{name}/{member}" if run.metric_sum.ndim else name
                found.setdefault(each, []).append((epoch, float(one)))
    return found


def assert_same(found: Series, expected: Series, name: str) -> None:
    """Every bit, of float32 in TensorBoard's files; a mean may differ in its last bits."""
    assert found.keys() == expected.keys()
    for series, values in expected.items():
        assert [epoch for epoch, _ in found[series]] == [epoch for epoch, _ in values], series
        a, b = ([one for _, one in each] for each in (found[series], values))
        if name == "tensorboard":
            b = np.float32(b).tolist()
        if series.startswith("loss"):
            np.testing.assert_allclose(a, b, rtol=1e-15 if name != "tensorboard" else 1e-7)
        else:
            assert a == b, series


def log_into(directory: Path, name: str) -> Any:
    """A logger; making the tables of MLflow's database takes seconds, so they are made once."""
    for package in LOGGERS[name].packages:
        pytest.importorskip(package, reason=f"{package} is missing (the extra `{name}` brings it)")
    if name == "mlflow" and not (directory / "mlflow.db").exists():
        shutil.copy(tables_of_mlflow(), directory)
    return LOGGERS[name].inside(directory)


@functools.cache
def tables_of_mlflow() -> Path:
    directory = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, directory)
    begin(epochs=0).run([LOGGERS["mlflow"].inside(directory)])
    return directory / "mlflow.db"


def next_second() -> None:
    """Names of logs have the second they were begun in, and readers go by it."""
    time.sleep(1.0 - time.time() % 1.0)


RUNS: dict[str, Callable[[], Trainer]] = {
    "validated": lambda: begin(validation_config=ValidationConfig(HELD_OUT), schedule="cosine"),
    "every few steps": lambda: begin(
        validation_config=ValidationConfig(HELD_OUT, validate_every=12)
    ),
    "members": lambda: begin(
        seed=(1, 2),
        learning_rate=(0.03, 0.1),
        validation_config=ValidationConfig(HELD_OUT),
        schedule="plateau",
    ),
    "numbers": lambda: begin(REGRESSION, NUMBERS, bias_rate=2.0, warm_up=2.0),
}


@pytest.mark.parametrize("kind", RUNS)
@pytest.mark.parametrize("name", EACH)
def test_log_read_back_equals_the_history(name: str, kind: str, tmp_path: Path) -> None:
    run = RUNS[kind]().run([log_into(tmp_path, name)])
    assert_same(READERS[name](tmp_path), expected_of(run), name)


@pytest.mark.parametrize(("stopped", "resumed_from"), [(2, 2), (3, 1)])
@pytest.mark.parametrize("name", EACH)
def test_resumed_log_has_every_epoch_once(
    name: str, stopped: int, resumed_from: int, tmp_path: Path
) -> None:
    """Also where a process was killed later than its last checkpoint."""
    kept: dict[int, Any] = {}

    def keep(trainer: Trainer) -> None:
        kept[trainer.epoch] = trainer.last_good
        if trainer.epoch == stopped:
            trainer.stop("enough")

    begin().run([hearing(on_epoch=keep), log_into(tmp_path, name)])
    next_second()
    again = begin()
    again.restore(kept[resumed_from])
    again.run([log_into(tmp_path, name)])
    assert_same(READERS[name](tmp_path), expected_of(again), name)


@pytest.mark.parametrize("name", EACH)
def test_log_begun_later_has_the_epochs_before(name: str, tmp_path: Path) -> None:
    run = begin(epochs=2).run()
    run.extend(3)
    run.run([log_into(tmp_path, name)])
    assert_same(READERS[name](tmp_path), expected_of(run), name)


@pytest.mark.parametrize("name", EACH)
def test_logger_used_for_another_run_starts_anew(name: str, tmp_path: Path) -> None:
    logger = log_into(tmp_path, name)
    begin().run([logger])
    next_second()
    other = begin(epochs=2, learning_rate=0.2).run([logger])
    assert_same(READERS[name](tmp_path), expected_of(other), name)


def test_column_that_comes_later_is_empty_before(tmp_path: Path) -> None:
    path = tmp_path / "some.csv"
    run = begin(validation_config=ValidationConfig(HELD_OUT, validate_every=2 * STEPS)).run(
        [CSVLogger(path)]
    )
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [bool(row["validation_loss"]) for row in rows] == [False, True, False, True, False]
    assert float(rows[3]["validation_loss"]) == run.history.validation_losses[-1]


# Settings


def tensorboard_settings(directory: Path) -> dict[str, str]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    found = EventAccumulator(str(directory / "tensorboard"))
    found.Reload()
    plugin = found.SummaryMetadata("_hparams_/session_start_info").plugin_data
    hparams = HParamsPluginData.FromString(plugin.content).session_start_info.hparams
    return {name: str(getattr(value, value.WhichOneof("kind"))) for name, value in hparams.items()}


def mlflow_settings(directory: Path) -> dict[str, str]:
    return dict(mlflow_run(directory)[1].data.params)


def wandb_settings(directory: Path) -> dict[str, str]:
    return {
        item.key: str(json.loads(item.value_json))
        for record in wandb_run(directory)
        if record.HasField("run")
        for item in record.run.config.update
    }


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("tensorboard", tensorboard_settings),
        pytest.param("mlflow", mlflow_settings, marks=pytest.mark.trackers),
        pytest.param("wandb", wandb_settings, marks=pytest.mark.trackers),
    ],
)
def test_settings_are_hyperparameters(
    name: str, read: Callable[[Path], dict[str, str]], tmp_path: Path
) -> None:
    run = begin(epochs=1, optimizer="adam", learning_rate=0.25, shuffle=True)
    run.run([log_into(tmp_path, name)])
    found = read(tmp_path)
    assert float(found["learning_rate"]) == 0.25
    assert (found["optimizer"], found["layer_sizes"], found["shuffle"]) == ("adam", "6,5,3", "True")
    assert found["backend"] == "numpy"
    assert {name: float(found[name]) for name in ("epochs", "batch_size", "l2", "parameters")} == {
        "epochs": 1, "batch_size": 2, "l2": 0.0, "parameters": 53,
    }  # fmt: skip


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_settings_have_short_names(optimizer: str) -> None:
    found = dict(settings_of(begin(optimizer=optimizer, schedule="plateau", seed=(3, 4))))
    assert found["optimizer"] == optimizer.removesuffix("w")  # its weight decay is another setting
    assert (found["seed"], found["plateau_patience"], found["patience"]) == ("3,4", 5, 0)
    assert all(isinstance(value, (bool, int, float, str)) for value in found.values())


# MLflow and Weights & Biases


@pytest.mark.trackers
def test_mlflow_run_says_how_it_ended(tmp_path: Path) -> None:
    begin(epochs=2).run([StopAt(STEPS), log_into(tmp_path, "mlflow")])
    assert mlflow_run(tmp_path)[1].info.status == "KILLED"
    begin(epochs=2).run([log_into(tmp_path, "mlflow")])
    assert mlflow_run(tmp_path)[1].info.status == "FINISHED"


@pytest.mark.trackers
def test_wandb_is_offline_unless_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert log_into(tmp_path, "wandb")._settings["mode"] == "offline"
    assert xpmlp.WandbLogger(tmp_path, mode="disabled")._settings["mode"] == "disabled"
    monkeypatch.setenv("WANDB_MODE", "online")
    assert xpmlp.WandbLogger(tmp_path)._settings["mode"] == "online"


# What is refused, and what is not


@pytest.mark.parametrize("name", ["tensorboard", "mlflow", "wandb"])
def test_missing_package_is_one_line(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    for call in (LOGGERS[name], lambda: loggers_named([name])):
        with pytest.raises(InputError) as error:
            call()
        assert f'{name} is not installed; pip install "xpmlp[{name}]"' in str(error.value)


def test_unknown_logger_is_refused() -> None:
    assert loggers_named(["csv", "csv"]) == [CSVLogger]
    with pytest.raises(InputError, match="log='cvs': did you mean csv"):
        loggers_named(["cvs"])


def test_place_that_cannot_be_written_is_refused_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"CSVLogger: .*file.* cannot be written"):
        begin().run([CSVLogger(tmp_path / "file" / "epochs.csv")])


def test_disk_that_refuses_ends_no_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As a checkpoint that cannot be written; the epochs are written when it can again."""
    directory = tmp_path / "logs"

    def fill_and_empty(trainer: Trainer) -> None:
        if trainer.epoch == 2:
            directory.rename(tmp_path / "gone")
            directory.touch()
        elif trainer.epoch == 4:
            directory.unlink()

    run = begin().run([hearing(on_epoch=fill_and_empty), CSVLogger(directory / "epochs.csv")])
    assert_same(read_csv(directory), expected_of(run), "csv")
    [warning] = caplog.records
    assert "CSVLogger: epoch 2 cannot be written" in warning.getMessage()


def test_logged_run_learns_the_same(tmp_path: Path) -> None:
    logged = begin().run([log_into(tmp_path, name) for name in LIGHT])
    np.testing.assert_array_equal(logged.parameters, begin().run().parameters)
