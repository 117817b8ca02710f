"""Data sets: checks of rows and labels, directories in MNIST's format, the order of an epoch."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.data.refusing import refusal_of as refusal
from xpmlp.data import (
    Images,
    check_rows,
    check_split,
    dataset,
    dataset_of,
    load_data,
    load_idx_directory,
    load_mnist,
    mapped,
    order,
    write_idx,
)

IMAGES = np.arange(5 * 4 * 3, dtype=np.uint8).reshape(5, 4, 3)
LABELS = np.array([0, 1, 2, 1, 0], np.uint8)


def test_a_split_is_flat_and_its_labels_int64() -> None:
    X, labels = check_split(IMAGES, LABELS, where="here", layer_sizes=(12, 3))
    assert X.shape == (5, 12)
    assert X.dtype == np.uint8
    np.testing.assert_array_equal(X[1], IMAGES[1].ravel())
    assert labels.dtype == np.int64
    assert np.shares_memory(X, IMAGES)


@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "i4", "f4", "f8"])
def test_element_types_are_kept(dtype: str) -> None:
    assert check_rows(IMAGES.astype(dtype), where="here").dtype == dtype


@pytest.mark.parametrize(
    ("X", "says"),
    [
        (IMAGES.astype(complex), "elements of type complex128"),
        (IMAGES.astype(object), "elements of type object"),
        (IMAGES > 3, "elements of type bool"),
        (IMAGES[:0], "shape (0, 4, 3)"),
        (IMAGES[:, :0], "shape (5, 0, 3)"),
        (IMAGES[0, 0], "shape (3,)"),
        (
            np.array([[0, 1], [np.nan, 0], [-np.inf, 0]]),
            "2 of 6 values are NaN or infinite, the first in row 1;",
        ),
    ],
)
def test_rows_no_network_takes(X: np.ndarray, says: str) -> None:
    message = refusal(check_rows, X, where="here")
    assert message.startswith("here: ")
    assert says in message


def test_rows_this_network_does_not_take() -> None:
    X = np.zeros((3, 32, 32), np.uint8)
    assert refusal(check_rows, X, where="a.npy", layer_sizes=(784, 64, 10)) == (
        "a.npy: images are 32 x 32 = 1,024 values, the network takes 784: "
        "train xpmlp.MLP((1024,64,10)) or give other data"
    )
    flat = X.reshape(3, -1)
    assert "rows are 1,024 values, the" in refusal(check_rows, flat, where="a", layer_sizes=(9, 2))


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (LABELS[:4], "5 rows and 4 labels"),
        (LABELS.astype(float), "labels of type float64"),
        (LABELS > 0, "labels of type bool"),
        (LABELS[:, None], "shape (5, 1)"),
        (np.array([0, 1, -3, -4, 0]), "label -3 in row 2, labels start at 0;"),
        (
            np.array([0, 1, 2, 46, 9]),
            "label 46 in row 3, the largest that fits is 2; train xpmlp.MLP((12,8,47))",
        ),
        (np.array([0, 0, 0, 0, 2**64 - 1], np.uint64), "label 18446744073709551615 in row 4"),
    ],
)
def test_labels_that_do_not_fit(labels: np.ndarray, says: str) -> None:
    assert says in refusal(check_split, IMAGES, labels, where="here", layer_sizes=(12, 8, 3))


@pytest.mark.parametrize("output", ["identity", "exp"])
def test_numbers_may_be_a_vector(output: str) -> None:
    _, targets = check_split(IMAGES, LABELS, where="here", layer_sizes=(12, 1), output=output)
    np.testing.assert_array_equal(targets, LABELS[:, None].astype(float))


@pytest.mark.parametrize("number", [-0.5, np.nan, np.inf])
def test_numbers_that_are_no_counts(number: float) -> None:
    Y = np.array([0.0, 1.5, number, 2.0, -3.0])
    message = refusal(check_split, IMAGES, Y, where="a", layer_sizes=(12, 1), output="exp")
    assert f"targets {number:g} in row 2, expected finite numbers of 0 or more" in message


def test_labels_that_int64_cannot_hold() -> None:
    labels = np.array([0, 0, 0, 2**63, 0], np.uint64)
    assert "label 9223372036854775808 in row 3" in refusal(
        check_split, IMAGES, labels, where="here"
    )


def test_dataset_for_a_network() -> None:
    dataset = dataset_of("toy", train=(IMAGES, LABELS), test=(IMAGES[:2], LABELS[:2]))
    assert dataset.image_shape == (4, 3)
    checked = dataset.for_network((12, 7, 3))
    np.testing.assert_array_equal(checked.train.X, dataset.train.X)
    assert "toy (train): images are 4 x 3 = 12 values, the network takes 13" in refusal(
        dataset.for_network, (13, 3)
    )
    assert "toy (train): label 2 in row 2, the largest that fits is 1;" in refusal(
        dataset.for_network, (12, 2)
    )


def test_train_and_test_agree() -> None:
    message = refusal(dataset_of, "toy", train=(IMAGES, LABELS), test=(IMAGES[:, :2], LABELS))
    assert "images of shape (4, 3) to train and (2, 3) to test" in message
    message = refusal(dataset_of, "toy", train=(IMAGES, LABELS), test=(IMAGES, LABELS[:1]))
    assert message.startswith("toy (test): 5 rows and 1 labels")


def write(
    directory: Path, prefix: str = "", test: str = "t10k", dot: str = "-", gz: str = ""
) -> None:
    for part, rows in (("train", 5), (test, 2)):
        write_idx(directory / f"{prefix}{part}-images{dot}idx3-ubyte{gz}", IMAGES[:rows])
        write_idx(directory / f"{prefix}{part}-labels{dot}idx1-ubyte{gz}", LABELS[:rows])


@pytest.mark.parametrize("gz", ["", ".gz"])
@pytest.mark.parametrize("dot", ["-", "."])
@pytest.mark.parametrize("test", ["t10k", "test"])
@pytest.mark.parametrize("prefix", ["", "kmnist-"])
def test_names_of_files(tmp_path: Path, prefix: str, test: str, dot: str, gz: str) -> None:
    write(tmp_path, prefix, test, dot, gz)
    (tmp_path / "README.md").write_text("not data")
    (tmp_path / "train-images-idx3-ubyte-old").mkdir()
    dataset = load_idx_directory(tmp_path)
    assert dataset.name == ("kmnist" if prefix else tmp_path.name)
    assert dataset.image_shape == (4, 3)
    np.testing.assert_array_equal(dataset.train.X, IMAGES.reshape(5, 12))
    np.testing.assert_array_equal(dataset.test.labels, LABELS[:2])
    assert load_idx_directory(str(tmp_path), "mine").name == "mine"


@pytest.mark.parametrize("prefix", ["emnist-letters-", "EMNIST-digits-", "my.emnist_"])
def test_emnist_is_set_upright(
    tmp_path: Path, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, prefix)
    for found in (load_idx_directory(tmp_path), load_data(str(tmp_path))):
        assert found.image_shape == (3, 4)
        for part, count in ((found.train, 5), (found.test, 2)):
            upright = IMAGES[:count].transpose(0, 2, 1)
            np.testing.assert_array_equal(part.X.reshape(count, 3, 4), upright)
    assert caplog.text.count("EMNIST's files store images transposed; they are set upright") == 2
    as_stored = load_data(str(tmp_path), images=Images(sets_emnist_upright=False))
    assert as_stored.digest == load_idx_directory(tmp_path, upright=False).digest
    np.testing.assert_array_equal(as_stored.train.X, IMAGES.reshape(5, 12))
    assert len(caplog.records) == 2


@pytest.mark.parametrize(
    ("change", "drawings"),
    [
        (lambda X: X, "mnist"),
        (lambda X: X / np.float32(255), "mnist"),
        (lambda X: np.roll(X, 2, axis=1), ""),
        (lambda X: 255 - X, ""),
        (lambda X: np.zeros_like(X), ""),
        (lambda X: X[:, 1:-1, 1:-1], ""),
        (lambda X: X.reshape(len(X), -1), ""),
    ],
)
def test_centred_digits_are_found(change: Callable[..., np.ndarray], drawings: str) -> None:
    X, labels = load_mnist().test
    pair = change(X[:500].reshape(-1, 28, 28)), labels[:500]
    assert dataset_of("digits", train=pair, test=pair).schema.images.drawings == drawings


def test_kaggle_has_directories_of_the_same_names(tmp_path: Path) -> None:
    write(tmp_path, dot=".")
    (tmp_path / "train-images-idx3-ubyte").mkdir()
    assert len(load_idx_directory(tmp_path).train.X) == 5


def test_a_plain_file_goes_before_its_gzip(tmp_path: Path) -> None:
    write(tmp_path)
    for part in ("train", "t10k"):
        (tmp_path / f"{part}-images-idx3-ubyte.gz").write_bytes(b"broken")
    assert len(load_idx_directory(tmp_path).train.X) == 5


def test_missing_files_are_named(tmp_path: Path) -> None:
    assert re.search(
        "none: No such file or directory; give", refusal(load_idx_directory, tmp_path / "none")
    )
    assert "a\\x00b" in refusal(load_idx_directory, "a\0b")
    assert "no file train-images-idx3-ubyte or" in refusal(load_idx_directory, tmp_path)
    write(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    message = refusal(load_idx_directory, tmp_path)
    assert message.startswith(f"{tmp_path}: no file t10k-labels-idx1-ubyte or t10k-labels-idx1-ub")
    assert "Not a directory" in refusal(load_idx_directory, tmp_path / "t10k-images-idx3-ubyte")


def test_ambiguous_files_are_named(tmp_path: Path) -> None:
    write(tmp_path, "emnist-mnist-")
    write(tmp_path, "emnist-letters-")
    message = refusal(load_idx_directory, tmp_path)
    assert "2 data sets in one directory ('emnist-letters-', 'emnist-mnist-'); move" in message


def test_halves_of_two_data_sets_are_ambiguous(tmp_path: Path) -> None:
    write(tmp_path, "a-")
    for kind in ("images-idx3", "labels-idx1"):
        (tmp_path / f"a-t10k-{kind}-ubyte").rename(tmp_path / f"b-t10k-{kind}-ubyte")
    assert "2 data sets in one directory ('a-', 'b-')" in refusal(load_idx_directory, tmp_path)


def test_two_spellings_are_ambiguous(tmp_path: Path) -> None:
    write(tmp_path)
    write(tmp_path, test="test")
    message = refusal(load_idx_directory, tmp_path)
    assert "2 data sets in one directory ('t10k', 'test')" in message


def test_ranks_and_contents_are_checked(tmp_path: Path) -> None:
    write(tmp_path)
    labels, images = tmp_path / "train-labels-idx1-ubyte", tmp_path / "train-images-idx3-ubyte"
    write_idx(labels, LABELS[:, None])
    message = refusal(load_idx_directory, tmp_path)
    assert f"{tmp_path} (train): labels of type uint8 and shape (5, 1)" in message
    write_idx(labels, LABELS[:3])
    assert f"{tmp_path} (train): 5 rows and 3 labels" in refusal(load_idx_directory, tmp_path)
    write_idx(images, LABELS)
    assert f"{tmp_path} (train): an array of shape (5,)" in refusal(load_idx_directory, tmp_path)
    images.write_bytes(b"junk")
    assert f"{images}: starts with 6a 75" in refusal(load_idx_directory, tmp_path)


def test_order_is_a_function_of_seed_and_epoch() -> None:
    first = order(1000, seed=1, epoch=3, shuffle=True)
    assert first.dtype == np.int64
    np.testing.assert_array_equal(first, order(1000, seed=1, epoch=3, shuffle=True))
    np.testing.assert_array_equal(np.sort(first), np.arange(1000))
    for seed, epoch in ((1, 4), (2, 3)):
        assert (first != order(1000, seed=seed, epoch=epoch, shuffle=True)).mean() > 0.9
    in_place = order(5, seed=1, epoch=3, shuffle=False)
    assert in_place.dtype == np.int64
    np.testing.assert_array_equal(in_place, np.arange(5))


def test_order_stays_the_same_from_version_to_version() -> None:
    """A resumed run must see the batches that the interrupted one would have seen."""
    assert order(8, seed=0, epoch=0, shuffle=True).tolist() == [4, 0, 7, 3, 5, 2, 1, 6]


def digest_of(
    X: np.ndarray = IMAGES, labels: np.ndarray = LABELS, test: np.ndarray = IMAGES
) -> str:
    return dataset_of("any", train=(X, labels), test=(test, LABELS)).digest


def test_a_digest_tells_contents_apart() -> None:
    changed = IMAGES.copy()
    changed[-1, -1, -1] ^= 1
    found = {
        digest_of(),
        digest_of(changed),
        digest_of(test=changed),
        digest_of(IMAGES.astype(np.int8), test=IMAGES),
        digest_of(IMAGES[:, :2], test=IMAGES[:, :2]),
        digest_of(labels=LABELS[[1, 0, 2, 3, 4]]),
    }
    assert len(found) == 6
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in found)


def test_a_digest_is_the_same_however_the_content_lies_in_memory(tmp_path: Path) -> None:
    wide = IMAGES.astype(np.float32)
    np.save(tmp_path / "X.npy", wide)
    held = np.load(tmp_path / "X.npy", mmap_mode="r")
    assert len({digest_of(X, test=wide) for X in (wide, wide.astype(">f4"), held)}) == 1


def test_a_large_mapped_array_is_sampled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapped, "LARGE", 100)
    monkeypatch.setattr(dataset, "SAMPLE", 24)
    monkeypatch.setattr(dataset, "SAMPLES", 3)
    content = np.lib.format.open_memmap(tmp_path / "X.npy", "w+", np.uint8, (90, 12))

    def digest() -> str:
        split = check_split(content, np.zeros(90, np.int64), where="here")
        return dataset.Dataset("any", split, split, (12,), "here").digest

    before = digest()
    content[10] = 1  # Read are rows 0, 1, 44, 45, 88 and 89.
    assert digest() == before
    for row in (0, 1, 44, 45, 88, 89):
        content[row] += 1
        assert digest() != before
        content[row] -= 1
    assert digest() == before
