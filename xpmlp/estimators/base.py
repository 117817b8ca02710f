"""What MLPClassifier and MLPRegressor have in common: fit, their fitted state, and predictions."""

import warnings
from collections.abc import Iterable, Sequence
from numbers import Integral
from typing import Any, Self

import array_api_compat
import numpy as np
import scipy.sparse
from sklearn import get_config
from sklearn.base import BaseEstimator, _fit_context
from sklearn.model_selection import train_test_split
from sklearn.utils import _safe_indexing, check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

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
from xpmlp.estimators.lbfgs import check_whole, minimize
from xpmlp.estimators.learned import Labels, Learned
from xpmlp.estimators.parameters import BEYOND, ORIGINAL, Plan, plan
from xpmlp.estimators.progress import say
from xpmlp.estimators.stochastic import Task, callbacks_of, fit_stochastic
from xpmlp.network import MLP
from xpmlp.training import predict
from xpmlp.training.evaluation import predict_on_device
from xpmlp.typing import Array

DENSE = 256 * 2**20
"""Bytes up to which a sparse matrix is made dense as a whole; beyond, a block of rows at a time."""


def assign(estimator: BaseEstimator, parameters: dict[str, Any]) -> None:
    """Keep the constructor's parameters under their names, as scikit-learn wants them."""
    for name, value in parameters.items():
        if name not in ("self", "__class__"):
            setattr(estimator, name, value)


def has_batches(estimator: Any) -> bool:
    """Whether the solver can learn from one part of the data after another; else the error."""
    if estimator.solver == "lbfgs" and estimator.optimizer is None:
        raise AttributeError(
            "partial_fit is only available for stochastic optimizers. "
            f"{estimator.solver} is not stochastic."
        )
    return True


class BaseMLP(BaseEstimator):
    """A multilayer perceptron as a scikit-learn estimator.

    The fitted parameters are one flat vector on the host, whatever they were trained on; `coefs_`
    and `intercepts_` are views of it.
    """

    _parameter_constraints: dict[str, list[Any]] = {**ORIGINAL, **BEYOND}  # noqa: RUF012

    _learned: Learned
    _labels: Labels
    n_features_in_: int
    n_outputs_: int

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: Any = None, eval_set: Any = None) -> Self:
        """Train on rows X (n, features) with targets y, from new weights unless `warm_start`.

        `sample_weight` (n,) weighs rows. `eval_set`, a pair (X, y), is evaluated after every epoch
        and gives `validation_loss_curve_`; with `early_stopping` it takes the place of the
        rows that would be held out. Raises `ValueError` as scikit-learn does.
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
        origin, X = X, on_host(X)
        y, sample_weight = on_host(y), to_host(sample_weight)
        if not is_on_device(X):
            y = to_host(y)
        X, y = self._validate(X, y, reset=is_first)
        sample_weight = self._weights(sample_weight, X, y, rows)
        backend = choose_backend(origin, self.backend, self.device)
        randoms = [check_random_state(seed) for seed in seeds or [self.random_state]]
        self._random_state = randoms[0]
        if not is_on_device(y):
            y = self._encode(y, incremental=incremental)
        else:
            y = self._encode_on_device(y, incremental=incremental)
        asked = self._plan(hidden, inputs=X.shape[1])
        # Whatever can be refused is refused before anything learned is lost.
        callbacks_of(self)
        is_whole = self.solver == "lbfgs" and self.optimizer is None
        if is_whole:
            check_whole(asked, self, eval_set)
        dtype = self._dtype(X) if is_first else str(self._learned.parameters.dtype)
        held_out = None if eval_set is None else self._validated_eval_set(eval_set, dtype)
        if is_first:
            self._initialize(asked, dtype, randoms)
        else:
            self._check_that_it_goes_on(asked.model, incremental=incremental)
        self._learned.model = asked.model
        self._learned.fitted_on = namespace_of(origin)
        self.backend_ = f"{backend.name} on {backend.device_name}"
        if is_whole:
            self._fit_lbfgs(asked, self._split(X, y, backend), sample_weight, backend)
        else:
            task = self._task(X, y, sample_weight, held_out, backend, incremental=incremental)
            task = task._replace(rows=rows, randoms=randoms)
            fit_stochastic(self, asked, task, backend, incremental=incremental)
        if not np.isfinite(self._learned.parameters).all():
            raise ValueError(
                "Solver produced non-finite parameter weights. The input data may contain large "
                "values and need to be preprocessed."
            )
        if get_config()["array_api_dispatch"] and self._has_classes_on_device(origin):
            self.classes_ = like(self._labels.classes, origin, backend)
        return self

    def _has_classes_on_device(self, X: Any) -> bool:
        """Whether scikit-learn wants `classes_` to be of the library of X."""
        return (
            is_foreign(X) and hasattr(self, "_labels") and self._labels.classes.dtype.kind in "buif"
        )

    def _hidden(self) -> list[int]:
        sizes = self.hidden_layer_sizes
        hidden = list(sizes) if isinstance(sizes, Iterable) else [sizes]
        if any(size <= 0 for size in hidden):
            raise ValueError(f"hidden_layer_sizes must be > 0, got {hidden}.")
        if not all(isinstance(size, Integral) for size in hidden):
            wrong = next(size for size in hidden if not isinstance(size, Integral))
            raise TypeError(
                f"hidden_layer_sizes={sizes}: {type(wrong).__name__!r} object cannot be "
                "interpreted as an integer; give whole numbers"
            )
        return [int(size) for size in hidden]

    def _check_that_it_goes_on(self, model: MLP, *, incremental: bool) -> None:
        """Refuse to go on with another network than that which was fitted."""
        vector, fitted = self._vector(), self._learned.model
        members = len(vector) if vector.ndim > 1 else 1
        for name, asked, has in (
            ("outputs of y", model.layer_sizes[-1], fitted.layer_sizes[-1]),
            ("n_members", self.n_members, members),
            ("hidden_layer_sizes", model.layer_sizes[1:-1], fitted.layer_sizes[1:-1]),
            ("normalization", model.normalization, fitted.normalization),
            ("residual", model.residual, fitted.residual),
        ):
            if asked != has:
                remedy = "call fit" if incremental else "fit with warm_start=False"
                raise ValueError(
                    f"{name}={asked}: the fitted network has {has}; {remedy} to begin anew"
                )

    def _plan(self, hidden: list[int], *, inputs: int) -> Plan:
        return plan(
            self, hidden, inputs=inputs, outputs=self.n_outputs_, output=self._output_of_network()
        )

    def _dtype(self, X: Any) -> str:
        """The parameters' dtype: that asked for, or X's where it is floating."""
        if self.dtype != "auto":
            return PRECISIONS[self.dtype]
        return "float32" if str(X.dtype).endswith("float32") else "float64"

    def _validate(self, X: Any, y: Any, *, reset: bool, dtype: str = "") -> tuple[Any, Any]:
        """X as a floating-point matrix, of `dtype` if it is on a device, and y, as scikit-learn
        checks them."""
        if is_on_device(X):
            rows = self._validate_on_device(X, reset=reset, dtype=dtype)
            y = y if is_foreign(y) else np.asarray(y)
            if y.ndim == 0 or y.shape[0] != X.shape[0]:
                raise ValueError(
                    "Found input variables with inconsistent numbers of samples: "
                    f"[{X.shape[0]}, {y.shape[0] if y.ndim else 'none'}]"
                )
            return rows, y
        dtypes = (np.float64, np.float32) if self.dtype == "auto" else (PRECISIONS[self.dtype],)
        X, y = validate_data(
            self,
            X,
            y,
            accept_sparse=["csr", "csc"],
            multi_output=True,
            dtype=[np.dtype(dtype) for dtype in dtypes],
            reset=reset,
            **self._how_to_validate_y,
        )
        return X, y

    def _validate_on_device(self, X: Array, *, reset: bool, dtype: str = "") -> Array:
        """X of `dtype`, by default its own in a first fit, and that of the parameters later."""
        backend = choose_backend(X, self.backend, self.device)
        name = type(self).__name__
        if X.ndim != 2:
            raise ValueError(
                f"Expected 2D array, got {X.ndim}D array instead. Reshape your data either using "
                "array.reshape(-1, 1) or array.reshape(1, -1)."
            )
        if 0 in X.shape:
            raise ValueError(
                f"Found array with shape {tuple(X.shape)}: at least one row is required."
            )
        if not reset and X.shape[1] != self.n_features_in_:
            raise ValueError(
                f"X has {X.shape[1]} features, but {name} is expecting {self.n_features_in_} "
                "features as input."
            )
        with backend.activate():
            xp, rows = backend.xp, adopted(X, backend)
            if not xp.isdtype(rows.dtype, ("real floating", "integral", "bool")):
                raise ValueError(f"elements of type {rows.dtype}: {name} takes real numbers")
            if not dtype:
                dtype = self._dtype(rows) if reset else str(self._learned.parameters.dtype)
            rows = xp.astype(rows, getattr(xp, dtype), copy=False)
            if not bool(xp.all(xp.isfinite(rows))):
                raise ValueError(f"Input X contains NaN or infinity. {name} does not accept these.")
        if reset:
            self.n_features_in_ = int(X.shape[1])
            if hasattr(self, "feature_names_in_"):
                del self.feature_names_in_
        return rows

    def _weights(
        self, sample_weight: Any, X: Any, y: Any, rows: np.ndarray | None
    ) -> np.ndarray | None:
        """A weight for each row (n,), or for each member's (E, n), on the host; None where all
        are 1. `rows` (E, n) are those that each member trains on, by default all."""
        if sample_weight is None:
            return None
        if is_on_device(X):
            rows = np.empty((X.shape[0], 1), self._dtype(X))
            return np.asarray(_check_sample_weight(sample_weight, rows))
        return np.asarray(_check_sample_weight(sample_weight, X))

    def _initialize(
        self, asked: Plan, dtype: str, randoms: Sequence[np.random.RandomState]
    ) -> None:
        """New weights, drawn from one source for all or from each member's own, and nothing
        learned yet."""
        members = self.n_members
        vector: Any
        if asked.initializer:
            per_member = members // len(randoms)
            numbers = [int(one.randint(2**31 - 1)) for one in randoms for _ in range(per_member)]
            vector = asked.model.initialize(
                numbers if members > 1 else numbers[0], dtype="float64", **asked.initializer
            )
        else:
            drawn = [
                conventions.initial_parameters(asked.model, asked.model.hidden, one)
                for one in randoms
                for _ in range(members // len(randoms))
            ]
            vector = np.stack(drawn) if members > 1 else drawn[0]
        self.n_layers_ = len(asked.model.layer_sizes)
        self.out_activation_ = OUT_ACTIVATIONS[asked.model.output]
        self.n_iter_ = self.t_ = 0
        self._learned = Learned.nothing(
            asked.model, np.asarray(vector).astype(dtype), rate=self.learning_rate_init
        )
        self.coefs_, self.intercepts_ = self._learned.show()
        for name in ("loss_curve_", "best_loss_", "validation_scores_", "best_validation_score_"):
            self.__dict__.pop(name, None)
        self.validation_loss_curve_: list[float] | None = None
        if self.solver != "lbfgs" or self.optimizer is not None:
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
        for name, views in (
            ("coefs_", self._learned.weights), ("intercepts_", self._learned.biases)
        ):  # fmt: skip
            given = getattr(self, name)
            if len(given) != len(views):
                raise ValueError(f"{name} has {len(given)} arrays: give {len(views)}, one a layer")
            for number, (one, view) in enumerate(zip(given, views, strict=True)):
                if one is view:
                    continue
                if np.shape(one) != view.shape:
                    raise ValueError(
                        f"{name}[{number}] of shape {np.shape(one)}: the layer's is {view.shape}"
                    )
                view[...] = one
        return self._learned.parameters

    def _split(self, X: Any, y: Any, backend: Backend) -> Split:
        """Rows and targets as the engine takes them."""
        if scipy.sparse.issparse(X):
            is_small = X.shape[0] * X.shape[1] * X.dtype.itemsize <= DENSE
            X = X.toarray() if is_small else SparseRows(X.tocsr())
        elif is_on_device(X):
            X = adopted(X, backend)
        if is_on_device(y):
            y = adopted(y, backend)
        elif not isinstance(X, (np.ndarray, SparseRows)):
            y = backend.asarray(y)
        return Split(X, y)

    def _task(
        self,
        X: Any,
        y: Any,
        weights: np.ndarray | None,
        held: tuple[Any, Any, np.ndarray | None] | None,
        backend: Backend,
        *,
        incremental: bool,
    ) -> Task:
        """What to train on, and what to validate on: what is given, or what is held out."""
        if self.early_stopping and incremental:
            raise ValueError("partial_fit does not support early_stopping=True")
        if held is None and self.early_stopping:
            X, y, weights, held = self._hold_out(X, y, weights)
        train = self._split(X, y, backend)
        if held is None:
            return Task(train, weights, None, None)
        X_held, y_held, weights_held = held
        if self.validation_loss_curve_ is None:
            self.validation_loss_curve_ = []
        if self.validation_scores_ is None:
            self.validation_scores_ = []
        validation = self._split(X_held, y_held, backend)
        targets = self._decode(to_host(y_held))

        def score(vector: np.ndarray) -> float:
            outputs = self._outputs_of(vector, validation.X, backend)
            if not isinstance(outputs, np.ndarray):
                outputs = backend.to_numpy(outputs)
            predicted = self._predicted(outputs)
            if predicted.dtype.kind == "f" and not np.isfinite(predicted).all():
                return float("nan")
            return float(self._metric(targets, predicted, sample_weight=weights_held))

        return Task(train, weights, validation, score)

    def _hold_out(
        self, X: Any, y: Any, weights: np.ndarray | None
    ) -> tuple[Any, Any, np.ndarray | None, tuple[Any, Any, np.ndarray | None]]:
        """A part of the rows to validate on, as scikit-learn draws it."""
        numbers = np.arange(X.shape[0])
        stratify = to_host(y) if self._stratifies else None
        kept, held = train_test_split(
            numbers,
            random_state=self._random_state,
            test_size=self.validation_fraction,
            stratify=stratify,
        )
        if len(held) < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of "
                "your dataset."
            )

        def rows(array: Any, chosen: np.ndarray) -> Any:
            return None if array is None else taken(array, chosen)

        return (
            rows(X, kept),
            rows(y, kept),
            rows(weights, kept),
            (rows(X, held), rows(y, held), rows(weights, held)),
        )

    def _validated_eval_set(self, eval_set: Any, dtype: str) -> tuple[Any, Any, None]:
        """Rows, of the dtype of the parameters if they are on a device, and encoded targets."""
        try:
            X, y = eval_set
        except (TypeError, ValueError):
            raise ValueError("eval_set: give a pair, (X, y)") from None
        X, y = self._validate(on_host(X), to_host(y), reset=False, dtype=dtype)
        return X, self._encode_known(y), None

    def _fit_lbfgs(
        self, asked: Plan, split: Split, weights: np.ndarray | None, backend: Backend
    ) -> None:
        vectors = self._vector().reshape(-1, asked.model.size)
        found = [
            minimize(
                asked.model,
                asked.objective,
                split,
                weights,
                vector,
                backend=backend,
                max_iter=asked.epochs,
                max_fun=self.max_fun,
                tol=self.tol,
            )
            for vector in vectors
        ]
        self._set_parameters(
            np.stack([vector for vector, _, _ in found]).reshape(self._learned.parameters.shape)
        )
        for number, (_, loss, count) in enumerate(found, start=1):
            of = f" of member {number}" if self.n_members > 1 else ""
            said = f"L-BFGS{of}: {count} iterations, loss = {loss:.8f}"
            say(self, said, has_bar=False)
        self.loss_ = float(np.mean([loss for _, loss, _ in found]))
        self.n_iter_ = max(count for _, _, count in found)

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
        backend = self._backend_to_predict(X)
        if is_on_device(X):
            rows = self._validate_on_device(X, reset=False)
        else:
            rows = validate_data(self, on_host(X), accept_sparse=["csr", "csc"], reset=False)
            if scipy.sparse.issparse(rows):
                rows = SparseRows(rows.tocsr().astype(self._learned.parameters.dtype))
            else:
                # Of bytes the engine would make 0 to 1.
                rows = rows.astype(self._learned.parameters.dtype, copy=False)
        return self._outputs_of(self._vector(), rows, backend), backend

    def _backend_to_predict(self, X: Any) -> Backend:
        """What it is fitted with, or, where that is missing, what there is: any predicts alike."""
        try:
            return choose_backend(X, self.backend, self.device)
        except BackendUnavailable as error:
            backend = choose_backend(X, "auto", None)
            warnings.warn(
                f"backend={self.backend!r} cannot be had here ({error}); predicting with "
                f"{backend.name}. set_params(backend='auto', device=None) makes it so",
                stacklevel=4,
            )
            return backend

    def _outputs_of(self, vector: np.ndarray, rows: Any, backend: Backend) -> Array:
        if isinstance(rows, (np.ndarray, SparseRows)):
            return predict(self._learned.model, vector, rows, backend=backend)
        return predict_on_device(self._learned.model, vector, rows, backend=backend)

    def __sklearn_is_fitted__(self) -> bool:
        """Not by what is there while a first fit is being refused."""
        return hasattr(self, "_learned")

    def save(self, path: Any) -> None:
        """Write the fitted estimator to one safetensors file, without pickle; see `load`.

        Callbacks and a `random_state` that is no number are not kept.
        """
        check_is_fitted(self)
        saving.save(self, path)

    @classmethod
    def load(cls, path: Any) -> Self:
        """The estimator that `save` wrote, to predict with or to go on training, on any machine.

        Raises `InputError` for a file that is not whole, or of another class.
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


OUT_ACTIVATIONS = {
    "softmax": "softmax",
    "sigmoid": "logistic",
    "identity": "identity",
    "exp": "exp",
}
"""scikit-learn's names of what is made of the last layer."""


def taken(array: Any, rows: np.ndarray) -> Any:
    """Some rows of what was given, by number, where it lies."""
    if not is_on_device(array):
        return _safe_indexing(on_host(array), rows)
    xp = array_api_compat.array_namespace(array)
    numbers = xp.asarray(rows, device=array_api_compat.device(array))
    return xp.take(array, numbers, axis=0)
