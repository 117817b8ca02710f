"""MLPClassifier: classes, several labels at once, and their probabilities."""

from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar, Self

import array_api_compat
import numpy as np
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.metrics import accuracy_score
from sklearn.utils import compute_sample_weight
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import (
    _check_partial_fit_first_call,
    type_of_target,
    unique_labels,
)

from xpmlp.backends import Backend
from xpmlp.backends.interchange import like, to_host
from xpmlp.estimators.base import BaseMLP, has_batches
from xpmlp.estimators.hyperparameters import FRACTION, limited
from xpmlp.estimators.learned import Labels
from xpmlp.typing import Array


@dataclass(eq=False, repr=False)
class MLPClassifier(ClassifierMixin, BaseMLP):
    """A multilayer perceptron that tells classes apart; scikit-learn's, on xpmlp's engines.

    The parameters from `hidden_layer_sizes` to `max_fun` are those of
    `sklearn.neural_network.MLPClassifier`, with the same meaning and default; from the same
    `random_state` it starts from the same weights and sees the same batches. Beyond them:

    backend, device    what computes: `auto` takes a GPU where one works, else NumPy; or a name
    dtype              `auto` for that of X (float32 or else float64), or one by name
    optimizer          in the solver's place one of `xpmlp.optimizers.OPTIMIZERS`
    weight_decay       decoupled; None for the optimizer's usual one
    schedule           of the learning rate, one of `xpmlp.schedules.SCHEDULES`, over `max_iter`
    warm_up            epochs over which the rate first rises
    clip_norm          the longest a gradient may be; 0 for no limit
    average            `ema` or `swa` of the weights
    class_weight       `balanced`, or a weight for each class by its label
    label_smoothing    share of each target that goes to all classes alike
    mixup              a of the Beta(a, a) distribution that rows are mixed by
    dropout, input_dropout     share of hidden units, of inputs, that is left out
    normalization      `batch`, `layer` or `rms`
    residual           whether hidden layers add what came in
    n_members          networks trained at once; their probabilities are averaged
    time_limit         seconds after which training ends
    callbacks          functions of the estimator, called after every epoch, or instances of
                       `xpmlp.Callback`
    recipe             a recipe to start from, by name or file; what is left at its default here is
                       the recipe's. Or a dictionary of a recipe's settings
    threads            CPU threads; 0 finds the best number

    Attributes are those of the original, with `validation_loss_curve_` and `backend_`. With members
    each of `coefs_` and `intercepts_` has a leading axis, and curves are means.

    Source of the conventions: scikit-learn; of the algebra: lecture 11.
    """

    _: KW_ONLY
    class_weight: Any = limited(None, dict, StrOptions({"balanced"}), None)
    label_smoothing: float = limited(0.0, FRACTION, setting="label_smoothing")

    _how_to_validate_y: ClassVar[dict[str, Any]] = {}
    _metric = staticmethod(accuracy_score)
    score = BaseMLP.score

    @available_if(has_batches)
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> Self:
        """Train on these rows once, from where the last call left off.

        `classes`, all there will be, are needed in the first call.
        """
        if self.class_weight == "balanced":
            raise ValueError(
                "class_weight='balanced' needs all rows at once, which partial_fit never sees; "
                "give a weight for each class"
            )
        y, classes = to_host(y), to_host(classes)
        if _check_partial_fit_first_call(self, classes):
            self._learn_classes(y if type_of_target(y).startswith("multilabel") else classes)
        return self._fit(X, y, sample_weight, incremental=True)

    def _learn_classes(self, y: Any) -> None:
        self._labels = Labels.of(y)
        self.classes_ = self._labels.classes
        self.n_outputs_ = self._labels.outputs

    def _output_of_network(self) -> str:
        return self._labels.output

    def _encode(self, y: Any, *, incremental: bool) -> np.ndarray:
        """Class numbers (n,), or answers (n, K), of labels as they were given."""
        if hasattr(self, "classes_") and (self.warm_start or incremental):
            self._check_classes(unique_labels(y))
        else:
            self._learn_classes(y)
        return self._labels.encode(y)

    def _encode_known(self, y: Any) -> np.ndarray:
        return self._labels.encode(y)

    def _check_classes(self, found: np.ndarray) -> None:
        """Refuse classes that were not there before."""
        classes = self._labels.classes
        if self.warm_start:
            if set(found) != set(classes):
                raise ValueError(
                    "warm_start can only be used where `y` has the same classes as in the previous "
                    f"call to fit. Previously got {classes}, `y` has {found}"
                )
        elif len(np.setdiff1d(found, classes, assume_unique=True)):
            raise ValueError(
                f"`y` has classes not in `self.classes_`. `self.classes_` has {classes}. "
                f"'y' has {found}."
            )

    def _weights(self, weights: Any, y: np.ndarray, rows: np.ndarray | None) -> np.ndarray | None:
        weights = super()._weights(weights, y, rows)
        if self.class_weight is None:
            return weights
        if isinstance(self.class_weight, dict):
            for label, weight in self.class_weight.items():
                if not 0.0 <= weight < np.inf:
                    raise ValueError(f"class_weight={{{label!r}: {weight}}}: give 0 or more")
        if y.ndim > 1 and y.shape[1] > 1:
            raise ValueError(
                f"class_weight={self.class_weight!r}: rows with several labels have no one class; "
                "use sample_weight"
            )
        parts = [None] if rows is None else rows
        each = [compute_sample_weight(self.class_weight, y, indices=part) for part in parts]
        by_class = each[0] if rows is None else np.stack(each)
        return np.asarray(by_class if weights is None else weights * by_class)

    @property
    def _stratifies(self) -> bool:
        return self.n_outputs_ == 1

    def _predicted(self, Y_hat: Array, backend: Backend) -> Array:
        with backend.activate():
            return self._labels.predicted(Y_hat)

    def _decode(self, encoded: np.ndarray) -> Any:
        return self._labels.decode(encoded)

    def predict(self, X: Any) -> Any:
        """Return the class of each row (n,), or the answers (n, K) for several labels a row."""
        Y_hat, backend = self._outputs(X, "predict")
        labels = self._decode(to_host(self._predicted(Y_hat, backend)))
        is_array = isinstance(labels, np.ndarray) and labels.dtype.kind in "buif"
        return like(labels, X, backend) if is_array else labels  # no device has strings

    def predict_proba(self, X: Any) -> Any:
        """Return the probability of each class, in the order of `classes_`, (n, K)."""
        return self._probabilities(X, "predict_proba")

    def predict_log_proba(self, X: Any) -> Any:
        """Return the logarithm of `predict_proba`."""
        probabilities = self._probabilities(X, "predict_log_proba")
        with np.errstate(divide="ignore"):
            return array_api_compat.array_namespace(probabilities).log(probabilities)

    def _probabilities(self, X: Any, method: str) -> Array:
        Y_hat, backend = self._outputs(X, method)
        if self.n_outputs_ == 1:
            xp = array_api_compat.array_namespace(Y_hat)
            with backend.activate():
                Y_hat = xp.concat([1.0 - Y_hat, Y_hat], axis=1)
        return like(Y_hat, X, backend)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
