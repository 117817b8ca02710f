"""What training minimises: a loss, and its regularisation."""

import math
import numbers
from collections.abc import Mapping, Set
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from xpmlp import algebra
from xpmlp.algebra import LOSSES, OUTPUTS, Loss
from xpmlp.checks import check_range, one_of, shown
from xpmlp.display import short_repr
from xpmlp.errors import InputError
from xpmlp.typing import Array, Namespace

Rates = float | tuple[float, ...]
"""One number, or one for each member."""


@dataclass(frozen=True, repr=False)
class Objective:
    """A loss with its regularisation. Unused features cost nothing.

    Parameters
    ----------
    loss
        The loss; empty for the usual one of the output. In Python also an `xpmlp.algebra.Loss` of
        your own.
    label_smoothing
        Fraction of each target that is spread over all classes.
    huber_delta
        Where Huber's loss turns from squares to straight lines.
    quantile
        The quantile that the quantile loss predicts, between 0 and 1.
    class_weights
        A weight for the rows of each class, (K,); empty for none.
    l1
        Strength of the penalty l1 Σ|W| on all weights, not on biases.
    l2
        Strength of the penalty (l2/2) ΣW² on all weights, not on biases.
    dropout
        Fraction of hidden units left out in each step; one number, or one for each member.
    input_dropout
        Fraction of inputs left out in each step; one number, or one for each member.
    mixup
        a of Beta(a, a), by which each row is mixed with the next of its batch; 0 for none.
    divides_by_weight
        Whether the loss of a batch is divided by the sum of its rows' weights in place of their
        number, and so are the penalties, which else are divided by nothing.

    Raises
    ------
    InputError
        For values out of range and for what contradicts the loss.
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
        for name in ("class_weights", "dropout", "input_dropout"):
            value = getattr(self, name)
            if isinstance(value, (Mapping, Set)):
                raise InputError(f"{name}={value}: give a sequence, one number for each in order")
            if not isinstance(value, (int, float, str)):  # a list or an array, say
                object.__setattr__(self, name, tuple(map(_as_number, value)))
        if isinstance(self.loss, str) and self.loss:
            one_of(LOSSES, loss=self.loss)
        for name in ("label_smoothing", "dropout", "input_dropout"):
            check_range(name, getattr(self, name), least=0.0, below=1.0)
        for name in ("l1", "l2", "mixup", "class_weights"):
            check_range(name, getattr(self, name), least=0.0, below=1e18)
        check_range("huber_delta", self.huber_delta, above=0.0, below=math.inf)
        check_range("quantile", self.quantile, above=0.0, below=1.0)
        if self.class_weights and not any(self.class_weights):
            raise InputError("class_weights: all are 0, so nothing would be learned; give some")
        if self.class_weights and self.mixup:
            raise InputError("class_weights and mixup: a mixed row has no class; choose one")

    def check(self, output: str, classes: int) -> None:
        """Refuse with `InputError` what contradicts a network's output and its last width."""
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
        """The loss without smoothing, weights, penalties and noise: what is measured."""
        return Objective(self.loss, huber_delta=self.huber_delta, quantile=self.quantile)

    @property
    def has_noise(self) -> bool:
        """Whether anything is dropped out."""
        return bool(np.any(self.dropout) or np.any(self.input_dropout))

    def loss_for(self, output: str) -> Loss:
        """The loss of a network with this output, its own parameters bound."""
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
        """The targets with label smoothing."""
        return algebra.smooth_labels(Y, self.label_smoothing, xp=xp) if self.label_smoothing else Y

    @property
    def has_penalty(self) -> bool:
        """Whether weights cost anything."""
        return bool(self.l1 or self.l2)

    def penalized(
        self, J: Array, dW: Array, W: Array, scale: Array | None = None, *, xp: Namespace
    ) -> tuple[Array, Array]:
        """J and dW with the penalties on W in them, times `scale` (1, 1) or (E, 1, 1)."""
        for strength, penalty, gradient in (
            (self.l1, algebra.l1_penalty, algebra.l1_penalty_gradient),
            (self.l2, algebra.l2_penalty, algebra.l2_penalty_gradient),
        ):
            if strength:
                scaled = strength if scale is None else strength * scale
                J, dW = J + penalty(W, scaled, xp=xp), dW + gradient(W, scaled, xp=xp)
        return J, dW


def _as_number(value: object) -> Any:
    """A number as Python's; what is none is left to be refused."""
    return float(value) if isinstance(value, (numbers.Real, np.generic)) else value


PLAIN = Objective()
"""The usual loss of a network's output, and nothing else."""


def balanced_weights(labels: np.ndarray, classes: int) -> tuple[float, ...]:
    """Return class weights by which all classes count alike, 1 on average over rows.

    `labels` are (n,) integers, or (n, K) one-hot.
    """
    counts = np.bincount(labels if labels.ndim == 1 else labels.argmax(axis=1), minlength=classes)
    return tuple(len(labels) / (classes * np.maximum(counts, 1)))
