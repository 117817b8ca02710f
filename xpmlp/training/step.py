"""One step of mini-batch training, as a pure function of state and data.

It names no library, makes no array on a device of its choosing and never waits for the device,
so a backend may run it as it is, jit it or capture it.
"""

from typing import Any, NamedTuple

from xpmlp.algebra import one_hot
from xpmlp.backends import StepMetrics
from xpmlp.backends.base import Step
from xpmlp.network import MLP
from xpmlp.optimizers import Optimizer
from xpmlp.typing import Array, Namespace


class TrainingState(NamedTuple):
    """What a step changes: flat parameters, the optimizer's state, and where the epoch stands.

    `offset` is a scalar array: the position in the epoch's order of the next batch's first row.
    """

    parameters: Array
    optimizer: Any
    offset: Array


class TrainingData(NamedTuple):
    """What a step reads, all of it on the device.

    X (n, l0) as stored, labels (n,), order (n,) the rows in this epoch's order,
    positions (N,) = 0..N-1 and classes (K,) = 0..K-1.
    """

    X: Array
    labels: Array
    order: Array
    positions: Array
    classes: Array


def make_step(model: MLP, optimizer: Optimizer, *, xp: Namespace) -> Step:
    """The training step of a network: (state, data) -> (state, metrics).

    Source: lecture 11, the body of "for b_idx in range(n_batch)".
    """

    def step(state: TrainingState, data: TrainingData) -> tuple[TrainingState, StepMetrics]:
        parameters, optimizer_state, offset = state
        rows = xp.take(data.order, offset + data.positions)
        X = inputs(xp.take(data.X, rows, axis=0), dtype=parameters.dtype, xp=xp)
        labels = xp.take(data.labels, rows)
        Y = one_hot(labels, data.classes, dtype=parameters.dtype, xp=xp)

        J, gradients, L = model.forward_backward(parameters, X, Y, xp=xp)
        metrics = StepMetrics(J, count_correct(L, labels, xp=xp))

        parameters, optimizer_state = optimizer.update(parameters, gradients, optimizer_state)
        offset += data.positions.shape[0]
        return TrainingState(parameters, optimizer_state, offset), metrics

    return step


def inputs(rows: Array, *, dtype: Any, xp: Namespace) -> Array:
    """Stored rows as the network takes them: bytes are pixels, 0..255 to 0..1; the rest as it is.

    Source: lecture 11, "X = images.reshape(b_size, -1) / 255.".
    """
    X = xp.astype(rows, dtype)
    if rows.dtype == xp.uint8:
        X /= 255.0
    return X


def count_correct(L: Array, labels: Array, *, xp: Namespace) -> Array:
    """How many rows have their largest logit at their label; one count per member."""
    hits = xp.argmax(L, axis=-1) == labels
    return xp.sum(xp.astype(hits, xp.int64), axis=-1)
