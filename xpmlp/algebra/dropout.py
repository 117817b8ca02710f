"""Dropout, whose random numbers are a function of where they are used.

A unit's fate is a hash of (seed, step, layer, row, column): no generator has a state, the same
step draws the same again, and every library draws the same bits. All is int32, which NumPy, CuPy,
torch, JAX without 64 bits and the standard share. Their products wrap around; their right shift
copies the sign, so what it brings in is masked away. (Nothing in here has rank 0: of such integers
NumPy makes scalars, and warns when those wrap around.)
"""

from typing import NamedTuple

from xpmlp.typing import Array, Namespace

__all__ = ["dropout", "dropout_backward", "dropout_key", "random_bits"]

FIRST_FACTOR = 0x7FEB352D
SECOND_FACTOR = 0x846CA68B - 2**32
GOLDEN = 0x9E3779B9 - 2**32
"""2³² divided by the golden ratio, as int32: its multiples lie far apart."""


class DropoutResult(NamedTuple):
    """What `dropout` returns: A after it, and the mask that did it."""

    A: Array
    mask: Array


def random_bits(counter: Array, *, xp: Namespace) -> Array:
    """Hash int32 numbers to pseudo-random ones, one to one; any shape of rank >= 1.

    If one bit of the counter changes, each bit of the result does in very nearly half the cases.

    Source: Chris Wellons 2018, "Prospecting for hash functions", lowbias32.
    """
    return _fold(_upper_bits(counter), 16)


def _upper_bits(counter: Array) -> Array:
    """`random_bits` without its last line, which leaves the upper 16 bits as they are."""
    bits = _fold(counter, 16) * FIRST_FACTOR
    return _fold(bits, 15) * SECOND_FACTOR


def _fold(bits: Array, shift: int) -> Array:
    """The upper bits on top of the lower ones: x ^ (x >> shift), x without a sign."""
    return bits ^ ((bits >> shift) & (2 ** (32 - shift) - 1))


def dropout_key(seed_key: Array, step: Array, layer: int, *, xp: Namespace) -> Array:
    """Return the key of one layer in one step.

    `seed_key` is int32 (), (1,) or (E,1,1), `step` () or (1,).

    It has the shape of seed_key, (1,) for (). One hash serves all layers of a step.
    """
    seed_key, step = _of_rank_1(seed_key, xp=xp), _of_rank_1(step, xp=xp)
    of_step = random_bits(seed_key * GOLDEN ^ xp.astype(step, xp.int32), xp=xp)
    return of_step ^ _int32(layer * GOLDEN)


def dropout(
    A: Array,
    positions: Array,
    columns: Array,
    key: Array,
    rate: float | Array,
    *,
    xp: Namespace,
) -> DropoutResult:
    """Leave each unit of each row out with a probability of `rate`, below 1; scale up the rest.

    Forward    mask = 0 with probability p, else 1/(1-p)     (N,l)
               A after = A * mask     (N,l),(N,l) -> (N,l)
    Keeps      The mask.
    Scale      None: with 1/(1-p) the mean over masks is A, and nothing is scaled after training.
    Members    Leading axes broadcast. A key (E,1,1) draws for each member, even if they share A;
               rates of their own are (E,1,1), in the dtype of A.

    positions (N,) and columns (l,) are the numbers of rows and units, integers of any width;
    `key` is what `dropout_key` makes.
    Source: Srivastava et al. 2014, "Dropout: a simple way to prevent neural networks from
    overfitting", section 10 for the scale.
    """
    rows = xp.astype(positions, xp.int32)[:, None] ^ _of_rank_1(key, xp=xp)
    units = xp.astype(columns, xp.int32) * GOLDEN
    # Of a 32-bit number the comparison is decided by its upper half, but for one time in 65,536.
    bits = _upper_bits(random_bits(rows, xp=xp) ^ units)
    if isinstance(rate, int | float):
        least: int | Array = int(rate * 2.0**32) - 2**31
    else:
        least = xp.astype(xp.floor(rate * 2.0**32 - 2.0**31), xp.int32)
    mask = xp.astype(bits >= least, A.dtype) * (1.0 / (1.0 - rate))
    return DropoutResult(A * mask, mask)


def dropout_backward(dA: Array, mask: Array, *, xp: Namespace) -> Array:
    """dA before = dA after * mask; (N,l),(N,l) -> (N,l).

    Source: Srivastava et al. 2014, "Dropout", section 5.1.
    """
    return dA * mask


def _of_rank_1(key: Array, *, xp: Namespace) -> Array:
    return xp.reshape(key, (1,)) if key.ndim == 0 else key


def _int32(number: int) -> int:
    """What is left of an integer in 32 bits with a sign."""
    return (number + 2**31) % 2**32 - 2**31
