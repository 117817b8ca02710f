"""Images and arrays given to a trained network, made to look like its training data."""

import io
import logging
import math
import os
import warnings
from collections.abc import Sequence
from typing import BinaryIO

import numpy as np

from xpmlp.data.dataset import check_rows
from xpmlp.data.image_rules import BOXES, Images, backgrounds, invert_by_rule
from xpmlp.data.npy import held, map_npy
from xpmlp.data.opening import FilePath, opened, shown
from xpmlp.errors import InputError

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "PPM", "TIFF", "WEBP")
"""What Pillow may decode: an EPS file, for one, is a program, which it would have run."""

PIXELS_PER_BYTE = 1032
"""The most that a byte of a file can hold: pixels of one byte, at deflate's best."""

LARGEST_IMAGE = 1 << 29
"""Bytes of an image's file; 89 million pixels, Pillow's limit, have room with 6 bytes each."""

SHADING = 0.25
"""The share of the contrast between background and ink below which a pixel is paper."""

log = logging.getLogger(__name__)


def read_image(
    path: FilePath, image_shape: Sequence[int] = (28, 28), *, images: Images | None = None
) -> np.ndarray:
    """Read an image as uint8 pixels, light on dark as in MNIST.

    The image is turned as its EXIF data say, put on white where it is transparent, converted to
    grey, inverted if its background (the median of its border) is light, scaled to fit, and padded
    with the background. An image of the right shape is only converted to grey and inverted.

    `images` is the rule of a trained network: it can have all images inverted, or none, and have
    drawings centred as MNIST's are.

    Parameters
    ----------
    path : path or str
        The file: PNG, JPEG, BMP, GIF, PPM, TIFF or WebP.
    image_shape : (int, int), default (28, 28)
        Rows and columns of the result.
    images : Images, optional
        How the images of training became rows.

    Returns
    -------
    ndarray of shape (rows, columns), uint8
        The pixels.

    Raises
    ------
    InputError
        For a file that Pillow cannot decode or takes for a decompression bomb, for floating-point
        images, whose range is unknown, and if Pillow is not installed.

    Examples
    --------
    >>> from PIL import Image
    >>> from xpmlp.data import read_image
    >>> Image.new("L", (100, 100), 255).save("white.png")
    >>> read_image("white.png").max()  # the background becomes dark
    np.uint8(0)
    """
    name = shown(path)
    if len(image_shape) != 2:
        raise InputError(
            f"{name}: an image is read as (rows, columns), the network takes shape "
            f"{tuple(image_shape)}; give its rows as an .npy file"
        )
    rule, shape = images or Images(), (image_shape[0], image_shape[1])
    grey = invert_by_rule(read_grey(path).copy(), rule, where=name)
    if grey.shape == shape:
        return grey
    background = int(backgrounds(grey))
    if rule.drawings and shape == (28, 28):
        return _centre(grey, background, *BOXES[rule.drawings])
    if rule.light_share is not None:
        log.warning("%s: %d x %d pixels, scaled to %d x %d", name, *grey.shape, *shape)
    return _fit(grey, background, shape)


def read_grey(path: FilePath) -> np.ndarray:
    """The same image in its own size, (rows, columns) uint8, not inverted."""
    name = shown(path)
    from PIL import UnidentifiedImageError

    with opened(path) as file:
        try:
            return _decode(file, name)
        except InputError:
            raise
        except UnidentifiedImageError as error:
            raise InputError(
                f"{name}: not an image of the kinds {', '.join(FORMATS)}; convert it to PNG"
            ) from error
        except Exception as error:  # Pillow's decoders raise whatever their parsers stumble on.
            cause = (
                " ".join(str(error).split()).replace(repr(file), "").strip() or type(error).__name__
            )
            raise InputError(
                f"{name}: not an image that Pillow can read ({cause}); give a whole PNG file"
            ) from error


def _decode(file: BinaryIO, name: str) -> np.ndarray:
    """The image in the file, (rows, columns) uint8, on white and the right way up."""
    from PIL import Image, ImageOps  # Here, because `import xpmlp.data` must not load Pillow.

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        # From memory, where reading as much as a header asks for takes no more than there is.
        if (size := os.fstat(file.fileno()).st_size) > LARGEST_IMAGE:
            raise InputError(
                f"{name}: {size:,} bytes, more than {LARGEST_IMAGE:,} bytes; give a smaller image"
            )
        image: Image.Image = Image.open(io.BytesIO(file.read(size)), formats=FORMATS)
        if image.width * image.height > PIXELS_PER_BYTE * size:
            raise InputError(
                f"{name}: {image.width:,} x {image.height:,} pixels in {size:,} bytes, at most "
                f"{PIXELS_PER_BYTE:,} a byte are possible; give a whole PNG file"
            )
        image = ImageOps.exif_transpose(image)
        if image.mode == "F":
            raise InputError(f"{name}: a floating-point image; save it with 8 or 16 bits")
        if image.mode.startswith("I"):  # "I;16" and its kin; "I" is how Pillow reads 16-bit PGM.
            wide = np.asarray(image).astype(np.int64)
            if wide.min() < 0 or wide.max() > 65535:
                raise InputError(
                    f"{name}: greys from {wide.min():,} to {wide.max():,}, expected 0 to 65,535; "
                    "save it with 8 or 16 bits"
                )
            return ((wide + 128) // 257).astype(np.uint8)  # 65535 = 257 * 255
        if image.has_transparency_data:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        return np.asarray(image.convert("L"))


def _fit(grey: np.ndarray, background: int, shape: tuple[int, int]) -> np.ndarray:
    """Scale to fit into `shape`, keeping the aspect, and centre on the background."""
    if grey.shape == shape:
        return grey.copy()
    from PIL import Image

    # Scaled first and padded then: padding first would square the long side of a thin image.
    scale = min(shape[0] / grey.shape[0], shape[1] / grey.shape[1])
    height, width = (max(1, math.floor(side * scale + 0.5)) for side in grey.shape)
    # Hamming averages what a pixel covers: it rings less than Lanczos and blurs less than bilinear.
    scaled = Image.fromarray(grey).resize((width, height), Image.Resampling.HAMMING)
    fitted = np.full(shape, background, np.uint8)
    top, left = (shape[0] - height) // 2, (shape[1] - width) // 2
    fitted[top : top + height, left : left + width] = np.asarray(scaled)
    return fitted


def _centre(grey: np.ndarray, background: int, side: int, by_mass: bool) -> np.ndarray:
    """Scale the ink into a square, and centre that or its centre of mass in 28 x 28 pixels."""
    contrast = max(1, int(grey.max()) - background)
    ink = np.clip((grey.astype(float) - background) / contrast - SHADING, 0.0, None)
    rows, columns = (np.flatnonzero((ink > SHADING).any(axis=axis)) for axis in (1, 0))
    if not rows.size:
        return np.zeros((28, 28), np.uint8)
    ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] * 255 / (1 - SHADING)
    box = _fit(ink.round().astype(np.uint8), 0, (side, side))
    top = left = (28 - side) // 2
    if by_mass:
        mass, places = max(1, int(box.sum())), np.arange(side)
        middle = [box.sum(axis=axis) @ places / mass for axis in (1, 0)]
        top, left = (min(max(0, math.floor(14.5 - one)), 28 - side) for one in middle)
    centred = np.zeros((28, 28), np.uint8)
    centred[top : top + side, left : left + side] = box
    return centred


def read_rows(path: FilePath) -> np.ndarray:
    """Read the rows in an `.npy` file.

    Parameters
    ----------
    path : path or str
        The file: rows (n, l0), one row (l0,), or images (n, h, w).

    Returns
    -------
    ndarray of shape (n, l0)
        The rows.

    Raises
    ------
    InputError
        For other files, pickled objects, a header that promises more than the file holds, and rows
        that `check_rows` does not accept.

    Examples
    --------
    >>> from xpmlp.data import read_rows
    >>> np.save("rows.npy", np.zeros((2, 4, 4)))
    >>> read_rows("rows.npy").shape
    (2, 16)
    """
    rows = held(map_npy(path))
    return check_rows(rows[None] if rows.ndim == 1 else rows, where=shown(path))
