"""Training as one call, and what it returns: a trained network with everything known about it.

run = xpmlp.train(model, X, y, epochs=5, learning_rate=0.1)
run.predict(X_new)
run.save("runs/mine")
run = xpmlp.load("runs/mine")
"""

import contextlib
import numbers
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, Unpack

import array_api_compat
import numpy as np

from xpmlp import renamed
from xpmlp.backends import Backend
from xpmlp.backends.interchange import adopted, choose_backend, is_on_device, like, to_host
from xpmlp.checks import check_range
from xpmlp.data import (
    DATA_NAMES,
    UNNAMED,
    Dataset,
    Schema,
    Split,
    check_labels,
    check_split,
    choose_rows,
    rows_to_hold_out,
)
from xpmlp.data.conversion import Rows, as_labels, as_rows, as_trained
from xpmlp.data.schema import NAMELESS, value_kind
from xpmlp.display import LONGEST_VALUE, as_html, shortened
from xpmlp.errors import DeviceLost, InputError, XpmlpError
from xpmlp.files import as_path
from xpmlp.habits import no_attribute
from xpmlp.network import MLP, Objective, balanced_weights
from xpmlp.training import (
    Callback,
    Evaluation,
    History,
    TrainConfig,
    Trainer,
    evaluate,
    predict,
)
from xpmlp.training.callbacks import as_callbacks
from xpmlp.training.evaluation import predict_on_device
from xpmlp.training.typed_settings import Settings
from xpmlp.typing import DTYPES, Array, dtype_name


@dataclass(eq=False, repr=False)
class Run:
    """A trained network, as `train` and `load` return it.

    Attributes
    ----------
    model : MLP
        The architecture.
    parameters : array of shape (P + S,) or (E, P + S)
        The flat vector to predict with, on the backend's device; E members have a leading axis.
    history : History
        The series of the run: `history["loss"]` of each iteration, `history["accuracy"]` (for a
        regression `history["r2"]`) of each epoch, and the `validation_` series.
    backend : Backend
        What computes the predictions.
    image_shape : tuple of int
        The shape of a row before it was flattened.
    takes_bytes : bool
        Whether the rows are bytes, which are scaled from 0..255 to 0..1.
    objective : Objective
        The loss that `evaluate` reports.
    trainer : Trainer or None
        The trainer; None for a loaded run.
    test : Split or None
        The test rows of the data set, if there was one.
    schema : Schema
        How tables are read: columns and what became of them, target, classes.
    data : str
        The name or the path of the data set, as the command line takes it.

    Examples
    --------
    >>> X, y = np.array([[0.0], [1.0], [2.0], [3.0]]), ["low", "low", "high", "high"]
    >>> run = xpmlp.train(xpmlp.MLP((1, 2)), X, y, epochs=30, learning_rate=3.0, verbose=0)
    >>> print(*run.predict([[0.5], [2.5]]))
    low high
    """

    model: MLP
    parameters: Array
    history: History
    backend: Backend
    image_shape: tuple[int, ...] = ()
    takes_bytes: bool = False
    objective: Objective = field(default_factory=Objective)
    trainer: Trainer | None = None
    test: Split | None = None
    schema: Schema = NAMELESS
    data: str = UNNAMED

    @property
    def classes_(self) -> np.ndarray | None:
        """The classes in the order of the outputs; None if there are none."""
        return _classes(self.model, self.schema)

    @property
    def feature_names_in_(self) -> np.ndarray | None:
        """The names of the columns, if there are any."""
        return np.array(self.schema.names) if self.schema.columns else None

    def predict_proba(self, X: Any) -> Array:
        """Return the probability of each class for each row.

        Parameters
        ----------
        X : array-like of shape (n, l0) or images
            Rows as in training, of any array library.

        Returns
        -------
        array of shape (n, K)
            The probabilities: an array of X's library if that lies on a device, else of NumPy. With
            members, the mean of their probabilities.

        Raises
        ------
        InputError
            For rows that the network cannot take, and for a regression.
        """
        if self.model.is_regression:
            raise InputError("predict_proba: this network predicts numbers; call predict")
        return self._predictions(X)

    def predict(self, X: Any) -> Array:
        """Return the class of each row, or the numbers of a regression.

        Parameters
        ----------
        X : array-like of shape (n, l0) or images
            Rows as in training, of any array library.

        Returns
        -------
        array of shape (n,) or (n, K)
            A class of `classes_` for each row, on the host if the classes are strings; 0 or 1 for
            each label of a multilabel network, (n, K); or K numbers, (n,) if K is 1.

        Raises
        ------
        InputError
            For rows that the network cannot take.
        """
        Y_hat = self._predictions(X)
        if self.model.is_regression:
            return Y_hat[:, 0] if Y_hat.shape[1] == 1 else Y_hat
        xp = array_api_compat.array_namespace(Y_hat)
        if self.model.output == "softmax":
            numbers = xp.argmax(Y_hat, axis=-1)
        else:
            numbers = xp.astype(Y_hat > 0.5, xp.int64)
            numbers = numbers[:, 0] if numbers.shape[1] == 1 else numbers
        return np.array(self.schema.classes)[to_host(numbers)] if self.schema.classes else numbers

    def _predictions(self, X: Any) -> Array:
        rows = _rows_like_training(X, self.schema, takes_bytes=self.takes_bytes).X
        if is_on_device(rows):
            _check_on_device(rows, self.model)
            X = adopted(rows, self.backend)
            Y_hat = predict_on_device(self.model, self.parameters, X, backend=self.backend)
            return like(Y_hat, rows, self.backend)
        return predict(self.model, self.parameters, rows, backend=self.backend)

    def evaluate(self, X: Any = None, y: Any = None) -> Evaluation:
        """Return the loss and every metric on labelled rows.

        Parameters
        ----------
        X : array-like or Dataset, optional
            Rows as for `train`, or a data set, whose test rows are used. By default the test rows
            of the data set that the network was trained on.
        y : array-like, optional
            Labels as for `train`.

        Returns
        -------
        Evaluation
            `loss`, scalar or (E,), and likewise `metrics`: of classes `accuracy`,
            `balanced_accuracy`, `f1`, `auc` and `log_loss`, of a regression `r2`, `rmse` and
            `mae`. Each is an attribute, too. Of the ensemble `ensemble_metrics`.

        Raises
        ------
        InputError
            For rows or labels that the network cannot take, and without any rows.
        """
        if X is None:
            if self.test is None:
                raise InputError("evaluate: give X and y; this run has no test rows of its own")
            split = self.test
        elif isinstance(X, Dataset):
            ours, theirs = self.schema, X.schema
            if (ours.columns, ours.classes) != (theirs.columns, theirs.classes):
                raise InputError(
                    f"{X.where}: other columns or classes than the run was trained on; load it as "
                    "in training, load_data(..., schema=run.schema)"
                )
            split = X.test
        else:
            split = _split(X, y, self.model, self.schema, takes_bytes=self.takes_bytes).split
        return evaluate(
            self.model, self.parameters, split, objective=self.objective, backend=self.backend,
            all_metrics=True,
        )  # fmt: skip

    def plot(self, ax: Any = None) -> Any:
        """Draw the training loss, and the validation loss if there is one.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; by default a new figure of 6 by 4 inches.

        Returns
        -------
        Axes
            The axes.
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
        """Write the run into a new directory, for `xpmlp.load` and the command line.

        `xpmlp predict`, `export`, `plot` and `compare` take the directory as it is; `evaluate`,
        `report` and `explain` need `--data` if the rows came from no file.

        Parameters
        ----------
        path : path or str
            The directory.

        Raises
        ------
        InputError
            For a directory that is not empty, and for a place that cannot be written.
        """
        from xpmlp.runs import RunDirectory, TrainedModel, recipe_of

        trained = TrainedModel(
            self.model,
            self.backend.to_numpy(self.parameters),
            self.image_shape,
            self.takes_bytes,
            self.objective,
            self.schema,
        )
        recipe = recipe_of(self.model, self.objective, self.trainer, self.data)
        RunDirectory.create(as_path(path), recipe).save_trained(trained, self.history)

    def resume(self, *, epochs: int, callbacks: Iterable[Callback] = (), verbose: int = 1) -> "Run":
        """Train for more epochs and return the run.

        Optimizer and order of rows continue from where they stopped. A schedule is laid out over
        all epochs, the earlier ones included.

        Parameters
        ----------
        epochs : int
            The number of further epochs.
        callbacks : iterable of Callback, default ()
            Callbacks of these epochs.
        verbose : int, default 1
            1 shows progress, 0 shows nothing.

        Returns
        -------
        Run
            This run.

        Raises
        ------
        InputError
            For a run that ended early, and for a loaded run, which has no rows. Train again from
            its parameters: `xpmlp.train(run.model, X, y, parameters=run.parameters)`.
        """
        if self.trainer is None:
            raise InputError(
                "resume: a loaded run has no rows to train on; give them to "
                "train(run.model, X, y, parameters=run.parameters)"
            )
        if self.trainer.ended:
            raise InputError(
                f"resume: the run ended early ({self.trainer.ended}); train again with other "
                "settings, from parameters=run.parameters"
            )
        self.trainer.extend(epochs)
        return _carry_out(self, self.trainer, callbacks, verbose)

    def _take_over(self, trainer: Trainer) -> None:
        """Take copies of what was learned: the next step may write over the trainer's own."""
        with self.backend.activate():
            self.parameters = self.backend.xp.asarray(trainer.parameters, copy=True)
        self.history = trainer.history.copy()

    @property
    def stopped_by(self) -> str:
        """The class of the callback that ended the run early and its reason; else empty."""
        return "" if self.trainer is None else self.trainer.stopped_by

    def __reduce__(self) -> NoReturn:
        raise InputError("a run cannot be pickled or copied; use run.save(DIR) and xpmlp.load(DIR)")

    def __getattr__(self, name: str) -> Any:
        """What `train` returned in 0.1.0 was the trainer."""
        trainer = self.__dict__.get("trainer")
        name_now = renamed.ATTRIBUTES["Trainer"].get(name, name)
        try:
            found = getattr(trainer, name_now)
        except AttributeError:
            raise no_attribute(self, name) from None
        renamed.warn(f"run.{name}", f"run.trainer.{name_now}")
        return found

    def __repr__(self) -> str:
        facts = [f"{len(self.history.accuracies)} epochs"]
        facts += [f"{name} {value}" for name, value in self._figures().items()]
        return shortened(f"<Run of {self.model}: {', '.join(facts)}>")

    def _figures(self) -> dict[str, str]:
        history = self.history
        series = {
            "loss": history.losses,
            history.metric: history.accuracies,
            "validation loss": history.validation_losses,
        }
        return {name: f"{np.mean(one[-1]):.4f}" for name, one in series.items() if one}

    def _repr_html_(self) -> str:
        network = shortened(str(self.model).split()[-1], LONGEST_VALUE)
        facts = {"network": network, "epochs": len(self.history.accuracies), **self._figures()}
        return as_html(facts, self.history.loss)


def train(
    model: MLP,
    X: Any,
    y: Any = None,
    *,
    config: TrainConfig | None = None,
    callbacks: Iterable[Callback] = (),
    sample_weight: Any = None,
    parameters: Array | None = None,
    backend: str | Backend = "auto",
    verbose: int = 1,
    **settings: Unpack[Settings],
) -> Run:
    """Train a network and return the run.

    Parameters
    ----------
    model : MLP
        The network, such as `xpmlp.MLP((784, 64, 32, 10))`.
    X : array-like of shape (n, l0), images, Dataset or (X, y)
        Rows or images (n, height, width): an array of any library, a data frame of pandas or
        polars, a list, or a sparse matrix of SciPy. Bytes (uint8) are pixels, scaled from 0..255 to
        0..1. Or a data set such as `xpmlp.load_mnist()`, whose training rows are used, or a pair
        (X, y).
    y : array-like of shape (n,) or (n, K), optional
        Labels: integers from 0, strings or booleans; or targets, floating-point numbers.
    config : TrainConfig, optional
        The settings; settings given by keyword replace its own.
    callbacks : iterable of Callback, default ()
        Callbacks of the run.
    sample_weight : array-like of shape (n,), optional
        A weight for each row.
    parameters : array of shape (P,) or (E, P), or mapping, optional
        The initial parameters, flat or by name; by default `initializer` draws them from the seed.
    backend : str or Backend, default 'auto'
        A name for `xpmlp.select_backend`, or what it returned. Rows on a device stay there.
    verbose : int, default 1
        1 shows progress on standard error: a bar on a terminal and in a notebook, else a line for
        each epoch. 0 shows nothing.
    **settings
        Any field of `TrainConfig`, `Objective`, `OptimizerConfig` and `ValidationConfig`:
        `epochs=5`, `learning_rate=0.1`, `optimizer="adam"`, `dropout=0.2`. `validation` is a
        fraction of the rows or a pair (X, y).

    Returns
    -------
    Run
        The trained network with its history.

    Warns
    -----
    RuntimeWarning
        After Ctrl-C: the run has what was learned up to the end of the last epoch.

    Raises
    ------
    InputError
        For data that does not fit the network, and for settings that are unknown or out of range.
    Diverged
        For a loss that became NaN or infinite.
    CallbackError
        For a callback that failed, with its exception as the cause. The `run` of these errors is
        the run so far; `error.run.resume(epochs=...)` continues it.

    Examples
    --------
    >>> X = np.random.default_rng(0).normal(size=(100, 4))
    >>> y = np.where(X[:, 0] > 0, "right", "left")
    >>> run = xpmlp.train(xpmlp.MLP((4, 8, 2)), X, y, epochs=2, verbose=0)
    >>> run.predict(X[:3]).shape
    (3,)
    """
    if not isinstance(model, MLP):
        raise InputError(
            f"model of type {type(model).__name__}: give a network first, "
            "train(xpmlp.MLP((4, 8, 3)), X, y)"
        )
    chosen = renamed.arguments("train", settings)
    callbacks = chosen.pop("callbacks", callbacks)
    rows = _split(X, y, model)
    if sample_weight is None and isinstance(X, Dataset):
        sample_weight = X.weights
    weights = _weights(chosen.pop("sample_weight", sample_weight))
    backend = _backend(backend, rows.split.X, chosen)
    split, weights = _hold_out(rows, model, weights, config, chosen)
    usual = getattr(config, "batch_size", TrainConfig.batch_size)
    chosen.setdefault("batch_size", min(usual, split.labels.shape[0]))
    by_class = chosen.get("class_weights")
    if isinstance(by_class, Mapping):
        chosen["class_weights"] = _in_order(by_class, _classes(model, rows.schema))
    elif isinstance(by_class, str) and by_class == "balanced":
        classes = max(2, model.layer_sizes[-1])
        chosen["class_weights"] = balanced_weights(to_host(split.labels), classes)
    if isinstance(chosen.get("threads"), str) and chosen["threads"] == "auto":
        chosen["threads"] = 0
    config = TrainConfig.of(config, **chosen)
    if parameters is not None:
        parameters = _start(parameters, model, config, chosen)
    if is_on_device(split.X):
        split = Split(adopted(split.X, backend), split.labels)
    trainer = Trainer(
        model, split, parameters=parameters, backend=backend, config=config, sample_weights=weights
    )
    run = Run(
        model,
        trainer.parameters,
        trainer.history,
        backend,
        schema=rows.schema,
        image_shape=rows.image_shape,
        takes_bytes=trainer.takes_bytes,
        objective=config.objective.loss_alone,
        trainer=trainer,
        test=X.test if isinstance(X, Dataset) else None,
        data=_name_of(X),
    )
    return _carry_out(run, trainer, callbacks, verbose)


def load(path: Path | str, *, backend: str | Backend = "auto", device: str | None = None) -> Run:
    """Return a trained run from its directory.

    Parameters
    ----------
    path : path or str
        A directory that `Run.save` or `xpmlp train` has written.
    backend : str or Backend, default 'auto'
        What computes the predictions, as for `xpmlp.select_backend`.
    device : str, optional
        The device of a backend given by name, such as `cuda:1`.

    Returns
    -------
    Run
        The trained network with its history, without its rows.

    Raises
    ------
    InputError
        For a directory without a trained network, and for a damaged one.

    Examples
    --------
    >>> run = xpmlp.train(xpmlp.MLP((2, 2)), np.eye(2), [0, 1], epochs=1, verbose=0)
    >>> run.save("runs/tiny")
    >>> xpmlp.load("runs/tiny").predict(np.eye(2)).shape
    (2,)
    """
    from xpmlp.runs import RunDirectory

    directory = RunDirectory(as_path(path))
    trained = directory.load_model()
    backend = _backend(backend, None, {"device": device})
    return Run(
        trained.model,
        backend.asarray(trained.parameters),
        directory.load_history(),
        backend,
        schema=trained.schema,
        image_shape=trained.image_shape,
        takes_bytes=trained.takes_bytes,
        objective=trained.objective,
    )


class _Given(NamedTuple):
    """Rows and labels as the network takes them, and what they were called."""

    split: Split
    schema: Schema
    image_shape: tuple[int, ...]


def _split(
    X: Any, y: Any, model: MLP, known: Schema | None = None, *, takes_bytes: bool = False
) -> _Given:
    """Rows and labels, checked; of a data set those to train, or a pair (X, y) without `y`.

    With the schema of training they are as they were there.
    """
    if isinstance(X, Dataset):
        if y is not None:
            raise InputError("y: a data set has labels of its own; leave y out")
        split = X.for_network(model.layer_sizes, model.output).train
        return _Given(split, X.schema, X.image_shape)
    if isinstance(y, str):
        raise InputError(
            f"y={y!r}: give the labels themselves, train(model, X.drop(columns={y!r}), X[{y!r}])"
        )
    if y is None:
        if not (isinstance(X, (tuple, list)) and len(X) == 2 and not np.isscalar(X[0])):
            raise InputError("y is missing: give X and y, a pair (X, y), or a data set")
        X, y = X
    if known is None:
        classes, (rows, schema) = None, as_rows(X)
    else:
        classes = _classes(model, known)
        rows, schema = _rows_like_training(X, known, takes_bytes=takes_bytes)
    sizes, output = model.layer_sizes, model.output
    labels, found = as_labels(y, output=output, width=sizes[-1], classes=classes)
    if is_on_device(rows):
        _check_on_device(rows, model)
        count = rows.shape[0]
        checked = check_labels(labels, count, where="y", layer_sizes=sizes, output=output)
        split = Split(rows, checked)
    else:
        split = check_split(rows, labels, where="X, y", layer_sizes=sizes, output=output)
    if not schema.columns:
        schema = replace(schema, values=value_kind(rows))
    if found is not None:
        schema = replace(schema, classes=tuple(found.tolist()))
    return _Given(split, schema, tuple(rows.shape[1:]))


def _hold_out(
    given: _Given,
    model: MLP,
    weights: np.ndarray | None,
    config: TrainConfig | None,
    settings: dict[str, Any],
) -> tuple[Split, np.ndarray | None]:
    """The rows to train on and their weights; those to validate on become a setting."""
    validation, split = settings.pop("validation", None), given.split
    if isinstance(validation, numbers.Real) and not isinstance(validation, bool):
        if not validation:
            return split, weights
        if is_on_device(split.X):
            raise InputError(
                f"validation={validation}: rows on a device cannot be split; give a "
                "pair, validation=(X, y)"
            )
        check_range("validation", validation, above=0.0, below=1.0)
        seed = TrainConfig.of(config, seed=settings.get("seed")).seeds[0]
        rows, held = rows_to_hold_out(split.labels, float(validation), seed=seed)
        weights = None if weights is None else weights[..., rows]
        split, validation = choose_rows(split, rows), choose_rows(split, held)
    elif validation is not None and not isinstance(validation, Split):
        if not (isinstance(validation, (tuple, list)) and len(validation) == 2):
            raise InputError(
                f"validation of type {type(validation).__name__}: give a fraction (0.1) or a "
                "pair (X, y)"
            )
        takes_bytes = str(split.X.dtype).endswith("uint8")
        X, y = validation
        validation = _split(X, y, model, given.schema, takes_bytes=takes_bytes).split
    if validation is not None:
        settings["validation"] = validation
    return split, weights


def _rows_like_training(X: Any, schema: Schema, *, takes_bytes: bool) -> Rows:
    """Rows with the columns of training, in numbers that mean what they meant there."""
    rows = as_rows(X, schema=schema)
    if not isinstance(rows.X, np.ndarray):
        return rows
    values = "" if schema.columns else schema.values
    return rows._replace(X=as_trained(rows.X, takes_bytes=takes_bytes, values=values))


def _weights(given: Any) -> np.ndarray | None:
    """A weight for each row as NumPy's."""
    if given is None:
        return None
    weights = _floats("sample_weight", given, wanted="a number for each row, (n,)")
    if weights.size and not weights.any():
        raise InputError("sample_weight: all are 0, so nothing would be learned; give some")
    return weights


def _floats(name: str, given: Any, *, wanted: str) -> np.ndarray:
    """An array of any library, or a list, as float64 on the host."""
    try:
        return np.asarray(to_host(given), np.float64)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise InputError(f"{name} of type {type(given).__name__}: give {wanted}") from None


def _backend(given: str | Backend, X: Any, settings: dict[str, Any]) -> Backend:
    device = settings.pop("device", None)
    if isinstance(given, str) and isinstance(device, str | None):
        return choose_backend(X, given, device)
    if not isinstance(given, Backend) or device is not None:
        raise InputError(
            f"backend={given!r:.60}, device={device!r:.60}: give a name such as 'numpy', with a "
            "device if you like, or what select_backend returned, which has its device"
        )
    return given


def _in_order(by_class: Mapping[Any, float], classes: np.ndarray | None) -> tuple[float, ...]:
    """Class weights from a mapping, in the order of the classes; those left out are 1."""
    known = [] if classes is None else classes.tolist()
    if unknown := [name for name in by_class if name not in known]:
        raise InputError(f"class_weights: {unknown[0]!r} is not one of the classes {known}")
    return tuple(float(by_class.get(name, 1.0)) for name in known)


def _start(parameters: Any, model: MLP, config: TrainConfig, settings: dict[str, Any]) -> Array:
    """Parameters to start from, one vector or one for each seed, in the dtype of the run."""
    if isinstance(parameters, Mapping):
        parameters = model.flatten(parameters)
    if not hasattr(parameters, "dtype") or dtype_name(parameters) not in DTYPES:
        parameters = _floats("parameters", parameters, wanted="numbers, (P,) or (E, P)")
    members = parameters.shape[0] if parameters.ndim == 2 else 1
    seeds = len(config.seeds) if "seed" in settings else members
    if parameters.ndim not in (1, 2) or (not isinstance(config.seed, int) and members != seeds):
        raise InputError(
            f"parameters of shape {tuple(parameters.shape)}: give a flat vector, (P,), or one for "
            "each seed, (E, P)"
        )
    is_cast = config.dtype in DTYPES and isinstance(parameters, np.ndarray)
    return parameters.astype(config.dtype) if is_cast else parameters


def _name_of(X: Any) -> str:
    """What the command line calls these rows."""
    if not isinstance(X, Dataset):
        return UNNAMED
    path = Path(X.where)
    return X.name if X.name in DATA_NAMES else str(path.absolute()) if path.exists() else UNNAMED


def _check_on_device(X: Array, model: MLP) -> None:
    """Refuse rows on a device that have another width, or are NaN or infinite."""
    if X.ndim != 2 or X.shape[1] != model.layer_sizes[0]:
        raise InputError(
            f"X of shape {tuple(X.shape)}: {model} takes rows of {model.layer_sizes[0]} values"
        )
    xp = array_api_compat.array_namespace(X)
    if xp.isdtype(X.dtype, "real floating") and not bool(xp.all(xp.isfinite(X))):
        raise InputError("X: NaN or infinite values; remove or replace them")


def _classes(model: MLP, schema: Schema) -> np.ndarray | None:
    """The classes in the order of the outputs, names or integers; None if there are none."""
    if schema.classes:
        return np.array(schema.classes)
    if model.is_regression or (model.output == "sigmoid" and model.layer_sizes[-1] > 1):
        return None
    return np.arange(max(2, model.layer_sizes[-1]))


def _carry_out(run: Run, trainer: Trainer, callbacks: Any, verbose: int) -> Run:
    """Train, with progress shown if it is asked for, and return the run.

    Ctrl-C keeps what whole epochs learned; an error has the run as far as it came.
    """
    listeners = as_callbacks(callbacks)
    with contextlib.ExitStack() as stack:
        if verbose:
            from xpmlp.training.progress import Progress

            progress = Progress()
            listeners.append(progress)
            stack.callback(progress.stop)
        try:
            trainer.run(listeners)
        except KeyboardInterrupt:
            warnings.warn(
                f"interrupted; the run has what it learned in {trainer.epoch} epochs",
                RuntimeWarning,
                stacklevel=3,
            )
        except DeviceLost:
            raise  # the parameters are lost, too
        except XpmlpError as error:
            run._take_over(trainer)
            error.run = run
            raise
    run._take_over(trainer)
    return run
