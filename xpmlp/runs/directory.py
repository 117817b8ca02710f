"""The run directory: everything that a run of training leaves behind, each file whole.

config.toml              the recipe with every setting: training it again repeats the run
checkpoint.safetensors   where the run stands: parameters, optimizer, counters, history
model.safetensors        W1 b1 W2 b2 ..., with the architecture as metadata
history.npz              loss per iteration, accuracy per epoch
metrics.csv              a row per epoch
summary.json             what the run came to
training.png             the lecture's two panels (drawn by xpmlp.reports)
report.html              a page about it all (`xpmlp report`)
"""

import contextlib
import csv
import io
import itertools
import json
import logging
import math
import platform
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import xpmlp
from xpmlp import renamed
from xpmlp.data import Dataset, Schema, load_data
from xpmlp.data.conversion import as_trained
from xpmlp.data.npy import read_npz
from xpmlp.data.schema import NAMELESS
from xpmlp.data.tables import is_table
from xpmlp.display import short_repr
from xpmlp.errors import InputError, remedy
from xpmlp.files import nearest_path, write_atomically
from xpmlp.network import ARCHITECTURE, MLP, Objective
from xpmlp.recipes import MOST_MEMBERS, Recipe, load_recipe
from xpmlp.tensors import load_tensors, save_tensors
from xpmlp.training import Evaluation, History, Trainer
from xpmlp.typing import DTYPES

log = logging.getLogger(__name__)

SUMMARY_NUMBERS = (
    "epochs", "steps", "seconds", "seconds_per_step", "train_accuracy", "test_accuracy",
    "test_loss", "validation_accuracy", "validation_loss",
)  # fmt: skip


METADATA_NAMES = ("classes", "columns")
"""What a model's file may have the names of."""


LOSS = ("loss", "huber_delta", "quantile")
"""What a model's file says of its loss."""


class TrainedModel(NamedTuple):
    """A network with its flat parameters on the host, as a run directory has it.

    `image_shape` is the shape of a row as an image; `takes_bytes` says whether rows are bytes,
    which are scaled; `classes` and `columns` are names or None; `objective` has the loss. `target`
    is the column of the labels, empty if they had none and None if 0.1.0 did not record it."""

    model: MLP
    parameters: np.ndarray
    image_shape: tuple[int, ...]
    takes_bytes: bool
    classes: np.ndarray | None = None
    columns: np.ndarray | None = None
    objective: Objective = Objective()
    target: str | None = ""

    @property
    def schema(self) -> Schema:
        """The names of its data; integers from 0 are no names."""
        classes = () if self.classes is None else tuple(self.classes.tolist())
        columns = () if self.columns is None else tuple(map(str, self.columns))
        is_counted = classes == tuple(range(len(classes)))
        return Schema(columns, self.target or "", () if is_counted else classes)

    def __repr__(self) -> str:
        return short_repr(self)


@dataclass(frozen=True)
class RunDirectory:
    """The directory of one run."""

    path: Path

    @classmethod
    def create(cls, path: Path, recipe: Recipe) -> "RunDirectory":
        """Make the directory of a new run and write its config.toml, which proves it writable.

        Raises `InputError` if the place holds a run already or cannot be written.
        """
        run = cls(path)
        with _making(path):
            if run.config.exists() or run.model.exists():
                command = f"--out, or resume it with --resume {shlex.quote(str(path))}"
                raise InputError(
                    f"{path}: holds a run already; give another {remedy('directory', command)}"
                )
            path.mkdir(parents=True, exist_ok=True)
        try:
            run.save_recipe(recipe)
        except InputError:
            with contextlib.suppress(OSError):
                path.rmdir()  # only if empty
            raise
        return run

    @classmethod
    def new(cls, recipe: Recipe, *, name: str, parent: Path = Path("runs")) -> "RunDirectory":
        """A run directory in `runs/`, named after the recipe and numbered: `runs/lecture-1`."""
        with _making(parent):
            parent.mkdir(parents=True, exist_ok=True)
        for number in itertools.count(1):
            path = parent / f"{name}-{number}"
            # Made here and now: of two runs that begin together, each gets a number of its own.
            with _making(path), contextlib.suppress(FileExistsError):
                path.mkdir()
                break
        return cls.create(path, recipe)

    @classmethod
    def existing(cls, path: Path) -> "RunDirectory":
        """The directory of a run that was started before; `InputError` if there is none."""
        run = cls(path)
        try:
            found = run.config.is_file()
        except OSError as error:
            raise InputError(f"{path}: {error.strerror}; give a run directory") from error
        if not found:
            near = nearest_path(path) if not path.exists() else ""
            raise InputError(f"{path}: no run is here (no config.toml); {near}give a run directory")
        return run

    @property
    def config(self) -> Path:
        return self.path / "config.toml"

    @property
    def model(self) -> Path:
        return self.path / "model.safetensors"

    @property
    def checkpoint(self) -> Path:
        return self.path / "checkpoint.safetensors"

    @property
    def plot(self) -> Path:
        return self.path / "training.png"

    def load_data(self, trained: TrainedModel, source: str | None = None) -> Dataset:
        """Load the run's data set, or all rows of another, as its network takes them.

        Raises `InputError` for data with other columns or classes than it was trained on.
        """
        recipe, model = self.recipe, trained.model
        if trained.target is None and source and is_table(Path(source)):
            log.warning(
                "%s: trained by xpmlp 0.1.0, which kept no names; the columns and classes of %s "
                "cannot be checked",
                self.path,
                source,
            )
        dataset = load_data(
            source or recipe.data,
            target=recipe.target,
            drop=recipe.dropped,
            schema=None if trained.target is None else trained.schema,
            holds_out=source is None,
        )
        parts = {}
        for part in ("train", "test"):
            split = getattr(dataset, part)
            if isinstance(split.X, np.ndarray):
                takes: Any = {"takes_bytes": trained.takes_bytes, "where": dataset.where}
                parts[part] = split._replace(X=as_trained(split.X, **takes))
        return replace(dataset, **parts).for_network(model.layer_sizes, model.output)

    @property
    def recipe(self) -> Recipe:
        """The recipe of the run, every setting resolved."""
        return load_recipe(str(self.config), warns=False)

    def save_recipe(self, recipe: Recipe) -> None:
        """Write config.toml."""
        write_atomically(self.config, lambda file: file.write_text(recipe.to_toml(), "utf-8"))

    def save_results(
        self,
        trainer: Trainer,
        test: Evaluation,
        *,
        image_shape: tuple[int, ...],
        schema: Schema = NAMELESS,
    ) -> dict[str, Any]:
        """Write model, history, metrics and summary of a run as it stands; return the summary."""
        recipe, history = self.recipe, trainer.history
        trained = TrainedModel(
            trainer.model,
            trainer.backend.to_numpy(trainer.parameters),
            image_shape,
            trainer.takes_bytes,
            np.array(schema.classes) if schema.classes else None,
            np.array(schema.columns) if schema.columns else None,
            trainer.objective.loss_alone,
            schema.target,
        )
        self.save_trained(trained, history)
        self._save_metrics(history, trainer)
        accuracies, seconds = history.accuracies, trainer.seconds
        summary: dict[str, Any] = {
            "backend": trainer.backend.name,
            "device": trainer.backend.device_name,
            "dtype": recipe.dtype,
            "epochs": trainer.epoch,
            "steps": trainer.iteration,
            "seconds": seconds,
            "seconds_per_step": seconds / trainer.iteration if trainer.iteration else None,
            "train_accuracy": float(np.mean(accuracies[-1])) if accuracies else None,
            "test_accuracy": float(np.mean(test.accuracy)),
            "test_loss": float(np.mean(test.loss)),
            "seed": recipe.seed,
            "version": xpmlp.__version__,
            "python": platform.python_version(),
            "platform": platform.platform(),
        }
        if losses := history.validation_losses:
            best = trainer.validation_config.best_of(losses, history.validation_accuracies)
            summary["validation_loss"] = float(np.mean(losses[best]))
            summary["validation_accuracy"] = float(np.mean(history.validation_accuracies[best]))
            summary["validation_iteration"] = history.validation_iterations[best]
        if trainer.ended:
            summary["ended"] = trainer.ended
        if trainer.stopped_by:
            summary["stopped_by"] = trainer.stopped_by
        if recipe.members > 1:
            summary["members"] = recipe.members
            summary["member_test_accuracy"] = [float(value) for value in test.accuracy]
            summary["member_test_loss"] = [float(value) for value in test.loss]
            summary["ensemble_test_accuracy"] = test.ensemble
        text = json.dumps(summary, indent=2) + "\n"
        write_atomically(self.path / "summary.json", lambda file: file.write_text(text, "utf-8"))
        return summary

    def save_trained(self, trained: TrainedModel, history: History) -> None:
        """Write the network and its history."""
        model = trained.model
        tensors = model.unflatten(trained.parameters, xp=np)
        metadata = {
            **model.architecture,
            "image_shape": list(trained.image_shape),
            "takes_bytes": trained.takes_bytes,
            "target": trained.target or "",
            "version": xpmlp.__version__,
        }
        if isinstance(trained.objective.loss, str):
            metadata |= {name: getattr(trained.objective, name) for name in LOSS}
        for name in METADATA_NAMES:
            if (values := getattr(trained, name)) is not None:
                metadata[name] = values.tolist()
        save_tensors(self.model, tensors, metadata)
        series: dict[str, Any] = history.series
        write_atomically(self.path / "history.npz", lambda file: np.savez(file, **series))

    def _save_metrics(self, history: History, trainer: Trainer) -> None:
        """Columns epoch, iterations, loss (mean over the epoch), accuracy; per member if several.

        No times: two runs that learn the same write the same bytes.
        """
        steps = trainer.steps_per_epoch
        rows = []
        for epoch, accuracy in enumerate(history.accuracies, start=1):
            losses = np.asarray(history.losses[(epoch - 1) * steps : epoch * steps])
            loss = losses.mean(axis=0, dtype=np.float64)
            row: list[object] = [epoch, epoch * steps, float(loss.mean()), float(accuracy.mean())]
            rows.append([*row, *loss.ravel().tolist(), *accuracy.ravel().tolist()])
        header = ["epoch", "iterations", "loss", "accuracy"]
        if trainer.parameters.ndim == 2:
            members = range(1, trainer.parameters.shape[0] + 1)
            header += [
                f"{series}_{member}" for series in ("loss", "accuracy") for member in members
            ]
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerows(
            [header, *(row[: len(header)] for row in rows)]
        )
        write_atomically(
            self.path / "metrics.csv", lambda file: file.write_text(text.getvalue(), "utf-8")
        )

    def has_results_of(self, epoch: int) -> bool:
        """Whether all that `save_results` writes, and the figure, is here for that many epochs."""
        names = ("model.safetensors", "history.npz", "metrics.csv", "training.png")
        is_whole = all((self.path / name).is_file() for name in names)
        return is_whole and self.load_summary().get("epochs") == epoch

    def load_summary(self) -> dict[str, Any]:
        """What the run came to, as far as it has been written: numbers that are not finite are left
        out."""
        try:
            found: dict[str, Any] = json.loads((self.path / "summary.json").read_text("utf-8"))
        except (OSError, ValueError):
            return {}
        if not isinstance(found, dict):
            return {}
        return {
            renamed.SUMMARY.get(name, name): value
            for name, value in found.items()
            if name not in SUMMARY_NUMBERS or _is_number(value)
        }

    def load_model(self) -> TrainedModel:
        """The trained network; `InputError` if there is none or the file is not whole."""
        path = self.model
        tensors, metadata = load_tensors(path)
        try:
            architecture = {"normalization": "none", "residual": False, **metadata}
            model = MLP(*(architecture[name] for name in ARCHITECTURE))
            image_shape = tuple(int(size) for size in metadata["image_shape"])
            # Older models do not record it: images were bytes, rows of a table numbers.
            takes_bytes = bool(metadata.get("takes_bytes", len(image_shape) > 1))
            parameters = model.flatten(tensors)
            if parameters.ndim > 2 or {array.dtype.name for array in tensors.values()} - set(
                DTYPES
            ):
                raise InputError(f"{parameters.dtype} {parameters.shape} are not parameters")
        except InputError as error:
            raise InputError(f"{path}: {error}; train again") from error
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise InputError(f"{path}: no model ({fault(error)}); train again") from error
        if not np.isfinite(parameters).all():
            raise InputError(f"{path}: holds parameters that are NaN or infinite; train again")
        names = {one: np.array(metadata[one]) for one in METADATA_NAMES if one in metadata}
        loss = {name: metadata[name] for name in LOSS if name in metadata}
        return TrainedModel(
            model,
            parameters,
            image_shape,
            takes_bytes,
            objective=Objective(**loss),
            target=metadata.get("target"),
            **names,
        )

    def steps_per_epoch(self) -> int | None:
        """As metrics.csv has it; None before the first epoch was done."""
        try:
            with (self.path / "metrics.csv").open(encoding="utf-8", newline="") as file:
                return int(next(csv.DictReader(file))["iterations"])
        except (OSError, ValueError, KeyError, TypeError, StopIteration, csv.Error):
            return None

    def load_history(self) -> History:
        """Loss per iteration and accuracy per epoch of a run that has been saved."""
        path = self.path / "history.npz"
        arrays = read_npz(path, may_be_packed=False)
        if missing := {"loss", "accuracy"} - set(arrays):
            raise InputError(f"{path}: no {', '.join(sorted(missing))}; train again")
        try:
            return history_of(arrays)
        except ValueError as error:
            raise InputError(f"{path}: {error}; train again") from error


def history_of(arrays: Mapping[str, np.ndarray]) -> History:
    """The series of a run, from the names that they are saved by; `ValueError` for others."""
    none = np.empty(0)
    for name in ("loss", "accuracy", "validation_iteration", "validation_loss"):
        shape = np.shape(arrays.get(name, none))
        if not 1 <= len(shape) <= 2 or max(shape[1:], default=0) > MOST_MEMBERS:
            raise ValueError(f"{name} of shape {shape} is no series")
    series = ("validation_iteration", "validation_loss", "validation_accuracy")
    iterations, *measured = validation = [arrays.get(name, none) for name in series]
    if len({*map(len, validation)}) > 1:
        lengths = ", ".join(str(len(one)) for one in validation)
        raise ValueError(f"validation series of {lengths} evaluations")
    losses, accuracies = list(arrays["loss"]), list(arrays["accuracy"])
    return History(losses, accuracies, iterations.astype(int).tolist(), *map(list, measured))


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return math.isfinite(value)


def fault(error: Exception) -> str:
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)


@contextlib.contextmanager
def _making(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(
            f"{path}: cannot be made ({error.strerror}); give another "
            + remedy("directory", "--out")
        ) from error
