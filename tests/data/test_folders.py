"""Images in folders of classes: numbered, and of one size."""

import functools
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.data import refusing
from tests.data.refusing import png
from xpmlp.data import Dataset, Images, load_data, load_mnist, read_image

DIGITS = load_mnist().test
PICTURES = DIGITS.X[:40].reshape(40, 28, 28)


def load(path: Path) -> Dataset:
    return load_data(str(path))


refusal = functools.partial(refusing.refusal, load)


def save(path: Path, picture: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Twenty cats and twenty dogs, light on dark."""
    for number, picture in enumerate(PICTURES):
        folder = "dog" if number % 2 else "cat"
        save(tmp_path / "pets" / folder / f"{number:02}.png", picture)
    return tmp_path / "pets"


@pytest.fixture
def split(tmp_path: Path) -> Path:
    for number, picture in enumerate(PICTURES):
        label = DIGITS.labels[number]
        save(tmp_path / "ink" / "train" / str(label) / f"{number:02}.png", picture)
        save(tmp_path / "ink" / "test" / str(label) / f"{number:02}.bmp", picture)
    return tmp_path / "ink"


def test_a_tenth_of_each_class_is_held_out(root: Path) -> None:
    found = load(root)
    assert (found.name, found.image_shape, found.where) == ("pets", (28, 28), str(root))
    assert found.train.X.shape == (36, 784)
    assert found.train.X.dtype == np.uint8
    assert np.bincount(found.train.labels).tolist() == [18, 18]
    assert np.bincount(found.test.labels).tolist() == [2, 2]
    known = {picture.tobytes(): number % 2 for number, picture in enumerate(PICTURES)}
    for part in (found.train, found.test):
        for X, label in zip(part.X, part.labels, strict=True):
            assert known[X.tobytes()] == label
    assert load(root).digest == found.digest


def test_image_trained_on_is_the_image_predict_sees(root: Path) -> None:
    file = root / "cat" / "00.png"
    seen = read_image(file).tobytes()
    found = load(root)
    assert any(X.tobytes() == seen for part in (found.train, found.test) for X in part.X)


@pytest.mark.parametrize(
    ("light", "inverts", "says"),
    [
        (0, False, ""),
        (3, False, "3 of 40 images have a light background; no image is inverted"),
        (20, False, "20 of 40 images have a light background; no image is inverted"),
        (21, True, "21 of 40 images have a light background; all images are inverted"),
        (39, True, "39 of 40 images have a light background; all images are inverted"),
        (40, True, "40 of 40 images have a light background; all images are inverted"),
    ],
)
def test_one_rule_inverts_all_images_or_none(
    split: Path, light: int, inverts: bool, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    for file in sorted((split / "train").glob("*/*"))[:light]:
        save(file, 255 - np.asarray(Image.open(file)))
    found = load(split)
    stored = {
        part: np.stack([np.asarray(Image.open(one)) for one in sorted((split / part).glob("*/*"))])
        for part in ("train", "test")
    }
    # Digits on one background are drawings: each later image may have either.
    is_fixed = 0 < light < 40
    for part, X in stored.items():
        seen = getattr(found, part).X.reshape(40, 28, 28)
        is_inverted = inverts and (is_fixed or part == "train")
        np.testing.assert_array_equal(seen, 255 - X if is_inverted else X)
    assert says in caplog.text if says else not caplog.records
    assert found.schema.images.light_share == light / 40
    # The rule of training, not that of the images at hand, is applied later.
    later = load_data(str(split / "test"), images=found.schema.images, holds_out=False)
    np.testing.assert_array_equal(
        later.test.X.reshape(40, 28, 28),
        255 - stored["test"] if inverts and is_fixed else stored["test"],
    )
    assert ("a dark background, in training it was light" in caplog.text) == (light == 39)


def test_each_image_is_inverted_for_a_network_without_a_rule(split: Path) -> None:
    for file in sorted((split / "train").glob("*/*"))[::3]:
        save(file, 255 - np.asarray(Image.open(file)))
    found = load_data(str(split), images=Images())
    np.testing.assert_array_equal(found.train.X, found.test.X)


def test_train_and_test_have_folders_of_their_own(split: Path) -> None:
    found = load(split)
    order = np.argsort(DIGITS.labels[:40], kind="stable")
    for part in (found.train, found.test):
        np.testing.assert_array_equal(part.labels, DIGITS.labels[:40][order])
        np.testing.assert_array_equal(part.X.reshape(40, 28, 28), PICTURES[order])


def test_folders_that_are_numbers_are_the_numbers(tmp_path: Path) -> None:
    for number in (2, 10, 3):
        for copy in range(4):
            save(tmp_path / str(number) / f"{copy}.png", PICTURES[0])
    found = load(tmp_path)
    assert set(found.train.labels.tolist()) == {2, 3, 10}
    save(tmp_path / "03" / "0.png", PICTURES[0])
    assert "two folders are one number" in refusal(tmp_path)


def test_another_size_is_refused_with_its_path(root: Path, split: Path) -> None:
    odd = save(root / "dog" / "odd.png", PICTURES[0][:27])
    message = refusal(root)
    assert message.startswith(f"{odd}: 27 x 28 pixels, the others have 28 x 28;")
    odd = save(split / "test" / "3" / "odd.png", PICTURES[0][:, :20])
    assert refusal(split).startswith(f"{odd}: 28 x 20 pixels")


def test_files_that_do_not_belong_there(root: Path) -> None:
    (root / ".DS_Store").write_bytes(b"hidden files are passed over")
    (root / "cat" / ".hidden.png").write_bytes(b"")
    load(root)
    (root / "cat" / "notes.txt").write_text("nine lives")
    assert "notes.txt: not an image (.png, " in refusal(root)
    (root / "cat" / "notes.txt").unlink()
    (root / "README").write_text("pets")
    assert "README: a file beside the folders of classes" in refusal(root)
    (root / "README").unlink()
    broken = root / "cat" / "00.png"
    broken.write_bytes(broken.read_bytes()[:100])
    assert f"{broken}: not an image" in refusal(root)


def test_classes_that_differ(split: Path) -> None:
    save(split / "test" / "ten" / "a.png", PICTURES[0])
    assert "test/ten: a class that" in refusal(split)
    (split / "test").rename(split.parent / "elsewhere")
    assert "only train of the folders train and test" in refusal(split)


def test_links_are_followed(root: Path, tmp_path: Path) -> None:
    outside = save(tmp_path / "elsewhere" / "a.png", PICTURES[0])
    (root / "cat" / "link.png").symlink_to(outside)
    (root / "bird").symlink_to(outside.parent)
    assert len(load(root).train.labels) == 38
    (root / "cat" / "loop.png").symlink_to(root / "cat" / "loop.png")
    assert refusal(root).startswith(f"{root / 'cat' / 'loop.png'}: ")


def test_decompression_bombs(root: Path) -> None:
    (root / "cat" / "bomb.png").write_bytes(png(10_000, 10_000))
    message = refusal(root)
    assert "bomb.png" in message
    assert "decompression bomb" in message


def test_more_pictures_than_memory(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xpmlp.data.folders.host_memory", lambda: 1000)
    assert "are 31,360 bytes, half of this machine's memory is 500" in refusal(root)
