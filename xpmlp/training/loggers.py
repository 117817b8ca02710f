"""Loggers: callbacks that write the numbers of each finished epoch for other programs to read.

What a log has follows from the run's history, so a resumed run, and one that is logged from its
middle on, has every epoch in it once.
"""

import bisect
import csv
import dataclasses
import importlib
import logging
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from xpmlp.checks import one_of
from xpmlp.errors import InputError
from xpmlp.training.callbacks import Callback
from xpmlp.training.trainer import Trainer

log = logging.getLogger(__name__)


class Logger(Callback):
    """Base of the loggers: writes each finished epoch once, as numbers by name.

    `loss` is the mean over the epoch's steps, `accuracy` (`r2` of a regression) that of the rows
    while they trained, `learning_rate` that of the last step, and `validation_loss` and
    `validation_accuracy` are those of the epoch's last evaluation. With E members each has E
    series: `loss/1`, `loss/2`, ...

    A place that cannot be written to is refused at the start. Later the run continues, with a
    warning, and the next epoch writes what is missing.
    """

    packages: ClassVar[tuple[str, ...]] = ()
    """What must be installed, the extra's name first."""

    place: ClassVar[str] = ""
    """What it writes in the directory of a run; by default the library names it."""

    _log: Any = None
    """What `_open` has opened: a writer, a client or a run, which cannot be pickled."""

    _written = 0
    _is_open = _is_refused = False

    @classmethod
    def require(cls) -> None:
        """Raise an error if a package that the logger needs is missing.

        Raises
        ------
        InputError
            With the command that installs it.
        """
        for package in cls.packages:
            try:
                importlib.import_module(package)
            except ImportError as error:
                raise InputError(
                    f"{cls.__name__}: {package} is not installed; "
                    f'pip install "xpmlp[{cls.packages[0]}]"'
                ) from error

    @classmethod
    def inside(cls, directory: Path) -> Self:
        """Return a logger that writes inside the directory of a run.

        Parameters
        ----------
        directory : Path
            The directory.

        Returns
        -------
        Logger
            The logger.
        """
        return cls(directory / cls.place)  # type: ignore[call-arg]  # a logger's first argument

    def on_start(self, trainer: Trainer, /) -> None:
        self._is_open = self._is_refused = False
        try:
            self._catch_up(trainer)
        except OSError as error:
            raise InputError(
                f"{type(self).__name__}: {error.filename or 'its place'} cannot be written "
                f"({error.strerror or error}); give another place"
            ) from error

    def on_epoch(self, trainer: Trainer, /) -> None:
        try:
            self._catch_up(trainer)
        except Exception as error:  # a library's own, too: no log is worth a run
            if not self._is_refused:
                log.warning(
                    "%s: epoch %d cannot be written (%s); training continues, and the next epoch "
                    "tries again", type(self).__name__, trainer.epoch, error,
                )  # fmt: skip
            self._is_refused, self._is_open = True, False

    def on_end(self, trainer: Trainer, /) -> None:
        if self._is_open:
            self._release(trainer)

    def _release(self, trainer: Trainer) -> None:
        self._is_open, opened, self._log = False, self._log, None
        if opened is not None:
            self._close(opened, trainer)

    def _catch_up(self, trainer: Trainer) -> None:
        if not self._is_open:
            self._release(trainer)
            self._log, self._written = self._open(trainer)
            self._is_open = True
        for epoch in range(self._written + 1, trainer.epoch + 1):
            self._write(epoch, numbers_of(epoch, trainer), trainer)
            self._written = epoch

    def _open(self, trainer: Trainer) -> tuple[Any, int]:
        """Begin, or continue; return the open log, and how many epochs it has already."""
        raise NotImplementedError

    def _write(self, epoch: int, numbers: dict[str, float], trainer: Trainer) -> None:
        """Write the numbers of an epoch, counted from 1, so that they outlive this process."""
        raise NotImplementedError

    def _close(self, opened: Any, trainer: Trainer) -> None:
        """Close what `_open` has opened."""
        raise NotImplementedError


class CSVLogger(Logger):
    """Write a CSV table with a row for each epoch.

    Parameters
    ----------
    path : path or str, default 'epochs.csv'
        The file. An existing file is overwritten when the run starts, with the epochs so far.

    Examples
    --------
    >>> log = xpmlp.CSVLogger("epochs.csv")
    >>> run = xpmlp.train(
    ...     xpmlp.MLP((2, 2)), np.eye(2), [0, 1], epochs=1, callbacks=[log], verbose=0
    ... )
    >>> from pathlib import Path
    >>> print(Path("epochs.csv").read_text().splitlines()[0])
    epoch,loss,accuracy,learning_rate
    """

    place = "epochs.csv"

    def __init__(self, path: Path | str = "epochs.csv") -> None:
        self.path = Path(path)

    def _open(self, trainer: Trainer) -> tuple[Any, int]:
        self._rows: list[dict[str, float]] = []
        self._columns: list[str] = []
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_bytes(b"")
        return None, 0

    def _write(self, epoch: int, numbers: dict[str, float], trainer: Trainer) -> None:
        row = {"epoch": epoch, **numbers}
        new = [name for name in row if name not in self._columns]
        self._columns += new
        self._rows.append(row)
        with self.path.open("w" if new else "a", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, self._columns, lineterminator="\n")
            if new:
                writer.writeheader()
            writer.writerows(self._rows if new else [row])


class TensorBoardLogger(Logger):
    """Write scalars for TensorBoard, with the epoch as step.

    Look at them with `tensorboard --logdir DIRECTORY`.

    Parameters
    ----------
    directory : path or str, default 'tensorboard'
        The directory of the event files. TensorBoard hides the scalars of earlier runs there.

    Raises
    ------
    InputError
        Without the extra `tensorboard`.

    Examples
    --------
    >>> log = xpmlp.TensorBoardLogger("logs")
    >>> run = xpmlp.train(
    ...     xpmlp.MLP((2, 2)), np.eye(2), [0, 1], epochs=1, callbacks=[log], verbose=0
    ... )
    """

    packages = ("tensorboard",)
    place = "tensorboard"

    def __init__(self, directory: Path | str = "tensorboard") -> None:
        self.require()
        self.directory = Path(directory)

    def _open(self, trainer: Trainer) -> tuple[Any, int]:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.plugins.hparams.summary_v2 import hparams_pb
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self.directory.mkdir(parents=True, exist_ok=True)
        writer = EventFileWriter(str(self.directory))
        # From here on readers forget the steps of earlier files, which are written anew.
        start = SessionLog(status=SessionLog.START)
        writer.add_event(Event(wall_time=time.time(), step=1, session_log=start))
        settings = hparams_pb(dict(settings_of(trainer)))
        writer.add_event(Event(wall_time=time.time(), summary=settings))
        writer.flush()
        return writer, 0

    def _write(self, epoch: int, numbers: dict[str, float], trainer: Trainer) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        since = trainer.seconds * (1.0 - epoch / trainer.epoch)  # about, of an earlier epoch
        values = [Summary.Value(tag=name, simple_value=one) for name, one in numbers.items()]
        summary = Summary(value=values)
        self._log.add_event(Event(wall_time=time.time() - since, step=epoch, summary=summary))
        self._log.flush()

    def _close(self, opened: Any, trainer: Trainer) -> None:
        opened.close()


class MLflowLogger(Logger):
    """Log to MLflow: settings as parameters, the numbers of each epoch as metrics.

    Parameters
    ----------
    directory : path or str, optional
        The directory of `mlflow.db`; a resumed run continues the newest run in it. By default
        `MLFLOW_TRACKING_URI` decides.
    experiment : str, default 'xpmlp'
        The name of MLflow's experiment.
    run_id : str, optional
        A run of MLflow to continue. Without it the attribute `run_id` is set when training starts.

    Raises
    ------
    InputError
        Without the extra `mlflow`.

    Examples
    --------
    >>> log = xpmlp.MLflowLogger("logs")
    >>> run = xpmlp.train(
    ...     xpmlp.MLP((2, 2)), np.eye(2), [0, 1], epochs=1, callbacks=[log], verbose=0
    ... )
    """

    packages = ("mlflow", "sqlalchemy", "alembic")

    def __init__(
        self,
        directory: Path | str | None = None,
        *,
        experiment: str = "xpmlp",
        run_id: str | None = None,
    ) -> None:
        self.require()
        self.directory = None if directory is None else Path(directory)
        self.experiment, self.run_id, self._given = experiment, run_id, run_id

    def _open(self, trainer: Trainer) -> tuple[Any, int]:
        from mlflow.entities import Param
        from mlflow.tracking import MlflowClient

        place = None
        if self.directory is not None:
            self.directory.mkdir(parents=True, exist_ok=True)
            place = f"sqlite:///{self.directory.resolve() / 'mlflow.db'}"
        client = MlflowClient(tracking_uri=place)
        known = client.get_experiment_by_name(self.experiment)
        number = known.experiment_id if known else client.create_experiment(self.experiment)
        if not trainer.iteration:
            self.run_id = self._given
        elif self.run_id is None and self.directory is not None:
            newest = client.search_runs([number], order_by=["attributes.start_time DESC"])
            self.run_id = newest[0].info.run_id if newest else None
        if self.run_id is None:
            self.run_id = client.create_run(number).info.run_id
            settings = [Param(name, str(value)) for name, value in settings_of(trainer)]
            client.log_batch(self.run_id, params=settings)
            return client, 0
        client.update_run(self.run_id, status="RUNNING")
        logged = client.get_metric_history(self.run_id, names_of("loss", trainer)[0])
        return client, max((metric.step for metric in logged), default=0)

    def _write(self, epoch: int, numbers: dict[str, float], trainer: Trainer) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(name, value, now, epoch) for name, value in numbers.items()]
        self._log.log_batch(self.run_id, metrics=metrics)

    def _close(self, opened: Any, trainer: Trainer) -> None:
        opened.set_terminated(self.run_id, "FINISHED" if trainer.is_over else "KILLED")


class WandbLogger(Logger):
    """Log to Weights & Biases: settings as config, numbers with the epoch as step.

    It is offline unless `mode=` or `WANDB_MODE` says otherwise; `wandb sync` uploads the run later.

    Parameters
    ----------
    directory : path or str, default '.'
        The directory of the folder `wandb`; a resumed run continues the newest run in it.
    project : str, default 'xpmlp'
        The name of the project.
    id : str, optional
        A run to continue. Without it the attribute `id` is set when training starts.
    **settings
        Further arguments of `wandb.init`: `mode="online"`, `name=`, `tags=`.

    Raises
    ------
    InputError
        Without the extra `wandb`.

    Examples
    --------
    >>> log = xpmlp.WandbLogger("logs")
    >>> run = xpmlp.train(
    ...     xpmlp.MLP((2, 2)), np.eye(2), [0, 1], epochs=1, callbacks=[log], verbose=0
    ... )
    """

    packages = ("wandb",)

    def __init__(
        self,
        directory: Path | str = ".",
        *,
        project: str = "xpmlp",
        id: str | None = None,
        **settings: Any,
    ) -> None:
        self.require()
        self.directory, self.id, self._given = Path(directory), id, id
        mode = settings.pop("mode", None) or os.environ.get("WANDB_MODE") or "offline"
        self._settings = {"project": project, "mode": mode, **settings}

    def _open(self, trainer: Trainer) -> tuple[Any, int]:
        import wandb

        self.directory.mkdir(parents=True, exist_ok=True)
        is_offline = self._settings["mode"] == "offline"
        if not trainer.iteration:
            self.id = self._given
        elif self.id is None:
            found = (self.directory / "wandb").glob("*run-*-*")
            runs = sorted(found, key=lambda run: run.name.removeprefix("offline-"))
            self.id = runs[-1].name.rpartition("-")[2] if runs else None
        run = wandb.init(
            dir=str(self.directory),
            id=self.id,
            resume="allow" if self.id and not is_offline else None,
            config=dict(settings_of(trainer)),
            **{
                "reinit": "create_new",
                "settings": wandb.Settings(console="off", silent=is_offline),
                **self._settings,
            },
        )
        self.id = run.id
        # Where a run online has come to; offline every epoch is written anew.
        return run, max(0, int(run.step) - 1)

    def _write(self, epoch: int, numbers: dict[str, float], trainer: Trainer) -> None:
        self._log.log(numbers, step=epoch, commit=True)

    def _close(self, opened: Any, trainer: Trainer) -> None:
        opened.finish()


LOGGERS: dict[str, type[Logger]] = {
    "csv": CSVLogger,
    "tensorboard": TensorBoardLogger,
    "mlflow": MLflowLogger,
    "wandb": WandbLogger,
}
"""The loggers by the names that `--log` takes."""


def loggers_named(names: Iterable[str]) -> list[type[Logger]]:
    """Return the loggers of these names, each once; refuse unknown ones and missing packages."""
    found = list(dict.fromkeys(names))
    for name in found:
        one_of(LOGGERS, log=name)
        LOGGERS[name].require()
    return [LOGGERS[name] for name in found]


def numbers_of(epoch: int, trainer: Trainer) -> dict[str, float]:
    """Return what the history has of a finished epoch, counted from 1, by the names of a log."""
    history, config, steps = trainer.history, trainer.config, trainer.steps_per_epoch
    rate = np.asarray(config.optimizer_config.learning_rate, np.float64)
    begin, end = (epoch - 1) * steps, epoch * steps
    found = {
        "loss": np.asarray(history.losses[begin:end]).mean(axis=0, dtype=np.float64),
        history.metric: history.accuracies[epoch - 1],
        "learning_rate": rate * config.lr_factors(epoch - 1, history, steps)[-1],
    }
    last = bisect.bisect(history.validation_iterations, end) - 1
    if last >= 0 and history.validation_iterations[last] > begin:
        found["validation_loss"] = history.validation_losses[last]
        found[f"validation_{history.metric}"] = history.validation_accuracies[last]
    members = trainer.metric_sum.shape
    return {
        each: float(number)
        for name, value in found.items()
        for each, number in zip(
            names_of(name, trainer), np.broadcast_to(value, members).ravel(), strict=True
        )
    }


def names_of(name: str, trainer: Trainer) -> list[str]:
    """The names of a series: its own, or with members one for each."""
    if not trainer.metric_sum.ndim:
        return [name]
    return [f"{name}/{member}" for member in range(1, trainer.metric_sum.size + 1)]


Setting = bool | int | float | str


def settings_of(trainer: Trainer) -> Iterator[tuple[str, Setting]]:
    """Yield every setting of a run by name, as libraries take hyperparameters."""
    model, backend = trainer.model, trainer.backend
    found = {one.name: getattr(model, one.name) for one in dataclasses.fields(model)}
    found |= {"parameters": model.size, "backend": backend.name, "device": backend.device_name}
    for name, value in {**found, **trainer.config.settings}.items():
        value = getattr(value, "name", value)
        if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
            value = ",".join(map(str, value))
        if isinstance(value, (bool, int, float, str)) and value != "":
            yield name, value
