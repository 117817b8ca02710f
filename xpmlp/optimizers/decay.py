"""Weight decay that no rule rescales."""

from xpmlp.typing import Array, Namespace


def decay(parameters: Array, rate: Array, weight_decay: Array, *, xp: Namespace) -> Array:
    """Decoupled weight decay, before a rule: p <- p - (rate weight_decay) p, in place.

    Rate and weight decay are scalars, (E, 1), (P,) or (E, P); an entry of 0 leaves a parameter as
    it is, to the bit. Written as a subtraction: in float32 the factor 1 - rate weight_decay, with
    rate weight_decay = 1e-5, would decay by up to 0.3 % too much or too little.

    Source: Loshchilov and Hutter 2019, algorithm 2, line 12, with PyTorch's rate in it.
    """
    parameters -= (rate * weight_decay) * parameters
    return parameters
