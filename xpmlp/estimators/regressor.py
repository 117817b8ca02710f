"""MLPRegressor: numbers, one or several for each row."""

from typing import Any, Self

import numpy as np
from sklearn.base import RegressorMixin, _fit_context
from sklearn.metrics import r2_score
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import column_or_1d

from xpmlp.backends.interchange import adopted, choose_backend, is_foreign, like, to_host
from xpmlp.estimators.base import BaseMLP, assign, has_batches
from xpmlp.typing import Array

OUTPUTS = {"squared_error": "identity", "poisson": "exp"}
"""What makes numbers of the last layer, by the loss."""


class MLPRegressor(RegressorMixin, BaseMLP):
    """A multilayer perceptron that predicts numbers; scikit-learn's, on xpmlp's engines.

    The parameters from `loss` to `max_fun` are those of `sklearn.neural_network.MLPRegressor`, with
    the same meaning and default; the others are explained at `MLPClassifier`, all of whose it has
    but those that are about classes.

    Source of the conventions: scikit-learn; of the algebra: lecture 11.
    """

    _parameter_constraints: dict[str, list[Any]] = {  # noqa: RUF012
        **BaseMLP._parameter_constraints,
        "loss": [StrOptions(set(OUTPUTS))],
    }
    _how_to_validate_y: dict[str, Any] = {"y_numeric": True}  # noqa: RUF012
    _metric = staticmethod(r2_score)
    _stratifies = False

    def __init__(
        self,
        loss: str = "squared_error",
        hidden_layer_sizes: Any = (100,),
        activation: str = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: Any = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: Any = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        backend: str = "auto",
        device: str | None = None,
        dtype: str = "auto",
        optimizer: str | None = None,
        weight_decay: float | None = None,
        schedule: str = "constant",
        warm_up: float = 0.0,
        clip_norm: float = 0.0,
        average: str = "none",
        mixup: float = 0.0,
        dropout: float = 0.0,
        input_dropout: float = 0.0,
        normalization: str = "none",
        residual: bool = False,
        n_members: int = 1,
        time_limit: float | None = None,
        callbacks: Any = None,
        recipe: Any = None,
        threads: int = 0,
    ) -> None:
        assign(self, locals())

    @available_if(has_batches)
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train on these rows once, from where the last call left off."""
        return self._fit(X, y, sample_weight, incremental=True)

    def _output_of_network(self) -> str:
        return OUTPUTS[self.loss]

    def _encode(self, y: Any, *, incremental: bool) -> np.ndarray:
        """Targets (n, K) of targets as they were given."""
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        targets = self._encode_known(y)
        self.n_outputs_ = targets.shape[1]
        return targets

    def _encode_known(self, y: Any) -> np.ndarray:
        y = np.asarray(y)
        return y.astype(np.result_type(y, np.float32), copy=False).reshape(len(y), -1)

    def _encode_on_device(self, y: Array, *, incremental: bool) -> Array:
        """The same of targets on a device, where they stay."""
        backend = choose_backend(y, self.backend, self.device)
        with backend.activate():
            xp = backend.xp
            targets = xp.reshape(adopted(y, backend), (y.shape[0], -1))
            if not xp.isdtype(targets.dtype, "real floating"):
                targets = xp.astype(targets, xp.float32)
            if not bool(xp.all(xp.isfinite(targets))):
                raise ValueError("Input y contains NaN or infinity.")
            if self.loss == "poisson" and bool(xp.any(targets < 0)):
                raise ValueError("Input y contains numbers below 0, which loss='poisson' has none.")
        self.n_outputs_ = int(targets.shape[1])
        return targets

    def _decode(self, encoded: np.ndarray) -> np.ndarray:
        return self._predicted(encoded)

    def _predicted(self, outputs: np.ndarray) -> np.ndarray:
        """Numbers from Ŷ: (n,) where there is one for each row."""
        return outputs[:, 0] if outputs.shape[1] == 1 else outputs

    def predict(self, X: Any) -> Any:
        """The numbers of each row, (n,) or (n, K)."""
        outputs, backend = self._outputs(X, "predict")
        return like(outputs[:, 0] if self.n_outputs_ == 1 else outputs, X, backend)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """R², the coefficient of determination, averaged over outputs."""
        if not (is_foreign(X) or is_foreign(y)):
            return float(super().score(X, y, sample_weight))
        predicted = to_host(self.predict(X))
        return float(r2_score(to_host(y), predicted, sample_weight=to_host(sample_weight)))
