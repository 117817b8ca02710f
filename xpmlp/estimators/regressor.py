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
    """A multilayer perceptron regressor with the interface of scikit-learn.

    The parameters up to `max_fun` are those of `sklearn.neural_network.MLPRegressor`. From the same
    `random_state` it starts from the same weights and sees the same batches.

    Parameters
    ----------
    loss : str, default 'squared_error'
        `squared_error`, or `poisson` for counts, whose predictions are exp(L).
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

    Attributes
    ----------
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
    >>> X, y = np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([0.0, 2.0, 4.0, 6.0])
    >>> regressor = xpmlp.MLPRegressor(hidden_layer_sizes=(8,), solver="lbfgs", random_state=0)
    >>> regressor = regressor.fit(X, y)
    >>> print(regressor.predict([[1.5]]).round(1))
    [3.]
    """

    _how_to_validate_y: ClassVar[dict[str, Any]] = {"y_numeric": True}
    _metric = staticmethod(r2_score)
    score = BaseMLP.score
    _stratifies = False

    @available_if(has_batches)
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train for one epoch on the given rows, from the present weights.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n, features)
            Rows.
        y : array-like of shape (n,) or (n, K)
            Targets.
        sample_weight : array-like of shape (n,), optional
            A weight for each row.

        Returns
        -------
        self
            The estimator.
        """
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
        """Return the predicted numbers of each row.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n, features)
            Rows.

        Returns
        -------
        array of shape (n,) or (n, K)
            The predictions.
        """
        outputs, backend = self._outputs(X, "predict")
        return like(self._decode(outputs), X, backend)
