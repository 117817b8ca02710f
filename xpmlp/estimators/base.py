"""What MLPClassifier and MLPRegressor have in common: fit, their fitted state, and predictions."""

import operator
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Self

import array_api_compat
import numpy as np
import scipy.sparse
from sklearn import get_config
from sklearn.base import _fit_context
from sklearn.model_selection import train_test_split
from sklearn.utils import _safe_indexing, check_random_state
from sklearn.utils.validation import (
    _check_sample_weight,
    check_is_fitted,
    column_or_1d,
    validate_data,
)

from xpmlp.backends import PRECISIONS, Backend
from xpmlp.backends.interchange import (
    adopted,
    choose_backend,
    is_foreign,
    is_on_device,
    like,
    namespace_of,
    on_host,
    to_host,
)
from xpmlp.data import SparseRows, Split
from xpmlp.errors import BackendUnavailable
from xpmlp.estimators import conventions, saving
from xpmlp.estimators.hyperparameters import FitConfig, Hyperparameters, fit_config
from xpmlp.estimators.lbfgs import check_all_rows, fit_lbfgs
from xpmlp.estimators.learned import FittedState
from xpmlp.estimators.stochastic import FitData, callbacks_of, fit_stochastic
from xpmlp.network import MLP
from xpmlp.training import predict
from xpmlp.training.evaluation import predict_on_device
from xpmlp.typing import Array

LARGEST_DENSE = 256 * 2**20
"""Bytes up to which a sparse matrix is made dense as a whole; beyond, a block of rows at a time."""


def has_batches(estimator: Any) -> bool:
    """Whether the solver can learn from one part of the data after another; else the error."""
    if estimator._takes_all_rows:
        raise AttributeError(
            "partial_fit is only available for stochastic optimizers. "
            f"{estimator.solver} is not stochastic."
        )
    return True


class BaseMLP(Hyperparameters):
    """A multilayer perceptron as a scikit-learn estimator.

    The fitted parameters are one flat vector on the host, whatever they were trained on; `coefs_`
    and `intercepts_` are views of it. A subclass says what its targets are: `_encode` and
    `_encode_known` make what the network learns of them, `_decode` makes them of that again, and
    `_predicted` makes that of Ŷ.
    """

    _learned: FittedState
    n_features_in_: int
    n_outputs_: int

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: Any = None, eval_set: Any = None) -> Self:
        """Train the network, from new weights unless `warm_start`.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n, features)
            Rows.
        y : array-like of shape (n,) or (n, K)
            Labels or targets.
        sample_weight : array-like of shape (n,), optional
            A weight for each row.
        eval_set : (X, y), optional
            Rows that are evaluated after every epoch, for `validation_loss_curve_`. With
            `early_stopping` they replace the validation rows.

        Returns
        -------
        self
            The fitted estimator.

        Raises
        ------
        ValueError
            For invalid parameters, rows or targets, as in scikit-learn.
        """
        return self._fit(X, y, sample_weight, eval_set=eval_set)

    def _fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        *,
        eval_set: Any = None,
        incremental: bool = False,
        rows: np.ndarray | None = None,
        seeds: Sequence[Any] | None = None,
    ) -> Self:
        """`rows` (E, n) and `seeds` are each member's own, where they have any: then each is what
        it is alone."""
        hidden = self._hidden()
        is_first = not hasattr(self, "coefs_") or (not self.warm_start and not incremental)
        origin, backend = X, choose_backend(X, self.backend, self.device)
        dtype = "" if is_first else str(self._learned.parameters.dtype)
        X, y = self._validate(on_host(X), to_host(y), reset=is_first, dtype=dtype)
        weights = self._weights(to_host(sample_weight), y, rows)
        randoms = [check_random_state(seed) for seed in seeds or [self.random_state]]
        self._random_state = randoms[0]
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        y = self._encode(y, incremental=incremental)
        config = fit_config(self, hidden)
        # Whatever can be refused is refused before anything learned is lost.
        callbacks_of(self)
        if self._takes_all_rows:
            check_all_rows(config, self, eval_set)
        dtype = dtype or self._dtype(X)
        held_out = None if eval_set is None else self._validated_eval_set(eval_set, dtype)
        if is_first:
            self._initialize(config, dtype, randoms)
        else:
            self._check_that_it_continues(config.model, incremental=incremental)
        self._learned.model = config.model
        self._learned.fitted_on = namespace_of(origin)
        self.backend_ = f"{backend.name} on {backend.device_name}"
        if self._takes_all_rows:
            fit_lbfgs(self, config, as_split(X, y, backend), weights, backend)
        else:
            data = self._data(X, y, weights, held_out, backend)
            data = data._replace(rows=rows, randoms=randoms)
            fit_stochastic(self, config, data, backend, incremental=incremental)
        if not np.isfinite(self._learned.parameters).all():
            raise ValueError(
                "Solver produced non-finite parameter weights. The input data may contain large "
                "values and need to be preprocessed."
            )
        if get_config()["array_api_dispatch"] and is_foreign(origin):
            labels = getattr(self, "_labels", None)
            if labels is not None and labels.classes.dtype.kind in "buif":
                self.classes_ = like(labels.classes, origin, backend)
        return self

    def _hidden(self) -> list[int]:
        sizes = self.hidden_layer_sizes
        hidden = list(sizes) if isinstance(sizes, Iterable) else [sizes]
        if any(size <= 0 for size in hidden):
            raise ValueError(f"hidden_layer_sizes must be > 0, got {hidden}.")
        try:
            return [operator.index(size) for size in hidden]
        except TypeError as error:
            raise TypeError(f"hidden_layer_sizes={sizes}: {error}; give integers") from None

    def _check_that_it_continues(self, model: MLP, *, incremental: bool) -> None:
        """Refuse to continue with another network than that which was fitted."""
        vector, fitted = self._vector(), self._learned.model
        remedy = "call fit" if incremental else "fit with warm_start=False"
        for name, asked, has in (
            ("outputs of y", model.layer_sizes[-1], fitted.layer_sizes[-1]),
            ("n_members", self.n_members, len(vector) if vector.ndim > 1 else 1),
            ("hidden_layer_sizes", model.layer_sizes[1:-1], fitted.layer_sizes[1:-1]),
            ("normalization", model.normalization, fitted.normalization),
            ("residual", model.residual, fitted.residual),
        ):
            if asked != has:
                raise ValueError(
                    f"{name}={asked}: the fitted network has {has}; {remedy} to begin anew"
                )

    def _dtype(self, X: Any) -> str:
        """The parameters' dtype: that asked for, or X's where it is floating."""
        if self.dtype != "auto":
            return PRECISIONS[self.dtype]
        return "float32" if str(X.dtype).endswith("float32") else "float64"

    def _validate(self, X: Any, y: Any, *, reset: bool, dtype: str = "") -> tuple[Any, Any]:
        """X as a floating-point matrix, of `dtype` if it is on a device, and y on the host, as
        scikit-learn checks them."""
        dtypes = ["float64", "float32"] if self.dtype == "auto" else [PRECISIONS[self.dtype]]
        is_away = is_on_device(X)
        rows, y = validate_data(
            self,
            _shape_alone(X) if is_away else X,
            y,
            accept_sparse=["csr", "csc"],
            multi_output=True,
            dtype=None if is_away else list(map(np.dtype, dtypes)),
            ensure_all_finite=not is_away,
            reset=reset,
            **self._how_to_validate_y,
        )
        return self._rows_on_device(X, dtype) if is_away else rows, y

    def _rows_on_device(self, X: Array, dtype: str) -> Array:
        """X of `dtype`, by default its own, which scikit-learn cannot look into there."""
        backend, name = choose_backend(X, self.backend, self.device), type(self).__name__
        with backend.activate():
            xp, rows = backend.xp, adopted(X, backend)
            if not xp.isdtype(rows.dtype, ("real floating", "integral", "bool")):
                raise ValueError(f"elements of type {rows.dtype}: {name} takes real numbers")
            rows = xp.astype(rows, getattr(xp, dtype or self._dtype(rows)), copy=False)
            if not bool(xp.all(xp.isfinite(rows))):
                raise ValueError(f"Input X contains NaN or infinity. {name} does not accept these.")
        return rows

    def _weights(self, weights: Any, y: np.ndarray, rows: np.ndarray | None) -> np.ndarray | None:
        """A weight for each row (n,), or for each member's (E, n); None where all are 1."""
        if weights is None:
            return None
        return np.asarray(_check_sample_weight(weights, np.empty((y.shape[0], 1))))

    def _initialize(
        self, config: FitConfig, dtype: str, randoms: Sequence[np.random.RandomState]
    ) -> None:
        """New weights, drawn from one source for all or from each member's own, and nothing
        learned yet."""
        model, members = config.model, self.n_members
        sources = [one for one in randoms for _ in range(members // len(randoms))]
        if config.has_initializer:
            seeds = [int(one.randint(2**31 - 1)) for one in sources]
            vectors = np.asarray(config.training.initialize(model, seeds, dtype="float64"))
        else:
            vectors = np.stack(
                [conventions.initial_parameters(model, model.activation, one) for one in sources]
            )
        self.n_layers_ = len(model.layer_sizes)
        self.out_activation_ = "logistic" if model.output == "sigmoid" else model.output
        self.n_iter_ = self.t_ = 0
        vector = (vectors if members > 1 else vectors[0]).astype(dtype)
        self._learned = FittedState.nothing(model, vector, rate=self.learning_rate_init)
        self.coefs_, self.intercepts_ = self._learned.show()
        for name in ("loss_curve_", "best_loss_", "validation_scores_", "best_validation_score_"):
            self.__dict__.pop(name, None)
        self.validation_loss_curve_: list[float] | None = None
        if not self._takes_all_rows:
            self.loss_curve_: list[float] = []
            self.best_loss_: float | None = None if self.early_stopping else np.inf
            self.validation_scores_: list[float] | None = [] if self.early_stopping else None
            self.best_validation_score_: float | None = -np.inf if self.early_stopping else None

    def _set_parameters(self, vector: np.ndarray) -> None:
        """Take a flat vector (P,) or (E, P), and show it as `coefs_` and `intercepts_`."""
        self._learned.parameters = np.ascontiguousarray(vector)
        self.coefs_, self.intercepts_ = self._learned.show()

    def _vector(self) -> np.ndarray:
        """The flat vector, with what was put into `coefs_` and `intercepts_` by others."""
        return self._learned.take_back(self.coefs_, self.intercepts_)

    def _data(
        self,
        X: Any,
        y: np.ndarray,
        weights: np.ndarray | None,
        held: tuple[Any, np.ndarray, np.ndarray | None] | None,
        backend: Backend,
    ) -> FitData:
        """What to train on, and what to validate on: the `eval_set`, or a part of the rows."""
        if held is None and self.early_stopping:
            # As scikit-learn draws them.
            kept, chosen = train_test_split(
                np.arange(len(y)),
                random_state=self._random_state,
                test_size=self.validation_fraction,
                stratify=y if self._stratifies else None,
            )
            if len(chosen) < 2:
                raise ValueError(
                    "The validation set is too small. Increase 'validation_fraction' or the size "
                    "of your dataset."
                )
            held = taken(X, chosen), taken(y, chosen), taken(weights, chosen)
            X, y, weights = taken(X, kept), taken(y, kept), taken(weights, kept)
        data = FitData(as_split(X, y, backend), weights)
        if held is None:
            return data
        self.validation_loss_curve_ = self.validation_loss_curve_ or []
        self.validation_scores_ = self.validation_scores_ or []
        validation = as_split(*held[:2], backend)
        score = self._scorer(validation, *held[1:], backend)
        return data._replace(validation=validation, score=score)

    def _scorer(
        self, split: Split, y: np.ndarray, weights: np.ndarray | None, backend: Backend
    ) -> Callable[[np.ndarray], float]:
        """The validation score of flat parameters on the host, as scikit-learn computes it."""
        targets = self._decode(y)

        def score(vector: np.ndarray) -> float:
            predicted = self._predicted(self._outputs_of(vector, split.X, backend), backend)
            labels = self._decode(to_host(predicted))
            if labels.dtype.kind == "f" and not np.isfinite(labels).all():
                return float("nan")
            return float(self._metric(targets, labels, sample_weight=weights))

        return score

    def _validated_eval_set(self, eval_set: Any, dtype: str) -> tuple[Any, np.ndarray, None]:
        """Rows, of the dtype of the parameters if they are on a device, and encoded targets."""
        try:
            X, y = eval_set
        except (TypeError, ValueError):
            raise ValueError("eval_set: give a pair, (X, y)") from None
        X, y = self._validate(on_host(X), to_host(y), reset=False, dtype=dtype)
        return X, self._encode_known(y), None

    def _outputs(self, X: Any, method: str) -> tuple[Array, Backend]:
        """Ŷ (n, outputs) of rows as they were given: on the host if they were, else on the device
        of the backend."""
        check_is_fitted(self)
        fitted_on = self._learned.fitted_on
        if get_config()["array_api_dispatch"] and fitted_on not in ("", namespace_of(X)):
            raise ValueError(
                f"Inputs passed to {type(self).__name__}.{method}() must use the same namespace "
                f"and the same device as those passed to fit(): {namespace_of(X)} in place of "
                f"{fitted_on}. Convert them, or set array_api_dispatch=False to have it done."
            )
        backend = _backend_to_predict(self, X)
        if is_on_device(X):
            validate_data(self, _shape_alone(X), dtype=None, ensure_all_finite=False, reset=False)
            rows = self._rows_on_device(X, str(self._learned.parameters.dtype))
        else:
            rows = validate_data(self, on_host(X), accept_sparse=["csr", "csc"], reset=False)
            # Of bytes the engine would make 0 to 1.
            rows = rows.astype(self._learned.parameters.dtype, copy=False)
            if scipy.sparse.issparse(rows):
                rows = SparseRows(rows.tocsr())
        return self._outputs_of(self._vector(), rows, backend), backend

    def _outputs_of(self, vector: np.ndarray, rows: Any, backend: Backend) -> Array:
        on_rows = predict_on_device if is_on_device(rows) else predict
        return on_rows(self._learned.model, vector, rows, backend=backend)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the accuracy of a classifier, or R² of a regressor.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n, features)
            Rows.
        y : array-like of shape (n,) or (n, K)
            Labels or targets.
        sample_weight : array-like of shape (n,), optional
            A weight for each row.

        Returns
        -------
        float
            The fraction of rows (of their weight) whose labels are all correct; of a regressor the
            coefficient of determination, averaged over outputs.
        """
        found = to_host(self.predict(X))
        return float(self._metric(to_host(y), found, sample_weight=to_host(sample_weight)))

    def __sklearn_is_fitted__(self) -> bool:
        """Not by what is there while a first fit is being refused."""
        return hasattr(self, "_learned")

    def save(self, path: Any) -> None:
        """Write the fitted estimator to a safetensors file, without pickle.

        Callbacks, and a `random_state` that is not an integer, are not saved.

        Parameters
        ----------
        path : path or str
            The file.
        """
        check_is_fitted(self)
        saving.save(self, path)

    @classmethod
    def load(cls, path: Any) -> Self:
        """Read an estimator that `save` wrote, to predict or to train further.

        Parameters
        ----------
        path : path or str
            The file.

        Returns
        -------
        estimator
            The fitted estimator.

        Raises
        ------
        InputError
            For a damaged file, and for an estimator of another class.
        """
        estimator: Self = saving.load(cls, path)
        return estimator

    def __getstate__(self) -> dict[str, Any]:
        """All that was learned, on the host, once: the views are made anew."""
        state = dict(super().__getstate__())
        if "_learned" in state:
            self._vector()
            del state["coefs_"], state["intercepts_"]
            if "classes_" in state:
                state["classes_"] = self._labels.classes
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if hasattr(self, "_learned"):
            self.coefs_, self.intercepts_ = self._learned.show()

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.array_api_support = True
        return tags


def _shape_alone(X: Array) -> np.ndarray:
    """Return one number that looks like an array of this shape, for scikit-learn to check."""
    return np.broadcast_to(np.float64(0.0), X.shape)


def taken(array: Any, rows: np.ndarray) -> Any:
    """Return some rows of an array, by number, where it lies; of None, None."""
    if array is None:
        return None
    if not is_on_device(array):
        return _safe_indexing(on_host(array), rows)
    xp = array_api_compat.array_namespace(array)
    numbers = xp.asarray(rows, device=array_api_compat.device(array))
    return xp.take(array, numbers, axis=0)


def as_split(X: Any, y: np.ndarray, backend: Backend) -> Split:
    """Rows and targets as the engine takes them."""
    if scipy.sparse.issparse(X):
        is_small = X.shape[0] * X.shape[1] * X.dtype.itemsize <= LARGEST_DENSE
        X = X.toarray() if is_small else SparseRows(X.tocsr())
    if is_on_device(X):
        return Split(adopted(X, backend), backend.asarray(y))
    return Split(X, y)


def _backend_to_predict(estimator: Any, X: Any) -> Backend:
    """What it is fitted with, or, where that is missing, what there is: any predicts alike."""
    try:
        return choose_backend(X, estimator.backend, estimator.device)
    except BackendUnavailable as error:
        backend = choose_backend(X, "auto", None)
        warnings.warn(
            f"backend={estimator.backend!r} cannot be had here ({error}); predicting with "
            f"{backend.name}. set_params(backend='auto', device=None) makes it so",
            stacklevel=4,
        )
        return backend
