"""What a trained network makes of given rows: loss, metrics, probabilities."""

import contextlib
import functools
import math
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from xpmlp import renamed
from xpmlp.backends import Backend, select_backend
from xpmlp.backends.base import Function
from xpmlp.checks import check_kind
from xpmlp.data import HOST_ROWS, Split, check_rows, check_split
from xpmlp.errors import InputError
from xpmlp.network import MLP, PLAIN, Objective
from xpmlp.training.metrics import metrics_of, tracked_metric
from xpmlp.training.step import batch_metric, inputs
from xpmlp.typing import Array, Namespace, dtype_name

EVALUATED_UNIT_BYTES = 32
"""What evaluating takes of memory for each row and unit, at most: rows as they come and in the
parameters' type, Z and A."""

UNCHECKED_BYTES = 2**24
"""Bytes that are taken without asking whether they are free, which costs more than one row."""


@renamed.with_old_names
class Evaluation(NamedTuple):
    """The result of `evaluate`.

    Attributes
    ----------
    loss : ndarray
        The loss, by default the mean cross-entropy: a scalar, or (E,) with members.
    tracked : ndarray
        The accuracy, the fraction of correct predictions, or R² (coefficient of determination) for
        a regression, of the same shape. Its own name is an attribute, too: `accuracy` or `r2`.
    ensemble : float or None
        The same of the ensemble, the members' mean prediction; None for one network.
    metric : str, default 'accuracy'
        The name of `tracked`.
    metrics : mapping from str to ndarray, default {}
        All metrics by name, which are attributes, too, if `evaluate` was asked for them. NaN is a
        metric that is not defined for these rows.
    ensemble_metrics : mapping from str to float, default {}
        The same of the ensemble; empty for one network.

    Examples
    --------
    >>> from xpmlp.training import Evaluation
    >>> Evaluation(np.array(0.25), np.array(0.9), None)
    Evaluation(loss=0.25, accuracy=0.9)
    """

    loss: np.ndarray
    tracked: np.ndarray
    ensemble: float | None
    metric: str = "accuracy"
    metrics: Mapping[str, np.ndarray] = MappingProxyType({})
    ensemble_metrics: Mapping[str, float] = MappingProxyType({})

    def __getattr__(self, name: str) -> np.ndarray:
        """Return a metric by its name."""
        if name not in self._by_name:
            raise AttributeError(f"no {name!r} in this evaluation; use {', '.join(self._by_name)}")
        return self._by_name[name]

    @property
    def _by_name(self) -> dict[str, np.ndarray]:
        return {"loss": self.loss, self.metric: self.tracked, **self.metrics}

    def __repr__(self) -> str:
        of_members = "" if self.ensemble is None else f", ensemble={self.ensemble:.4f}"
        shown = ", ".join(
            f"{name}={np.array2string(value, precision=4, threshold=8)}"
            for name, value in self._by_name.items()
        )
        return f"Evaluation({shown}{of_members})"


def evaluate(
    model: MLP,
    parameters: Array,
    split: Split,
    *,
    objective: Objective = PLAIN,
    backend: Backend | None = None,
    all_metrics: bool = False,
) -> Evaluation:
    """Return the loss and the metrics of a network on labelled rows.

    Parameters
    ----------
    model : MLP
        The network.
    parameters : array of shape (P + S,) or (E, P + S)
        The flat vector, on the backend's device or on the host.
    split : Split
        Rows and labels.
    objective : Objective, optional
        Its loss is reported, without label smoothing, weights and penalties; by default the usual
        one of the output.
    backend : Backend, optional
        By default NumPy.
    all_metrics : bool, default False
        Whether to return every metric, in place of accuracy or R² alone. The predictions of all
        rows, (n, K) or (E, n, K), are then held on the host.

    Returns
    -------
    Evaluation
        Loss and accuracy (R² for a regression), scalars or (E,), and those of the ensemble.

    Raises
    ------
    InputError
        For rows or labels that the network cannot take.

    Examples
    --------
    >>> model = xpmlp.MLP((2, 2))
    >>> rows = xpmlp.Split(np.eye(2), np.array([0, 1]))
    >>> print(xpmlp.evaluate(model, np.zeros(model.size), rows).loss.round(4))  # log 2
    0.6931
    """
    split = checked(split, model, where="rows to evaluate")
    backend = backend or _numpy()
    measure = _function(_measurement, model, objective.loss_alone, backend)
    has_members = parameters.ndim == 2
    loss, metric_sum = (np.zeros(parameters.shape[:-1]) for _ in range(2))
    ensemble = 0.0
    count = split.labels.shape[0]
    with backend.activate(), _threads(model, backend, count):
        parameters = _on_device(parameters, backend)
        dtype = dtype_name(parameters)
        targets = split.labels
        if isinstance(targets, np.ndarray) and targets.dtype.kind == "f":
            targets = targets.astype(dtype)
        fixed = (
            parameters,
            backend.asarray(np.arange(model.layer_sizes[-1])),
            backend.asarray(inverse(variance(targets, backend=backend)).astype(dtype)),
        )
        for rows in _blocks(model, parameters, count, backend):
            X, labels = (rows_of(part, rows, backend=backend) for part in (split.X, targets))
            found = measure(fixed, (X, labels))
            J, hits, *agreed = (backend.to_numpy(array) for array in found)
            loss += J.astype(np.float64) * labels.shape[0]
            metric_sum += hits
            ensemble += sum(map(float, agreed))
    found = Evaluation(
        loss=loss / count,
        tracked=metric_sum / count,
        ensemble=ensemble / count if has_members else None,
        metric=tracked_metric(model),
    )
    return _with_all_metrics(found, model, parameters, split, backend) if all_metrics else found


def _with_all_metrics(
    found: Evaluation, model: MLP, parameters: Array, split: Split, backend: Backend
) -> Evaluation:
    """The evaluation with every metric; accuracy and R² stay the device's, where defined."""
    with backend.activate():
        blocks = _predicted(model, parameters, split.X, backend, is_mean=False)
        Y_hat = np.concatenate([backend.to_numpy(block) for block in blocks], axis=-2)
        labels = split.labels
        labels = labels if isinstance(labels, np.ndarray) else backend.to_numpy(labels)

    def measured(Y_hat: np.ndarray, tracked: float) -> dict[str, float]:
        metrics = metrics_of(model, labels, Y_hat)
        if not math.isnan(metrics[found.metric]):
            metrics[found.metric] = tracked
        return metrics

    if found.ensemble is not None:
        found = found._replace(ensemble_metrics=measured(Y_hat.mean(axis=0), found.ensemble))
    of_members = Y_hat.reshape(-1, *Y_hat.shape[-2:]), found.tracked.ravel().tolist()
    members = [measured(*one) for one in zip(*of_members, strict=True)]
    metrics = {name: np.array([one[name] for one in members]) for name in members[0]}
    return found._replace(
        metrics={name: one.reshape(found.tracked.shape) for name, one in metrics.items()}
    )


def checked(split: Split, model: MLP, *, where: str) -> Split:
    """Rows and labels that this network takes, or `InputError`; those on a device as they are."""
    check_kind("model", model, MLP)
    check_kind("split", split, Split)
    if not isinstance(split.X, HOST_ROWS):
        return split
    return check_split(*split, where=where, layer_sizes=model.layer_sizes, output=model.output)


def variance(targets: Array, *, by_member: bool = False, backend: Backend) -> np.ndarray:
    """Of each output over all rows, float64 on the host; (n, K) -> (K,), or (E, n, K) -> (E, 1, K)
    with members. Integers, too, have one."""
    if isinstance(targets, np.ndarray):
        targets = targets if targets.ndim > 1 else targets[:, None]
        found: np.ndarray = targets.var(axis=-2, dtype=np.float64, keepdims=by_member)
        return found
    xp = backend.xp
    if not xp.isdtype(targets.dtype, "real floating"):
        return np.ones(1)  # classes: nothing looks at it
    targets = targets if targets.ndim > 1 else targets[:, None]
    return backend.to_numpy(xp.var(targets, axis=-2, keepdims=by_member)).astype(np.float64)


def inverse(variance: np.ndarray) -> np.ndarray:
    """1 / variance; of a constant, whose R² is not defined, a large number: any error is then far
    worse than none."""
    inverted: np.ndarray = 1.0 / np.where(variance > 0.0, variance, 1e-12)
    return inverted


def predict(model: MLP, parameters: Array, X: Any, *, backend: Backend | None = None) -> np.ndarray:
    """Return the predictions of a network on the host, the mean over members.

    Parameters
    ----------
    model : MLP
        The network.
    parameters : array of shape (P + S,) or (E, P + S)
        The flat vector, on the backend's device or on the host.
    X : ndarray or SparseRows of shape (n, l0)
        Rows as in training. Bytes (uint8) are scaled from 0..255 to 0..1, other numbers are not
        scaled.
    backend : Backend, optional
        By default NumPy.

    Returns
    -------
    ndarray of shape (n, K)
        The probability of each class (softmax) or of each label (sigmoid), or numbers.

    Raises
    ------
    InputError
        For rows that the network cannot take.

    Examples
    --------
    >>> model = xpmlp.MLP((2, 2))
    >>> xpmlp.predict(model, np.zeros(model.size), np.eye(2))
    array([[0.5, 0.5],
           [0.5, 0.5]])
    """
    backend = backend or _numpy()
    check_kind("model", model, MLP)
    X = check_rows(X, where="rows to predict", layer_sizes=model.layer_sizes)
    with backend.activate():
        blocks = _predicted(model, parameters, X, backend)
        found = [backend.to_numpy(block) for block in blocks]
        return found[0] if len(found) == 1 else np.concatenate(found)


def predict_on_device(model: MLP, parameters: Array, X: Array, *, backend: Backend) -> Array:
    """The same of rows that lie on the backend's device, and there is the result."""
    with backend.activate():
        found = list(_predicted(model, parameters, X, backend))
        return found[0] if len(found) == 1 else backend.xp.concat(found, axis=0)


def _predicted(
    model: MLP, parameters: Array, X: Array, backend: Backend, *, is_mean: bool = True
) -> Iterator[Array]:
    """Ŷ of blocks of rows, averaged over members or of each."""
    probabilities = _function(_prediction, model, is_mean, backend)
    fixed = (_on_device(parameters, backend),)
    count = X.shape[0]
    blocks = list(_blocks(model, parameters, count, backend))
    # Starting threads takes longer than a few rows do.
    with _threads(model, backend, count) if len(blocks) > 1 else contextlib.nullcontext():
        for rows in blocks:
            yield from probabilities(fixed, (rows_of(X, rows, backend=backend),))


def _prediction(model: MLP, is_mean: bool, *, xp: Namespace) -> Function:
    """Ŷ of rows X, averaged over members or of each: ((parameters,), (X,)) -> (Ŷ,)."""

    def probabilities(fixed: tuple[Array, ...], varying: tuple[Array, ...]) -> tuple[Array, ...]:
        (parameters,), (X,) = fixed, varying
        Y_hat = model.predictions(parameters, inputs(X, dtype=parameters.dtype, xp=xp), xp=xp)
        return (xp.mean(Y_hat, axis=0) if is_mean and parameters.ndim == 2 else Y_hat,)

    return probabilities


def _measurement(model: MLP, objective: Objective, *, xp: Namespace) -> Function:
    """((parameters, classes, inverse variance), (X, labels)) -> (J, metric), and the ensemble's."""
    loss = objective.loss_for(model.output)

    def measure(fixed: tuple[Array, ...], varying: tuple[Array, ...]) -> tuple[Array, ...]:
        (parameters, classes, inverse_variance), (X, labels) = fixed, varying
        X = inputs(X, dtype=parameters.dtype, xp=xp)
        Y = model.targets(labels, classes, dtype=parameters.dtype, xp=xp)
        L = model.forward(parameters, X, xp=xp).L
        J, _ = loss.forward(Y, L, xp=xp)
        found = (J, batch_metric(model, L, labels, Y, inverse_variance, xp=xp))
        if parameters.ndim == 2:
            mean = xp.mean(model.predictions_of(L, xp=xp), axis=0)
            if model.output == "sigmoid":
                mean = mean - 0.5  # an L of the same answers: those above 0 are yes
            elif model.output == "exp":
                mean = xp.log(mean)  # the L that `batch_metric` makes this mean of
            return (*found, batch_metric(model, mean, labels, Y, inverse_variance, xp=xp))
        return found

    return measure


@functools.lru_cache(maxsize=8)
def _function(
    make: Callable[..., Function], model: MLP, option: Objective | bool, backend: Backend
) -> Function:
    """A network's function on a backend: made once, for it may be traced or compiled."""
    return backend.function(functools.partial(make, model, option))


@functools.cache
def _numpy() -> Backend:
    return select_backend("numpy")


def _threads(model: MLP, backend: Backend, count: int) -> contextlib.AbstractContextManager[object]:
    return backend.threads(backend.spare_threads(model.products(min(count, backend.rows_at_once))))


def rows_of(array: Array, rows: slice, *, backend: Backend) -> Array:
    """Some rows of an array on the device; those of the host's are sent there."""
    if isinstance(array, HOST_ROWS):
        return backend.asarray(array[rows])
    # The standard has no slice beyond the end.
    return array[slice(rows.start, min(rows.stop, array.shape[0])), ...]


def _on_device(parameters: Array, backend: Backend) -> Array:
    if isinstance(parameters, np.ndarray):
        return backend.asarray(parameters)
    if backend.name == "numpy":
        library = type(parameters).__module__.partition(".")[0]
        raise InputError(f"the parameters are {library}'s: give backend=run.backend")
    return parameters


def _blocks(model: MLP, parameters: Array, count: int, backend: Backend) -> Iterator[slice]:
    """Rows to compute together: fewer than is best where a device has no room for them."""
    at_once = backend.rows_at_once
    row = EVALUATED_UNIT_BYTES * sum(model.layer_sizes) * math.prod(parameters.shape[:-1])
    if min(count, at_once) * row > UNCHECKED_BYTES and (free := backend.free_memory()) is not None:
        at_once = max(1, min(at_once, free // row))
    for start in range(0, count, at_once):
        yield slice(start, start + at_once)
