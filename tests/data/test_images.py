"""Images and arrays for `predict`: whatever they look like, digits come out as MNIST's."""

import io
import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.data.refusing import cut_or_flipped, examples, outcome, png, refusal
from xpmlp.data import Images, load_mnist, read_image, read_rows
from xpmlp.data.image_rules import are_centred


@pytest.fixture(scope="module")
def digits() -> np.ndarray:
    return load_mnist().test.X[:20].reshape(20, 28, 28)


@pytest.fixture(scope="module")
def digit(digits: np.ndarray) -> np.ndarray:
    return digits[0]


def saved(path: Path, image: Image.Image | np.ndarray, **options: Any) -> Path:
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(path, **options)
    return path


def error(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(float) - b.astype(float)).mean())


def test_right_shape_is_kept_bit_for_bit(tmp_path: Path, digits: np.ndarray) -> None:
    for digit in digits:
        light = read_image(saved(tmp_path / "light.png", digit))
        dark = read_image(saved(tmp_path / "dark.png", 255 - digit))
        assert light.dtype == np.uint8
        assert light.flags.writeable
        np.testing.assert_array_equal(light, digit)
        np.testing.assert_array_equal(dark, digit)


def test_five_times_as_large_and_dark_on_light(tmp_path: Path, digits: np.ndarray) -> None:
    for digit in digits:
        large = saved(tmp_path / "a.png", np.kron(255 - digit, np.ones((5, 5), np.uint8)))
        assert error(read_image(large), digit) < 4
        smooth = Image.fromarray(255 - digit).resize((140, 140), Image.Resampling.BICUBIC)
        assert error(read_image(saved(tmp_path / "a.png", smooth)), digit) < 7


@pytest.mark.parametrize("size", [(1, 1), (7, 3), (29, 27), (28, 40), (500, 300), (1, 5000)])
@pytest.mark.parametrize("shape", [(28, 28), (16, 24)])
def test_any_size(tmp_path: Path, size: tuple[int, int], shape: tuple[int, int]) -> None:
    picture = np.full(size, 250, np.uint8)
    picture[size[0] // 4 : size[0] // 2 + 1, size[1] // 4 : size[1] // 2 + 1] = 0
    image = read_image(saved(tmp_path / "a.png", picture), shape)
    assert image.shape == shape
    assert image.dtype == np.uint8


def test_aspect_is_kept_and_the_rest_is_background(tmp_path: Path) -> None:
    bar = np.full((100, 50), 200, np.uint8)
    bar[20:80, 10:40] = 10
    image = read_image(saved(tmp_path / "a.png", bar))
    assert (image[:, :7] == 55).all()
    assert (image[:, 21:] == 55).all()
    np.testing.assert_allclose(image[8:20, 11:17], 245, atol=3)


def drawn(digit: np.ndarray, kind: str) -> np.ndarray:
    """A digit of another size, drawn or photographed on paper."""
    random = np.random.default_rng(0)
    large = np.asarray(Image.fromarray(digit).resize((280, 280), Image.Resampling.BICUBIC))
    if kind == "tight":
        rows, columns = (np.flatnonzero((large > 60).any(axis=axis)) for axis in (1, 0))
        return np.pad(large[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], 8)
    canvas = np.zeros((480, 640), np.uint8)
    canvas[30:310, 340:620] = large
    if kind == "corner":
        return canvas
    ink = canvas / 255.0
    paper = np.linspace(150, 215, 640) + np.linspace(-10, 10, 480)[:, None]
    noise = random.normal(0, 6, canvas.shape)
    return np.clip(paper * (1 - ink) + 45 * ink + noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("kind", ["tight", "corner", "photo"])
@pytest.mark.parametrize("is_negative", [False, True])
def test_drawings_are_centred_as_mnist_is(
    tmp_path: Path, digits: np.ndarray, kind: str, is_negative: bool
) -> None:
    likeness = []
    for digit in digits:
        image = drawn(digit, kind)
        path = saved(tmp_path / "a.png", 255 - image if is_negative else image)
        found = read_image(path, images=Images(drawings="mnist"))
        assert are_centred(found[None])
        sides = [np.ptp(np.flatnonzero((found > 40).any(axis=axis))) + 1 for axis in (0, 1)]
        assert 19 <= max(sides) <= 21
        likeness.append(np.corrcoef(found.ravel(), digit.ravel())[0, 1])
    assert np.median(likeness) > 0.9


def test_drawings_fill_the_square_of_emnist(tmp_path: Path, digits: np.ndarray) -> None:
    for digit in digits:
        path = saved(tmp_path / "a.png", drawn(digit, "corner"))
        found = read_image(path, images=Images(drawings="emnist"))
        lit = [np.flatnonzero((found > 40).any(axis=axis)) for axis in (0, 1)]
        assert 23 <= max(np.ptp(one) + 1 for one in lit) <= 24
        assert all(abs(one[0] + one[-1] - 27) <= 1 for one in lit)


@pytest.mark.parametrize("drawings", ["", "mnist", "emnist"])
def test_drawings_of_the_right_size_and_blank_ones(
    tmp_path: Path, digit: np.ndarray, drawings: str
) -> None:
    rule = Images(drawings=drawings)
    path = saved(tmp_path / "a.png", np.roll(digit, 3, axis=0))
    np.testing.assert_array_equal(read_image(path, images=rule), np.roll(digit, 3, axis=0))
    path = saved(tmp_path / "b.png", np.full((50, 40), 255, np.uint8))
    assert not read_image(path, images=rule).any()
    specks = np.zeros((3000, 3000), np.uint8)
    specks[[1, -2], [1, -2]] = 255
    assert read_image(saved(tmp_path / "b.png", specks), images=rule).max() < 30
    assert read_image(saved(path, drawn(digit, "tight")), (16, 16), images=rule).shape == (16, 16)


@pytest.mark.parametrize(
    ("rule", "inverts_light", "inverts_dark", "warns"),
    [
        (Images(), True, False, ""),
        (Images(light_share=0.0), False, False, "a light background, in training it was dark"),
        (Images(light_share=0.3), False, False, ""),
        (Images(light_share=0.7), True, True, ""),
        (Images(light_share=1.0), True, True, "a dark background, in training it was light"),
        (Images(light_share=0.0, drawings="mnist"), True, False, ""),
        (Images(light_share=1.0, drawings="mnist"), True, False, ""),
    ],
)
def test_rule_decides_what_is_inverted(
    tmp_path: Path,
    digit: np.ndarray,
    rule: Images,
    inverts_light: bool,
    inverts_dark: bool,
    warns: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for image, inverts in ((255 - digit, inverts_light), (digit, inverts_dark)):
        found = read_image(saved(tmp_path / "a.png", image), images=rule)
        np.testing.assert_array_equal(found, 255 - image if inverts else image)
    assert [one.getMessage() for one in caplog.records] == (
        [f"{tmp_path / 'a.png'}: {warns}; invert images that are negatives"] if warns else []
    )


def test_scaling_for_a_network_of_folders_is_said(
    tmp_path: Path, digit: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    path = saved(tmp_path / "a.png", np.pad(digit, 6))
    read_image(path, images=Images(light_share=0.2))
    assert caplog.messages == [f"{path}: 40 x 40 pixels, scaled to 28 x 28"]


@pytest.mark.parametrize(
    "stored", [{"drawings": "cifar"}, {"light_share": 2.0}, {"light_share": float("nan")}]
)
def test_rule_that_does_not_exist_is_refused(stored: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(stored))}="):
        Images(**stored)


def test_transparency_lies_on_white(tmp_path: Path, digit: np.ndarray) -> None:
    ink = np.zeros((28, 28, 4), np.uint8)
    ink[..., 3] = digit  # Black ink, transparent elsewhere.
    np.testing.assert_allclose(read_image(saved(tmp_path / "a.png", ink)), digit, atol=1)
    grey = Image.fromarray(ink).convert("LA")
    np.testing.assert_allclose(read_image(saved(tmp_path / "b.png", grey)), digit, atol=1)


def test_palettes(tmp_path: Path, digit: np.ndarray) -> None:
    palette = Image.fromarray(255 - digit).convert("P")
    np.testing.assert_array_equal(read_image(saved(tmp_path / "a.png", palette)), digit)
    np.testing.assert_array_equal(read_image(saved(tmp_path / "a.gif", palette)), digit)
    # Entry 255, the background, is transparent, in both spellings that PNG has.
    for transparency in (255, bytes([255] * 255 + [0])):
        path = saved(tmp_path / "b.png", palette, transparency=transparency)
        np.testing.assert_array_equal(read_image(path), digit)


def test_colours_and_two_levels(tmp_path: Path, digit: np.ndarray) -> None:
    colour = Image.fromarray(255 - digit).convert("RGB")
    np.testing.assert_array_equal(read_image(saved(tmp_path / "a.bmp", colour)), digit)
    levels = np.where(digit > 127, 255, 0).astype(np.uint8)
    path = saved(tmp_path / "b.png", Image.fromarray(levels).convert("1"))
    np.testing.assert_array_equal(read_image(path), levels)
    assert error(read_image(saved(tmp_path / "c.jpg", colour, quality=95)), digit) < 3
    path = saved(tmp_path / "d.jpg", colour.convert("CMYK"), quality=95)
    assert error(read_image(path), digit) < 3


def test_sixteen_bits(tmp_path: Path, digit: np.ndarray) -> None:
    wide = digit.astype(np.uint16) * 257
    for name in ("a.png", "a.tif", "a.pgm"):
        np.testing.assert_array_equal(read_image(saved(tmp_path / name, wide)), digit)
        np.testing.assert_array_equal(read_image(saved(tmp_path / name, 65535 - wide)), digit)
    big = Image.frombytes("I;16B", (28, 28), wide.astype(">u2").tobytes())
    np.testing.assert_array_equal(read_image(saved(tmp_path / "b.tif", big)), digit)


def test_thirty_two_bits(tmp_path: Path, digit: np.ndarray) -> None:
    path = saved(tmp_path / "a.tif", digit.astype(np.int32) * 10**6)
    assert "greys from 0 to 255,000,000, expected 0 to 65,535" in refusal(read_image, path)
    path = saved(tmp_path / "b.tif", digit.astype(np.float32))
    assert "floating-point" in refusal(read_image, path)


def test_orientation(tmp_path: Path, digit: np.ndarray) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # To be turned by 90 degrees clockwise.
    path = saved(tmp_path / "a.png", np.rot90(digit), exif=exif)
    np.testing.assert_array_equal(read_image(path), digit)


@pytest.mark.parametrize("side", [10_000, 100_000])
def test_decompression_bombs(tmp_path: Path, side: int) -> None:
    """The first is a warning of Pillow's, the second an error; warnings being errors or not."""
    (tmp_path / "a.png").write_bytes(png(side, side))
    assert "decompression bomb" in refusal(read_image, tmp_path / "a.png")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert "decompression bomb" in refusal(read_image, tmp_path / "a.png")


def test_file_that_is_no_image_is_refused(tmp_path: Path, digit: np.ndarray) -> None:
    path = tmp_path / "a.png"
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 28 28\n%%EndComments\n"  # a program
    for content in (b"", b"hello\n", png(0, 0), png(28, 28), eps):
        path.write_bytes(content)
        assert "not an image" in refusal(read_image, path)
    assert "No such file" in refusal(read_image, tmp_path / "none.png")
    assert "not a regular file" in refusal(read_image, tmp_path)
    path = saved(path, digit)
    assert "(32, 32, 3)" in refusal(read_image, path, (32, 32, 3))


@examples(100)
@given(data=st.data(), kind=st.sampled_from(["png", "gif", "jpeg", "bmp", "tiff", "webp"]))
def test_any_cut_or_flip_of_a_picture(tmp_path, digit, data, kind: str) -> None:
    buffer = io.BytesIO()
    Image.fromarray(digit).save(buffer, kind)
    path = tmp_path / "a"
    path.write_bytes(cut_or_flipped(data, buffer.getvalue()))
    image = outcome(read_image, path)
    assert isinstance(image, str) or image.shape == (28, 28)


@pytest.mark.parametrize("shape", [(3, 784), (784,), (3, 28, 28)])
@pytest.mark.parametrize("dtype", ["u1", "<f4", ">f4", ">i8"])
def test_rows(tmp_path: Path, shape: tuple[int, ...], dtype: str) -> None:
    array = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    np.save(tmp_path / "a.npy", array)
    rows = read_rows(tmp_path / "a.npy")
    np.testing.assert_array_equal(rows, array.reshape(-1, 784))
    assert rows.dtype.isnative
    assert type(rows) is np.ndarray
    fortran = np.asfortranarray(array)
    np.save(tmp_path / "a.npy", fortran)
    np.testing.assert_array_equal(read_rows(tmp_path / "a.npy"), array.reshape(-1, 784))


def npy(header: str) -> bytes:
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "not a whole .npy file"),
        (b"PK\x03\x04 an npz", "magic string is not correct"),
        (b"\x93NUMPY", "not a whole .npy file"),
        (npy("{'descr': '<f8', 'fortran_order': False, 'shape': (10000000000, 784)}\n"), "whole"),
        (npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1" + "0" * 40 + ", 7)}\n"), "who"),
        (npy("{'descr': '<f8', 'fortran_order': False, 'shape': (-1, 784)}\n") + bytes(64), ""),
        (npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}\n") + bytes(8), "whole"),
        (npy("(" * 500), "whole"),
    ],
)
def test_file_that_is_no_npy_is_refused(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "a.npy").write_bytes(content)
    assert says in refusal(read_rows, tmp_path / "a.npy")


def test_rows_that_no_network_takes(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.array([[1.0, np.nan]]))
    assert "NaN or infinite" in refusal(read_rows, path)
    np.save(path, np.array([["a", "b"]]))
    assert "elements of type <U1" in refusal(read_rows, path)
    np.save(path, np.float64(3))
    assert "shape ()" in refusal(read_rows, path)
    assert "No such file" in refusal(read_rows, tmp_path / "none.npy")


@examples(100)
@given(data=st.data())
def test_any_cut_or_flip_of_npy(tmp_path: Path, data: st.DataObject) -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.arange(12, dtype=np.int32).reshape(3, 4))
    path = tmp_path / "a.npy"
    path.write_bytes(cut_or_flipped(data, buffer.getvalue()))
    rows = outcome(read_rows, path)
    assert isinstance(rows, str) or rows.ndim == 2


def test_a_file_that_is_larger_than_an_image(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("xpmlp.data.images.LARGEST_IMAGE", 1000)
    (tmp_path / "a.png").write_bytes(png(28, 28) + bytes(1000))
    assert "more than 1,000 bytes" in refusal(read_image, tmp_path / "a.png")
