"""Training as one call, and what it returns: a trained network with everything known about it.

run = xpmlp.train(model, X, y, epochs=5, learning_rate=0.1)
run.predict(X_new)
run.save("runs/mine")
run = xpmlp.load("runs/mine")
"""

import dataclasses
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import array_api_compat
import numpy as np

from xpmlp.backends import PRECISIONS, Backend, select_backend
from xpmlp.backends.interchange import adopted, choose_backend, is_on_device, like
from xpmlp.data import Dataset, Split, check_labels, check_split, hold_out
from xpmlp.data.conversion import as_labels, as_rows
from xpmlp.errors import InputError
from xpmlp.network import MLP
from xpmlp.runs.directory import RunDirectory, TrainedModel
from xpmlp.training import (
    Evaluation,
    History,
    Observer,
    TrainConfig,
    Training,
    evaluate,
    predict,
)
from xpmlp.training.evaluation import predict_on_device
from xpmlp.typing import DTYPES, Array


@dataclass(repr=False)
class Run:
    """A trained network, as `train` and `load` return it.

    Attributes
    ----------
    model : MLP
        The architecture.
    parameters : array
        The flat vector to predict with, (P,), or (E, P) of E members, on the backend's device.
    history : History
        `history["loss"]`, one of each iteration, `history["accuracy"]`, one of each epoch, and the
        `validation_` series.
    classes_ : ndarray of shape (K,) or None
        The classes in the order of the outputs; None where predictions are no classes.
    feature_names_in_ : ndarray of shape (l0,) or None
        The names of the columns, where the rows came in a frame.
    trainer : Training or None
        What trained it; None for a run that was loaded.
    """

    model: MLP
    parameters: Array
    history: History
    backend: Backend
    classes_: np.ndarray | None = None
    feature_names_in_: np.ndarray | None = None
    image_shape: tuple[int, ...] = ()
    takes_bytes: bool = False
    trainer: Training | None = None
    test: Split | None = None

    def predict_proba(self, X: Any) -> Array:
        """Return the probability of each class for each row.

        Parameters
        ----------
        X
            Rows as they were in training, (n, l0) or images, of any library.

        Returns
        -------
        Array of shape (n, K), of the library of X if that lies on a device, else of NumPy. With
        members, the mean of their predictions.

        Raises
        ------
        InputError
            For rows that the network cannot take, and for a network that predicts numbers.
        """
        if self.model.predicts_numbers:
            raise InputError("predict_proba: this network predicts numbers; call predict")
        return self._predictions(X)

    def predict(self, X: Any) -> Array:
        """Return the class of each row, or the numbers that the network predicts.

        Returns
        -------
        Array of shape (n,): a class of `classes_` for each row. Of shape (n, K) for K answers of
        yes or no, 0 or 1, and for K numbers; (n,) for one number.
        """
        Y_hat = self._predictions(X)
        if self.model.predicts_numbers:
            return Y_hat[:, 0] if Y_hat.shape[1] == 1 else Y_hat
        if is_on_device(Y_hat):
            xp = self.backend.xp
            return xp.argmax(Y_hat, axis=-1) if self.model.output == "softmax" else Y_hat > 0.5
        if self.model.output == "softmax":
            numbers = Y_hat.argmax(axis=1)
        else:
            numbers = (Y_hat > 0.5).astype(np.int64)
            numbers = numbers[:, 0] if numbers.shape[1] == 1 else numbers
        if self.classes_ is None or numbers.ndim > 1:
            return numbers
        return self.classes_[numbers]

    def _predictions(self, X: Any) -> Array:
        rows = as_rows(X, columns=self._columns).X
        if is_on_device(rows):
            X = adopted(rows, self.backend)
            Y_hat = predict_on_device(self.model, self.parameters, X, backend=self.backend)
            return like(Y_hat, rows, self.backend)
        return predict(self.model, self.parameters, rows, backend=self.backend)

    @property
    def _columns(self) -> list[str] | None:
        return None if self.feature_names_in_ is None else self.feature_names_in_.tolist()

    @property
    def _named(self) -> np.ndarray | None:
        """The classes, where they are no integers from 0."""
        return None if self.classes_ is None or self.classes_.dtype.kind in "ui" else self.classes_

    def evaluate(self, X: Any = None, y: Any = None) -> Evaluation:
        """Return the loss and the accuracy on labelled rows, R² for a network of numbers.

        Parameters
        ----------
        X, y
            Rows and labels as for `train`; a data set alone is evaluated on its test rows, and
            nothing at all on those of the data set that the network was trained on.
        """
        if X is None:
            if self.test is None:
                raise InputError("evaluate: give X and y; this run has no test rows of its own")
            split = self.test
        elif isinstance(X, Dataset):
            split = X.test
        else:
            split = _split(X, y, self.model, classes=self._named, columns=self._columns).split
        objective = None if self.trainer is None else self.trainer.objective
        return evaluate(
            self.model, self.parameters, split, objective=objective, backend=self.backend
        )

    def plot(self, ax: Any = None) -> Any:
        """Draw the training loss, and the validation loss where there is one; return the axes.

        Parameters
        ----------
        ax
            Axes of matplotlib; by default new ones, (6, 4) inches.
        """
        import matplotlib.pyplot as plt

        ax = plt.subplots(figsize=(6, 4))[1] if ax is None else ax
        losses = self.history.loss
        iterations = np.arange(1, len(losses) + 1)
        ax.plot(iterations, losses, linewidth=0.8, alpha=0.7, label="training")
        if "validation_loss" in (validation := self.history.validation):
            ax.plot(
                validation["validation_iteration"], validation["validation_loss"],
                marker="o", markersize=3, label="validation",
            )  # fmt: skip
            ax.legend()
        ax.set_xlabel("iteration")
        ax.set_ylabel("loss")
        return ax

    def save(self, path: Path | str) -> None:
        """Write the network, its history and a summary into a new directory, for `xpmlp.load`.

        Raises
        ------
        InputError
            For a directory that holds a run already, and a place that cannot be written.
        """
        trained = TrainedModel(
            self.model,
            self.backend.to_numpy(self.parameters),
            self.image_shape,
            self.takes_bytes,
            self.classes_,
            self.feature_names_in_,
        )
        RunDirectory.bare(Path(path)).save_trained(trained, self.history)

    def resume(self, *, epochs: int, callbacks: Iterable[Observer] = (), verbose: int = 1) -> "Run":
        """Train for so many more epochs, and return the run.

        Optimizer and order of rows go on where they stopped; a schedule is laid out over all
        epochs, those before included.

        Raises
        ------
        InputError
            For a run that was loaded: it has no rows. Train again from its parameters:
            `xpmlp.train(run.model, X, y, parameters=run.parameters)`.
        """
        if self.trainer is None:
            raise InputError(
                "resume: a loaded run has no rows to train on; give them to "
                "train(run.model, X, y, parameters=run.parameters)"
            )
        self.trainer.extend(epochs)
        _carry_out(self.trainer, callbacks, verbose)
        self.parameters = self.trainer.parameters
        self.history = self.trainer.history
        return self

    def __getattr__(self, name: str) -> Any:
        """What `train` returned in 0.1.0 was the trainer."""
        trainer = self.__dict__.get("trainer")
        if trainer is None or not hasattr(trainer, name):
            raise AttributeError(f"'Run' object has no attribute {name!r}")
        warnings.warn(f"run.{name} is run.trainer.{name} now", DeprecationWarning, stacklevel=2)
        return getattr(trainer, name)

    def __repr__(self) -> str:
        facts = [f"{len(self.history.accuracies)} epochs", *self._figures()]
        return f"<Run of {self.model}: {', '.join(facts)}>"

    def _figures(self) -> list[str]:
        name = "R²" if self.model.predicts_numbers else "accuracy"
        found = []
        if self.history.losses:
            found.append(f"loss {np.mean(self.history.losses[-1]):.4f}")
        if self.history.accuracies:
            found.append(f"{name} {np.mean(self.history.accuracies[-1]):.4f}")
        if self.history.validation_losses:
            found.append(f"validation loss {np.mean(self.history.validation_losses[-1]):.4f}")
        return found

    def _repr_html_(self) -> str:
        lines = [f"network {str(self.model).split()[-1]}", f"epochs {len(self.history.accuracies)}"]
        cells = "".join(
            f"<tr><th>{name}</th><td>{value}</td></tr>"
            for name, _, value in (one.rpartition(" ") for one in [*lines, *self._figures()])
        )
        return f"<table>{cells}</table>"


def train(
    model: MLP,
    X: Any,
    y: Any = None,
    *,
    config: TrainConfig | None = None,
    callbacks: Iterable[Observer] = (),
    sample_weight: Any = None,
    parameters: Array | None = None,
    backend: str | Backend = "auto",
    verbose: int = 1,
    **settings: Any,
) -> Run:
    """Train a network and return the run.

    Parameters
    ----------
    model
        The network, such as `xpmlp.MLP((784, 64, 32, 10))`.
    X
        Rows (n, l0) or images (n, height, width): an array of any library, a frame of pandas or
        polars, a list, a sparse matrix of SciPy. Bytes are pixels, scaled from 0..255 to 0..1. Or a
        data set such as `xpmlp.load_mnist()`, whose rows to train are taken, or a pair (X, y).
    y
        Labels (n,): integers from 0, text or truth values; or targets (n, K) of numbers.
    config
        The settings; those given by keyword replace its own.
    callbacks
        What hears of the run's events, each an `xpmlp.Observer`.
    sample_weight
        A weight for each row, (n,).
    parameters
        The flat vector to start from; by default `initializer` draws it from the seed.
    backend
        A name for `xpmlp.select_backend`, or what it returned. Rows on a device stay there.
    verbose
        1 shows progress on standard error: a bar on a terminal and in a notebook, else a line for
        each epoch. 0 shows nothing.
    **settings
        Any field of `TrainConfig`, `Objective`, `Descent` and `Control`: `epochs=5`,
        `learning_rate=0.1`, `optimizer="adam"`, `dropout=0.2`. `validation` is a share of the rows
        or a pair (X, y).

    Raises
    ------
    InputError
        For data that does not fit the network, and for settings that are unknown or out of range.
    Diverged
        For a loss that became NaN or infinite.

    Examples
    --------
    >>> import numpy as np, xpmlp
    >>> X = np.random.default_rng(0).normal(size=(100, 4))
    >>> y = np.where(X[:, 0] > 0, "right", "left")
    >>> run = xpmlp.train(xpmlp.MLP((4, 8, 2)), X, y, epochs=2, verbose=0)
    >>> run.predict(X[:3]).shape
    (3,)
    """
    if not isinstance(model, MLP):
        raise InputError(f"model={model!r}: give a network, such as xpmlp.MLP((4, 8, 3))")
    settings = _renamed(settings)
    callbacks = settings.pop("callbacks", callbacks)
    sample_weight = settings.pop("sample_weight", sample_weight)
    given = _split(X, y, model)
    if isinstance(backend, str):
        backend = choose_backend(given.split.X, backend, settings.pop("device", None))
    split = given.split
    validation = settings.pop("validation", None)
    seeds = TrainConfig.of(config, seed=settings.get("seed")).seeds
    if isinstance(validation, (int, float)) and not isinstance(validation, bool):
        if validation:
            split, settings["validation"] = hold_out(split, float(validation), seed=seeds[0])
    elif validation is not None:
        settings["validation"] = _split(validation, None, model, classes=given.classes).split
    config = TrainConfig.of(config, **settings)
    dtype = config.dtype or "float32"
    if parameters is None:
        parameters = model.initialize(
            config.seed,
            initializer=config.initializer,
            scale=config.initial_scale,
            zero_output=config.zero_output,
            backend=backend,
            dtype=PRECISIONS[dtype],
        )
    elif dtype in DTYPES:
        config = dataclasses.replace(config, dtype=None)  # what the parameters are in decides
    if is_on_device(split.X):
        split = Split(adopted(split.X, backend), split.labels)
    training = Training.begin(
        model,
        split,
        parameters=parameters,
        backend=backend,
        config=config,
        sample_weights=None if sample_weight is None else np.asarray(sample_weight),
    )
    _carry_out(training, callbacks, verbose)
    return Run(
        model,
        training.parameters,
        training.history,
        backend,
        classes_=given.classes,
        feature_names_in_=given.columns,
        image_shape=given.image_shape,
        takes_bytes=str(split.X.dtype).endswith("uint8"),
        trainer=training,
        test=X.test if isinstance(X, Dataset) else None,
    )


def load(path: Path | str, *, backend: str | Backend = "auto", device: str | None = None) -> Run:
    """Return a trained run from its directory.

    Parameters
    ----------
    path
        A directory that `Run.save` or `xpmlp train` has written.
    backend, device
        What computes its predictions, as for `xpmlp.select_backend`.

    Raises
    ------
    InputError
        For a directory without a trained network, and for a damaged one.
    """
    directory = RunDirectory(Path(path))
    trained = directory.load_model()
    if isinstance(backend, str):
        backend = select_backend(backend, device)
    return Run(
        trained.model,
        backend.asarray(trained.parameters),
        directory.load_history(),
        backend,
        classes_=_classes(trained.model) if trained.classes is None else trained.classes,
        feature_names_in_=trained.columns,
        image_shape=trained.image_shape,
        takes_bytes=trained.takes_bytes,
    )


class _Given(NamedTuple):
    """Rows and labels as the network takes them, and what they were called."""

    split: Split
    classes: np.ndarray | None
    columns: np.ndarray | None
    image_shape: tuple[int, ...]


def _split(
    X: Any, y: Any, model: MLP, *, classes: np.ndarray | None = None, columns: Any = None
) -> _Given:
    """Rows and labels, checked; a data set or a pair without `y`."""
    if isinstance(X, Dataset):
        split = X.for_network(model.layer_sizes, model.output).train
        return _Given(split, _classes(model), None, X.image_shape)
    if y is None:
        if not (isinstance(X, tuple) and len(X) == 2):
            raise InputError("y is missing: give X and y, a pair (X, y), or a data set")
        X, y = X
    rows, names = as_rows(X, columns=columns)
    sizes, output = model.layer_sizes, model.output
    labels, found = as_labels(y, output=output, width=sizes[-1], classes=classes)
    if is_on_device(rows):
        _check_on_device(rows, model)
        count = rows.shape[0]
        checked = check_labels(labels, count, where="y", layer_sizes=sizes, output=output)
        split = Split(rows, checked)
    else:
        split = check_split(rows, labels, where="X, y", layer_sizes=sizes, output=output)
    known = _classes(model) if found is None else found
    return _Given(split, known, None if names is None else np.array(names), tuple(rows.shape[1:]))


def _check_on_device(X: Array, model: MLP) -> None:
    """Refuse rows on a device that have another width, or are NaN or infinite."""
    if X.ndim != 2 or X.shape[1] != model.layer_sizes[0]:
        raise InputError(
            f"X of shape {tuple(X.shape)}: {model} takes rows of {model.layer_sizes[0]} values"
        )
    xp = array_api_compat.array_namespace(X)
    if xp.isdtype(X.dtype, "real floating") and not bool(xp.all(xp.isfinite(X))):
        raise InputError("X: NaN or infinite values; remove or replace them")


def _classes(model: MLP) -> np.ndarray | None:
    """The classes of a network whose labels are integers."""
    if model.predicts_numbers or (model.output == "sigmoid" and model.layer_sizes[-1] > 1):
        return None
    return np.arange(max(2, model.layer_sizes[-1]))


def _carry_out(training: Training, callbacks: Iterable[Observer], verbose: int) -> None:
    """Train, with progress shown if it is asked for."""
    observers = list(callbacks)
    if not verbose:
        training.run(observers)
        return
    from xpmlp.training.progress import Progress

    progress = Progress()
    try:
        training.run([*observers, progress])
    finally:
        progress.stop()


RENAMED = {"observers": "callbacks", "sample_weights": "sample_weight"}
"""Arguments of `train` in 0.1.0."""


def _renamed(settings: dict[str, Any]) -> dict[str, Any]:
    for old, new in RENAMED.items():
        if old in settings:
            warnings.warn(f"{old}= is {new}= now", DeprecationWarning, stacklevel=3)
            settings[new] = settings.pop(old)
    return settings
