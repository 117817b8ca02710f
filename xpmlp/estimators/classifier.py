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
    """A multilayer perceptron classifier with the interface of scikit-learn.

    The parameters up to `max_fun` are those of `sklearn.neural_network.MLPClassifier`. From the
    same `random_state` it starts from the same weights and sees the same batches.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int, default (100,)
        The widths of the hidden layers.
    activation : str, default 'relu'
        `relu`, `tanh`, `logistic`, `identity`, or one of `xpmlp.algebra.ACTIVATIONS`.
    solver : str, default 'adam'
        `adam`, `sgd` or `lbfgs`.
    alpha : float, default 0.0001
        Strength of the L2 penalty, divided by the number of rows.
    batch_size : int, default 'auto'
        Rows in a mini-batch; `auto` is min(200, n).
    learning_rate : str, default 'constant'
        `constant`, `invscaling` or `adaptive`, for `sgd`.
    learning_rate_init : float, default 0.001
        The learning rate.
    power_t : float, default 0.5
        The exponent of `invscaling`.
    max_iter : int, default 200
        Epochs, or iterations of L-BFGS.
    shuffle : bool, default True
        Whether each epoch takes the rows in a new order.
    random_state : int or RandomState, default None
        The source of random numbers.
    tol : float, default 1e-4
        The improvement of the loss or score that counts, see `n_iter_no_change`.
    verbose : bool or int, default False
        1 shows a progress bar on a terminal and in a notebook, else lines; 2 prints lines.
    warm_start : bool, default False
        Whether `fit` starts from the present weights.
    momentum : float, default 0.9
        The momentum of `sgd`.
    nesterovs_momentum : bool, default True
        Whether the momentum is Nesterov's.
    early_stopping : bool, default False
        Whether to use validation rows, and to stop when their score does not improve.
    validation_fraction : float, default 0.1
        The fraction of rows that are validation rows.
    beta_1 : float, default 0.9
        Decay of `adam`'s mean of gradients.
    beta_2 : float, default 0.999
        Decay of `adam`'s mean of squared gradients.
    epsilon : float, default 1e-8
        Added to `adam`'s root, outside the bias correction as in scikit-learn.
    n_iter_no_change : int, default 10
        Epochs without an improvement of `tol` after which training ends.
    max_fun : int, default 15000
        The largest number of function calls of `lbfgs`.
    backend : str, default 'auto'
        The array library, such as `numpy` or `cupy`. `auto` takes a GPU if one works, else NumPy.
    device : str, default None
        The device, such as `cuda:1`; None for the backend's first.
    dtype : str, default 'auto'
        float32 for float32 rows, else float64; or a name.
    optimizer : str, default None
        One of `xpmlp.optimizers.OPTIMIZERS`, in place of the solver.
    weight_decay : float, default None
        Decoupled weight decay; by default the usual one of the optimizer.
    schedule : str, default 'constant'
        The schedule of the learning rate over `max_iter` epochs.
    warm_up : float, default 0.0
        Epochs over which the learning rate first rises linearly.
    clip_norm : float, default 0.0
        Limit on the norm of the gradient; 0 for none.
    average : str, default 'none'
        `ema` or `swa`: the mean of the weights to predict with.
    mixup : float, default 0.0
        The alpha of mixup; 0 for none.
    dropout : float, default 0.0
        Fraction of hidden units dropped in each step.
    input_dropout : float, default 0.0
        Fraction of inputs dropped in each step.
    normalization : str, default 'none'
        `batch`, `layer` or `rms`.
    residual : bool, default False
        Whether a hidden layer as wide as the one before it adds its input to its output.
    n_members : int, default 1
        The number of networks trained at once, an ensemble whose predictions are averaged.
    time_limit : float, default None
        Seconds after which training ends.
    callbacks : list, callable or Callback, default None
        Functions of the estimator, called after every epoch, or instances of `xpmlp.Callback`.
    recipe : str or dict, default None
        A recipe's name or file, for every parameter that you leave out; or a dictionary of
        settings.
    threads : int, default 0
        CPU threads; 0 finds the best number.
    class_weight : dict or 'balanced', default None
        A weight for each class by its label, or weights that give all classes the same total.
    label_smoothing : float, default 0.0
        Fraction of each target that is spread over all classes.

    Attributes
    ----------
    classes_ : ndarray of shape (K,)
        The classes, sorted.
    coefs_, intercepts_ : list of ndarray
        The weights (l_in, l_out) and biases (l_out,) of each layer, with a leading axis for
        members.
    loss_curve_ : list of float
        The training loss of each epoch, the mean over members.
    validation_loss_curve_ : list of float or None
        The validation loss of each epoch.
    n_iter_ : int
        The number of epochs.
    backend_ : str
        The library and the device that trained the network.

    See Also
    --------
    xpmlp.model_selection.cross_validate_members : Train all folds at once.

    Notes
    -----
    `docs/scikit-learn.md` lists the differences from scikit-learn.

    Examples
    --------
    >>> X, y = np.array([[0.0], [1.0], [2.0], [3.0]]), ["low", "low", "high", "high"]
    >>> classifier = xpmlp.MLPClassifier((8,), solver="lbfgs", random_state=0).fit(X, y)
    >>> print(*classifier.predict([[0.5], [2.5]]))
    low high
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
        """Train for one epoch on the given rows, from the present weights.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n, features)
            Rows.
        y : array-like of shape (n,) or (n, K)
            Labels.
        sample_weight : array-like of shape (n,), optional
            A weight for each row.
        classes : array-like of shape (K,), optional
            All classes; needed in the first call.

        Returns
        -------
        self
            The estimator.
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
        """Return the class of each row.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n, features)
            Rows.

        Returns
        -------
        array of shape (n,) or (n, K)
            The classes; 0 or 1 for each label if there are several.
        """
        Y_hat, backend = self._outputs(X, "predict")
        labels = self._decode(to_host(self._predicted(Y_hat, backend)))
        is_array = isinstance(labels, np.ndarray) and labels.dtype.kind in "buif"
        return like(labels, X, backend) if is_array else labels  # no device has strings

    def predict_proba(self, X: Any) -> Any:
        """Return the probability of each class.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n, features)
            Rows.

        Returns
        -------
        array of shape (n, K)
            The probabilities, in the order of `classes_`.
        """
        return self._probabilities(X, "predict_proba")

    def predict_log_proba(self, X: Any) -> Any:
        """Return the logarithm of the probability of each class.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n, features)
            Rows.

        Returns
        -------
        array of shape (n, K)
            The logarithms of the probabilities, in the order of `classes_`.
        """
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
