"""How images become rows: one rule for a data set, kept with a run and applied to later images."""

import logging
from dataclasses import dataclass, replace

import numpy as np

LIGHT = 128
"""Greys from here on are nearer to white (255) than to black."""

BOXES = {"mnist": (20, True), "emnist": (24, False)}
"""Side of the square that a drawing fills, and whether its centre of mass lies in the middle of
the image, or the square does (LeCun et al. 1998; Cohen et al. 2017, EMNIST)."""

CENTRED_SAMPLE = 1000
"""Images whose centres of mass are measured; MNIST's lie within half a pixel of (14, 14)."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Images:
    """How the images of a data set are made into rows.

    Parameters
    ----------
    light_share : float, optional
        The share of training images with a light background. If it is more than half, all images
        are inverted, else none. By default each image with a light background is, as for MNIST.
    drawings : str, default ''
        `mnist` or `emnist`: drawings of another size are scaled and centred as theirs. By default
        the whole image is scaled to fit.
    sets_emnist_upright : bool, default True
        Whether images in IDX files of EMNIST, which are stored transposed, are set upright.

    Examples
    --------
    >>> from xpmlp.data import Images
    >>> Images(light_share=0.9).inverts
    True
    """

    light_share: float | None = None
    drawings: str = ""
    sets_emnist_upright: bool = True

    def __post_init__(self) -> None:
        if self.drawings not in ("", *BOXES):
            raise ValueError(f"drawings={self.drawings!r} is none of {', '.join(BOXES)}")
        if self.light_share is not None and not 0.0 <= self.light_share <= 1.0:
            raise ValueError(f"light_share={self.light_share!r} is not from 0 to 1")

    @property
    def inverts(self) -> bool | None:
        """Whether all images are inverted; None if each one with a light background is.

        The background of drawings says nothing about their class if all have the same.
        """
        if self.light_share is None or (self.drawings and self.light_share in (0.0, 1.0)):
            return None
        return self.light_share > 0.5


def backgrounds(images: np.ndarray) -> np.ndarray:
    """Return the median of the border of images (..., rows, columns)."""
    edges = (images[..., 0, :], images[..., -1, :], images[..., 1:-1, 0], images[..., 1:-1, -1])
    return np.asarray(np.median(np.concatenate(edges, axis=-1), axis=-1))


def rule_for(images: np.ndarray, *, where: str) -> Images:
    """Return the rule for training images (n, rows, columns), uint8, of either background."""
    light = backgrounds(images) >= LIGHT
    rule = Images(light_share=float(light.mean()))
    if light.any():
        done = "all images are inverted" if rule.inverts else "no image is inverted"
        counts = light.sum(), len(light)
        log.warning("%s: %d of %d images have a light background; %s", where, *counts, done)
    return with_drawings(rule, ~images[:CENTRED_SAMPLE] if rule.inverts else images)


def invert_by_rule(images: np.ndarray, rule: Images, *, where: str) -> np.ndarray:
    """Invert images (..., rows, columns), uint8, in place where the rule says so; return them."""
    light = backgrounds(images) >= LIGHT
    inverts = light if rule.inverts is None else np.asarray(rule.inverts)
    if rule.inverts is not None and abs(light.mean() - (rule.light_share or 0.0)) > 0.9:
        kinds = ("light", "dark") if light.mean() > 0.5 else ("dark", "light")
        message = "%s: a %s background, in training it was %s; invert images that are negatives"
        log.warning(message, where, *kinds)
    np.invert(images, out=images, where=inverts[..., None, None])
    return images


def with_drawings(rule: Images, images: np.ndarray) -> Images:
    """Return the rule, with `drawings` if images (n, ...), light on dark, are like MNIST's."""
    return replace(rule, drawings="mnist") if are_centred(images) else rule


def are_centred(images: np.ndarray) -> bool:
    """Whether images are of MNIST's size and have their centre of mass where MNIST's have it."""
    if images.shape[1:] != (28, 28) or images.dtype.kind not in "uif":
        return False
    mass = np.asarray(images[:CENTRED_SAMPLE], np.float64)
    total, places = mass.sum(axis=(1, 2)), np.arange(28) - 14.0
    moments = np.stack([mass.sum(axis=axis) @ places for axis in (1, 2)])
    return bool((total > 0).all() and (abs(moments) < 0.51 * total).mean() > 0.99)
