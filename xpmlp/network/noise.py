"""What dropout draws from in one step of training."""

from typing import NamedTuple

from xpmlp.algebra import dropout, dropout_key
from xpmlp.typing import Array, Namespace

Rate = float | Array
"""The share that is dropped: a number, or (E, 1, 1), one for each member."""


class Noise(NamedTuple):
    """Random numbers of a step, and the rates of dropout, 0.0 for none.

    `key` (1,) or (E, 1, 1), int32, is the seed's, `step` (1,) the step's number; `positions` (N,)
    and `columns` (at least the widest layer's) count rows and units. Nothing is drawn before it is
    asked for, and the same step draws the same again: so a run can be resumed at any.
    """

    key: Array
    step: Array
    positions: Array
    columns: Array
    input_rate: Rate
    hidden_rate: Rate

    def drop(self, A: Array, layer: int, *, xp: Namespace) -> tuple[Array, Array | None]:
        """A (N, l) of a layer, 0 being the input, after dropout, and the mask that did it."""
        rate = self.hidden_rate if layer else self.input_rate
        if isinstance(rate, float) and rate == 0.0:
            return A, None
        key = dropout_key(self.key, self.step, layer, xp=xp)
        dropped, mask = dropout(A, self.positions, self.columns[: A.shape[-1]], key, rate, xp=xp)
        return dropped, mask
