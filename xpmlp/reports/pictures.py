"""Rows and weights as images that a page carries in itself."""

import base64
import io
import math
from collections.abc import Sequence

import numpy as np

RED, BLUE = (204, 51, 17), (0, 119, 187)
"""Weights above 0 and below it; told apart by the colour-blind, too."""


def is_picture(shape: Sequence[int], width: int) -> bool:
    """Whether rows of `width` values are images of this shape: grey, or with channels last."""
    has_sides = len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3, 4))
    return has_sides and math.prod(shape) == width and min(shape[:2]) > 1


def row_picture(row: np.ndarray, shape: Sequence[int]) -> str:
    """A row as the image it was, as a data URI; numbers that are not bytes fill the range."""
    values = np.asarray(row).reshape(shape)
    if values.dtype != np.uint8:
        values = values.astype(np.float64)
        low, high = float(values.min()), float(values.max())
        values = np.rint((values - low) * (255.0 / (high - low) if high > low else 0.0))
    return _data_uri(values.squeeze(axis=2) if shape[2:] == (1,) else values)


def limit_of(W: np.ndarray) -> float:
    """The size from which on weights have the full colour: few are larger."""
    return float(np.quantile(np.abs(W), 0.995))


def weight_picture(weights: np.ndarray, limit: float) -> str:
    """Weights (rows, columns) as a data URI: red above 0, blue below, clear at 0.

    So it shows on a light page and on a dark one. Channels are added up.
    """
    weights = weights if weights.ndim == 2 else weights.sum(axis=2)
    colours = np.where((weights > 0.0)[..., None], np.array(RED), np.array(BLUE))
    alpha = np.rint(np.minimum(np.abs(weights) / (limit or 1.0), 1.0) * 255.0)
    return _data_uri(np.concatenate([colours, alpha[..., None]], axis=-1))


def _data_uri(values: np.ndarray) -> str:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(values.astype(np.uint8)).save(file, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
