"""MLPRegressor: numbers, one or several for each row."""

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import RegressorMixin, _fit_context
from sklearn.metrics import r2_score
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.metaestimators import available_if

from xpmlp.backends import Backend
from xpmlp.backends.interchange import like
from xpmlp.estimators.base import BaseMLP, has_batches
from xpmlp.estimators.hyperparameters import limited
from xpmlp.typing import Array

OUTPUT_OF_LOSS = {"squared_error": "identity", "poisson": "exp"}
"""What makes numbers of the last layer, by the loss."""


@dataclass(eq=False, repr=False)
class _Loss:
    """The parameter that comes before all others: fields of the last base class are the first."""

    loss: str = limited("squared_error", StrOptions(set(OUTPUT_OF_LOSS)))


@dataclass(eq=False, repr=False)
class MLPRegressor(RegressorMixin, BaseMLP, _Loss):
    """A multilayer perceptron that predicts numbers; scikit-learn's, on xpmlp's engines.

    The parameters from `loss` to `max_fun` are those of `sklearn.neural_network.MLPRegressor`, with
    the same meaning and default; the others are explained at `MLPClassifier`, all of whose it has
    but those that are about classes.

    Source of the conventions: scikit-learn; of the algebra: lecture 11.
    """

    _how_to_validate_y: ClassVar[dict[str, Any]] = {"y_numeric": True}
    _metric = staticmethod(r2_score)
    score = BaseMLP.score
    _stratifies = False

    @available_if(has_batches)
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train on these rows once, from where the last call left off."""
        return self._fit(X, y, sample_weight, incremental=True)

    def _output_of_network(self) -> str:
        return OUTPUT_OF_LOSS[self.loss]

    def _encode(self, y: Any, *, incremental: bool) -> np.ndarray:
        """Targets (n, K) of targets as they were given."""
        targets = self._encode_known(y)
        self.n_outputs_ = targets.shape[1]
        return targets

    def _encode_known(self, y: Any) -> np.ndarray:
        targets = y.astype(np.result_type(y, np.float32), copy=False).reshape(len(y), -1)
        if self.loss == "poisson" and (targets < 0).any():
            raise ValueError(
                "Input y contains numbers below 0: loss='poisson' is of counts; give 0 or more, or "
                "use loss='squared_error'"
            )
        return np.asarray(targets)

    def _predicted(self, outputs: Array, _: Backend) -> Array:
        return outputs

    def _decode(self, encoded: Array) -> Array:
        """Numbers (n,) where there is one for each row."""
        return encoded[:, 0] if encoded.shape[1] == 1 else encoded

    def predict(self, X: Any) -> Any:
        """Return the numbers of each row, (n,) or (n, K)."""
        outputs, backend = self._outputs(X, "predict")
        return like(self._decode(outputs), X, backend)
