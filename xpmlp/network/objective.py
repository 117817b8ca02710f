"""What training minimises: a loss, and its regularisation."""

import math
from dataclasses import dataclass
from functools import partial

import numpy as np

from xpmlp import algebra
from xpmlp.algebra import LOSSES, OUTPUTS, Loss
from xpmlp.checks import check_fields, check_range, one_of, shown
from xpmlp.display import short_repr
from xpmlp.errors import InputError
from xpmlp.typing import Array, Namespace

Rates = float | tuple[float, ...]
"""One number, or one for each member."""


@dataclass(frozen=True, repr=False)
class Objective:
    """A loss with its regularisation.

    Features you don't use cost nothing.

    Parameters
    ----------
    loss
        The loss; empty for the usual one of the output. In Python also an `xpmlp.algebra.Loss` of
        your own.
    label_smoothing
        Fraction of each target that is spread over all classes.
    huber_delta
        The error above which Huber's loss is linear instead of quadratic.
    quantile
        The quantile that the quantile loss predicts, between 0 and 1.
    class_weights
        A weight for the rows of each class, (K,); empty for none.
    l1
        Strength of the penalty l1 Σ|W| on all weights, not on biases.
    l2
        Strength of the penalty (l2/2) ΣW² on all weights, not on biases.
    dropout
        Fraction of hidden units dropped in each step; one number, or one for each member.
    input_dropout
        Fraction of inputs dropped in each step; one number, or one for each member.
    mixup
        The alpha of mixup: each row is mixed with the next of its batch, with weights from
        Beta(alpha, alpha); 0 for no mixup.
    divides_by_weight
        Whether a batch's loss is divided by the sum of its rows' weights, as are the penalties;
        else the loss is divided by the number of rows, and the penalties by nothing.

    Raises
    ------
    InputError
        For values out of range, and for settings that contradict each other.

    References
    ----------
    Szegedy et al. 2016, Rethinking the Inception architecture (label smoothing). Srivastava et al.
    2014, Dropout. Zhang et al. 2018, mixup.

    Examples
    --------
    >>> xpmlp.Objective(label_smoothing=0.1, l2=1e-4)
    Objective(label_smoothing=0.1, l2=0.0001)
    """

    loss: str | Loss = ""
    label_smoothing: float = 0.0
    huber_delta: float = 1.0
    quantile: float = 0.5
    class_weights: tuple[float, ...] = ()
    l1: float = 0.0
    l2: float = 0.0
    dropout: Rates = 0.0
    input_dropout: Rates = 0.0
    mixup: float = 0.0
    divides_by_weight: bool = False

    __repr__ = short_repr

    def __post_init__(self) -> None:
        check_fields(self)
        if not isinstance(self.loss, Loss) and self.loss != "":
            one_of(LOSSES, loss=self.loss)
        for name in ("label_smoothing", "dropout", "input_dropout"):
            many = name != "label_smoothing"
            check_range(name, getattr(self, name), least=0.0, below=1.0, many=many)
        for name in ("l1", "l2", "mixup"):
            check_range(name, getattr(self, name), least=0.0, below=1e18)
        if not isinstance(weights := self.class_weights, tuple):
            raise InputError(
                f"class_weights={shown(weights)}: give a sequence, one number for each in order"
            )
        if weights:
            check_range("class_weights", weights, least=0.0, below=1e18, many=True)
        object.__setattr__(self, "class_weights", tuple(map(float, weights)))
        check_range("huber_delta", self.huber_delta, above=0.0, below=math.inf)
        check_range("quantile", self.quantile, above=0.0, below=1.0)
        if self.class_weights and not any(self.class_weights):
            raise InputError("class_weights: all are 0, so nothing would be learned; give some")
        if self.class_weights and self.mixup:
            raise InputError("class_weights and mixup: a mixed row has no class; choose one")

    def check(self, output: str, classes: int) -> None:
        """Raise an error if the objective doesn't fit a network.

        Parameters
        ----------
        output : str
            The output of the network, such as `softmax`.
        classes : int
            The width of its last layer.

        Raises
        ------
        InputError
            For settings that contradict the output, and for a wrong number of class weights.
        """
        self.loss_for(output)
        is_regression = OUTPUTS[output].is_regression
        why = "an output of numbers has no classes" if is_regression else "smooths one class of K"
        refused = {"class_weights": is_regression, "label_smoothing": output != "softmax"}
        for name, is_refused in refused.items():
            if is_refused and (value := getattr(self, name)):
                raise InputError(
                    f"{name}={shown(value)}: {why}; leave it out, or train with output=softmax"
                )
        wanted = max(2, classes)
        if self.class_weights and len(self.class_weights) != wanted:
            raise InputError(
                f"class_weights={shown(self.class_weights)}: {len(self.class_weights)} weights "
                f"for {wanted} classes; give one for each"
            )

    @property
    def loss_alone(self) -> "Objective":
        """The loss without smoothing, weights, penalties and dropout, for evaluation."""
        return Objective(self.loss, huber_delta=self.huber_delta, quantile=self.quantile)

    @property
    def has_noise(self) -> bool:
        """Whether there is any dropout."""
        return bool(np.any(self.dropout) or np.any(self.input_dropout))

    def loss_for(self, output: str) -> Loss:
        """Return the loss for an output, with its own settings bound.

        Parameters
        ----------
        output : str
            The output of the network, such as `softmax`.

        Returns
        -------
        Loss
            The loss, forward and backward.

        Raises
        ------
        InputError
            For a loss that belongs to another output.
        """
        name = self.loss or OUTPUTS[output].usual_loss
        loss = LOSSES[name] if isinstance(name, str) else name
        if loss.output != output:
            fitting = [known for known, one in LOSSES.items() if one.output == output]
            raise InputError(
                f"loss{f'={name}' if isinstance(name, str) else ''}: is for output={loss.output}; "
                f"with output={output} use {' or '.join(fitting)}"
            )
        if loss.forward is algebra.huber:
            return loss._replace(forward=partial(algebra.huber, delta=self.huber_delta))
        if loss.forward is algebra.quantile:
            return loss._replace(forward=partial(algebra.quantile, quantile=self.quantile))
        return loss

    def smoothed(self, Y: Array, *, xp: Namespace) -> Array:
        """Return the targets with label smoothing.

        Parameters
        ----------
        Y : array of shape (N, K)
            The targets.
        xp : namespace
            The Array API library of the arrays.

        Returns
        -------
        array of shape (N, K)
            The smoothed targets.
        """
        return algebra.smooth_labels(Y, self.label_smoothing, xp=xp) if self.label_smoothing else Y

    @property
    def has_penalty(self) -> bool:
        """Whether there is a penalty on the weights."""
        return bool(self.l1 or self.l2)

    def penalized(
        self, J: Array, dW: Array, W: Array, scale: Array | None = None, *, xp: Namespace
    ) -> tuple[Array, Array]:
        """Return the loss and a weight's gradient with the penalties added.

        Parameters
        ----------
        J : array
            The loss, a scalar or (E,).
        dW : array of shape (l_in, l_out)
            The gradient of the weights.
        W : array of shape (l_in, l_out)
            The weights.
        scale : array of shape (1, 1) or (E, 1, 1), optional
            Factor on the penalties.
        xp : namespace
            The Array API library of the arrays.

        Returns
        -------
        tuple of (J, dW)
            Both with the penalties.
        """
        for strength, penalty, gradient in (
            (self.l1, algebra.l1_penalty, algebra.l1_penalty_gradient),
            (self.l2, algebra.l2_penalty, algebra.l2_penalty_gradient),
        ):
            if strength:
                scaled = strength if scale is None else strength * scale
                J, dW = J + penalty(W, scaled, xp=xp), dW + gradient(W, scaled, xp=xp)
        return J, dW


PLAIN = Objective()
"""The usual loss of a network's output, and nothing else."""


def balanced_weights(labels: np.ndarray, classes: int) -> tuple[float, ...]:
    """Return class weights that give all classes the same total weight.

    Parameters
    ----------
    labels : ndarray of shape (n,) or (n, K)
        Classes from 0 to K-1, or one-hot rows.
    classes : int
        The number of classes K.

    Returns
    -------
    tuple of float
        A weight for each class; the mean over rows is 1.

    Examples
    --------
    >>> from xpmlp.network import balanced_weights
    >>> print(*balanced_weights(np.array([0, 0, 0, 1]), 2))
    0.6666666666666666 2.0
    """
    counts = np.bincount(labels if labels.ndim == 1 else labels.argmax(axis=1), minlength=classes)
    return tuple(len(labels) / (classes * np.maximum(counts, 1)))
