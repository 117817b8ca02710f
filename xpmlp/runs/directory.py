"""The run directory: everything that a run of training leaves behind, each file whole.

config.toml              the recipe with every setting: training it again repeats the run
checkpoint.safetensors   where the run stands: parameters, optimizer, counters, history
model.safetensors        W1 b1 W2 b2 ..., with the architecture as metadata
history.npz              loss per iteration, accuracy (R² of a regression) per epoch
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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import xpmlp
from xpmlp import renamed
from xpmlp.data import Dataset, Images, Schema, load_data
from xpmlp.data.conversion import as_trained
from xpmlp.data.npy import read_npz
from xpmlp.data.schema import NAMELESS
from xpmlp.data.table_files import is_table
from xpmlp.display import short_repr
from xpmlp.errors import InputError, remedy
from xpmlp.files import nearest_path, write_atomically
from xpmlp.network import ARCHITECTURE, MLP, Objective
from xpmlp.recipes import MOST_MEMBERS, Recipe, load_recipe
from xpmlp.tensors import load_tensors, save_tensors
from xpmlp.training import Evaluation, History, Trainer
from xpmlp.training.metrics import tracked_metric
from xpmlp.typing import DTYPES

log = logging.getLogger(__name__)

SUMMARY_NUMBERS = (
    "epochs", "steps", "seconds", "seconds_per_step", "train_accuracy", "test_accuracy",
    "test_loss", "validation_accuracy", "validation_loss", "train_r2", "test_r2", "validation_r2",
)  # fmt: skip


LOSS = ("loss", "huber_delta", "quantile")
"""What a model's file says of its loss."""


def names_alone(classes: Sequence[Any], columns: Sequence[Any]) -> Schema:
    """Return what 0.1.0 recorded of a schema; integers from 0 are no names of classes."""
    names = () if classes == list(range(len(classes))) else tuple(classes)
    return Schema(tuple(map(str, columns)), "", names, Images(sets_emnist_upright=False))


class TrainedModel(NamedTuple):
    """A network with its flat parameters on the host, as a run directory has it.

    `image_shape` is the shape of a row as an image; `takes_bytes` says whether rows are bytes,
    which are scaled; `objective` has the loss. `schema` has the names of columns and classes, and
    says how data are read, which a run of 0.1.0 did not record.
    """

    model: MLP
    parameters: np.ndarray
    image_shape: tuple[int, ...]
    takes_bytes: bool
    objective: Objective = Objective()
    schema: Schema = NAMELESS
    has_schema: bool = True

    def as_trained(self, X: np.ndarray, *, where: str) -> np.ndarray:
        """Return rows as numbers that mean what they meant in training, or refuse them."""
        schema = self.schema
        values = "" if schema.columns else schema.values
        found: np.ndarray = as_trained(X, takes_bytes=self.takes_bytes, values=values, where=where)
        return found

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
        if not trained.has_schema and source and is_table(Path(source)):
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
            scaling=recipe.scaling,
            schema=trained.schema if trained.has_schema else None,
            holds_out=source is None,
            images=trained.schema.images,
        )
        parts = {}
        for part in ("train", "test"):
            split = getattr(dataset, part)
            if isinstance(split.X, np.ndarray):
                parts[part] = split._replace(X=trained.as_trained(split.X, where=dataset.where))
        return replace(dataset, **parts).for_network(model.layer_sizes, model.output)

    @property
    def recipe(self) -> Recipe:
        """The recipe of the run, every setting resolved."""
        return load_recipe(str(self.config), warns=False)

    @property
    def metric(self) -> str:
        """The name of what the run measures after every epoch: in 0.1.0 `accuracy`, also for R²."""
        return tracked_metric(self.recipe.model)

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
        recipe, history, metric = self.recipe, trainer.history, trainer.history.metric
        trained = TrainedModel(
            trainer.model,
            trainer.backend.to_numpy(trainer.parameters),
            image_shape,
            trainer.takes_bytes,
            trainer.objective.loss_alone,
            schema,
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
            f"train_{metric}": float(np.mean(accuracies[-1])) if accuracies else None,
            f"test_{metric}": float(np.mean(test.tracked)),
            "test_loss": float(np.mean(test.loss)),
            "seed": recipe.seed,
            "version": xpmlp.__version__,
            "python": platform.python_version(),
            "platform": platform.platform(),
        }
        if losses := history.validation_losses:
            best = trainer.validation_config.best_of(losses, history.validation_accuracies)
            summary["validation_loss"] = float(np.mean(losses[best]))
            summary[f"validation_{metric}"] = float(np.mean(history.validation_accuracies[best]))
            summary["validation_iteration"] = history.validation_iterations[best]
        if trainer.ended:
            summary["ended"] = trainer.ended
        if trainer.stopped_by:
            summary["stopped_by"] = trainer.stopped_by
        if recipe.members > 1:
            summary["members"] = recipe.members
            summary[f"member_test_{metric}"] = [float(value) for value in test.tracked]
            summary["member_test_loss"] = [float(value) for value in test.loss]
            summary[f"ensemble_test_{metric}"] = test.ensemble
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
            "schema": trained.schema.to_json(),
            "version": xpmlp.__version__,
        }
        if isinstance(trained.objective.loss, str):
            metadata |= {name: getattr(trained.objective, name) for name in LOSS}
        save_tensors(self.model, tensors, metadata)
        series: dict[str, Any] = history.series
        write_atomically(self.path / "history.npz", lambda file: np.savez(file, **series))

    def _save_metrics(self, history: History, trainer: Trainer) -> None:
        """Columns epoch, iterations, loss (mean over the epoch), metric; per member if several.

        No times: two runs that learn the same write the same bytes.
        """
        steps = trainer.steps_per_epoch
        rows = []
        for epoch, accuracy in enumerate(history.accuracies, start=1):
            losses = np.asarray(history.losses[(epoch - 1) * steps : epoch * steps])
            loss = losses.mean(axis=0, dtype=np.float64)
            row: list[object] = [epoch, epoch * steps, float(loss.mean()), float(accuracy.mean())]
            rows.append([*row, *loss.ravel().tolist(), *accuracy.ravel().tolist()])
        header = ["epoch", "iterations", "loss", history.metric]
        if trainer.parameters.ndim == 2:
            members = range(1, trainer.parameters.shape[0] + 1)
            header += [f"{series}_{member}" for series in header[2:4] for member in members]
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
        metric = self.metric
        return {
            renamed.SUMMARY.get(name, name).replace("accuracy", metric): value
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
            if has_schema := "schema" in metadata:
                schema = Schema.from_json(metadata["schema"])
                if schema.columns and len(schema.encoded_names) != model.layer_sizes[0]:
                    raise InputError(
                        f"schema of {len(schema.encoded_names)} values a row, the network takes "
                        f"{model.layer_sizes[0]}"
                    )
                if len(schema.classes) > max(2, model.layer_sizes[-1]):
                    raise InputError(f"schema of {len(schema.classes)} classes, more than outputs")
            else:
                schema = names_alone(metadata.get("classes", []), metadata.get("columns", []))
        except InputError as error:
            said = str(error).removesuffix("; train again")
            raise InputError(f"{path}: {said}; train again") from error
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise InputError(f"{path}: no model ({fault(error)}); train again") from error
        if not np.isfinite(parameters).all():
            raise InputError(f"{path}: holds parameters that are NaN or infinite; train again")
        loss = {name: metadata[name] for name in LOSS if name in metadata}
        return TrainedModel(
            model,
            parameters,
            image_shape,
            takes_bytes,
            Objective(**loss),
            schema,
            has_schema,
        )

    def steps_per_epoch(self) -> int | None:
        """As metrics.csv has it; None before the first epoch was done."""
        try:
            with (self.path / "metrics.csv").open(encoding="utf-8", newline="") as file:
                return int(next(csv.DictReader(file))["iterations"])
        except (OSError, ValueError, KeyError, TypeError, StopIteration, csv.Error):
            return None

    def load_history(self) -> History:
        """Loss per iteration and metric per epoch of a run that has been saved."""
        path, metric = self.path / "history.npz", self.metric
        arrays = read_npz(path, may_be_packed=False)
        if missing := {"loss", _saved_metric(arrays)} - set(arrays):
            raise InputError(f"{path}: no {', '.join(sorted(missing))}; train again")
        try:
            return replace(history_of(arrays), metric=metric)
        except ValueError as error:
            raise InputError(f"{path}: {error}; train again") from error


def _saved_metric(arrays: Mapping[str, np.ndarray]) -> str:
    """The name that a file has for the metric: in 0.1.0 also R² was `accuracy`."""
    return "r2" if "r2" in arrays else "accuracy"


def history_of(arrays: Mapping[str, np.ndarray]) -> History:
    """The series of a run, from the names that they are saved by; `ValueError` for others."""
    none, metric = np.empty(0), _saved_metric(arrays)
    for name in ("loss", metric, "validation_iteration", "validation_loss"):
        shape = np.shape(arrays.get(name, none))
        if not 1 <= len(shape) <= 2 or max(shape[1:], default=0) > MOST_MEMBERS:
            raise ValueError(f"{name} of shape {shape} is no series")
    series = ("validation_iteration", "validation_loss", f"validation_{metric}")
    iterations, *measured = validation = [arrays.get(name, none) for name in series]
    if len({*map(len, validation)}) > 1:
        lengths = ", ".join(str(len(one)) for one in validation)
        raise ValueError(f"validation series of {lengths} evaluations")
    losses, accuracies, held_losses, held = map(list, (arrays["loss"], arrays[metric], *measured))
    at = iterations.astype(int).tolist()
    return History(losses, accuracies, at, held_losses, held, metric)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


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
