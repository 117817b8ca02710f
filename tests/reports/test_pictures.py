"""Rows and weights as images that a page carries in itself."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from xpmlp.reports.pictures import BLUE, RED, is_picture, row_picture, weight_picture


def decoded(source: str) -> np.ndarray:
    kind, _, text = source.partition(",")
    assert kind == "data:image/png;base64"
    with Image.open(io.BytesIO(base64.b64decode(text))) as picture:
        return np.asarray(picture)


def test_bytes_are_shown_as_they_are() -> None:
    row = np.arange(0, 240, 40, dtype=np.uint8)
    np.testing.assert_array_equal(decoded(row_picture(row, (2, 3))), row.reshape(2, 3))
    np.testing.assert_array_equal(decoded(row_picture(row, (2, 3, 1))), row.reshape(2, 3))
    colours = np.arange(12, dtype=np.uint8)
    np.testing.assert_array_equal(
        decoded(row_picture(colours, (2, 2, 3))), colours.reshape(2, 2, 3)
    )


def test_numbers_fill_the_range() -> None:
    shown = decoded(row_picture(np.array([-1.0, 0.0, 1.0, 0.5]), (2, 2)))
    assert shown.tolist() == [[0, 128], [255, 191]]
    assert decoded(row_picture(np.full(4, 7.0), (2, 2))).tolist() == [[0, 0], [0, 0]]


def test_weights_are_red_above_0_blue_below_and_clear_at_0() -> None:
    shown = decoded(weight_picture(np.array([[0.5, -1.0], [0.0, 9.0]]), 1.0))
    assert tuple(shown[0, 0]) == (*RED, 128)
    assert tuple(shown[0, 1]) == (*BLUE, 255)
    assert shown[1, 0, 3] == 0
    assert tuple(shown[1, 1]) == (*RED, 255)  # beyond the limit


@pytest.mark.parametrize(
    ("shape", "width", "expected"),
    [
        ((28, 28), 784, True),
        ((8, 8, 3), 192, True),
        ((8, 8, 2), 128, False),
        ((5,), 5, False),
        ((), 5, False),
        ((28, 28), 100, False),
        ((1, 784), 784, False),
    ],
)
def test_images_are_told_from_rows(shape: tuple[int, ...], width: int, expected: bool) -> None:
    assert is_picture(shape, width) is expected
