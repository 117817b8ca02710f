"""Limits on the gradients."""

from xpmlp.typing import Array, Namespace


def clip_by_norm(gradients: Array, limit: float, *, xp: Namespace) -> Array:
    """Gradients made no longer than `limit` > 0, in place: g <- g limit / max(|g|, limit).

    |g| is the Euclidean norm over the last axis, each member's own. Gradients within the limit
    keep their bits; a NaN or an infinity in them leaves a NaN, so that the loss shows it. PyTorch's
    `clip_grad_norm_` divides by |g| + 1e-6 and so ends that much below the limit.

    Source: Pascanu, Mikolov and Bengio 2013, algorithm 1.
    """
    norm = xp.sqrt(xp.sum(gradients * gradients, axis=-1, keepdims=True))
    gradients *= limit / xp.maximum(norm, limit)
    return gradients


def clip_by_value(gradients: Array, limit: float, *, xp: Namespace) -> Array:
    """Each entry held within -limit and limit > 0. A NaN stays one.

    Source: Mikolov 2012, Statistical language models based on neural networks.
    """
    return xp.minimum(xp.maximum(gradients, -limit), limit)
