"""MNIST's facts, as published, and what happens if they do not hold."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from xpmlp.data import load_mnist, mnist
from xpmlp.data.dataset import Dataset
from xpmlp.errors import InputError


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_mnist()


def test_shapes(digits: Dataset) -> None:
    assert digits.name == "mnist"
    assert digits.image_shape == (28, 28)
    assert digits.train.X.shape == (60_000, 784)
    assert digits.test.X.shape == (10_000, 784)
    assert digits.train.X.dtype == digits.test.X.dtype == np.uint8
    assert digits.train.labels.dtype == digits.test.labels.dtype == np.int64


def test_labels(digits: Dataset) -> None:
    train, test = digits.train.labels, digits.test.labels
    counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(train).tolist() == counts
    counts = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert np.bincount(test).tolist() == counts
    assert train[:5].tolist() == [5, 0, 4, 1, 9]
    assert test[:5].tolist() == [7, 2, 1, 0, 4]


def test_pixels(digits: Dataset) -> None:
    assert digits.train.X.mean() == pytest.approx(33.3184, abs=1e-4)
    assert digits.test.X.mean() == pytest.approx(33.7912, abs=1e-4)
    assert digits.train.X.max() == 255


def test_mnist_fits_the_lecture_network(digits: Dataset) -> None:
    assert digits.for_network((784, 64, 32, 10)).train.X is not None


def test_another_content_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mnist, "DIGEST", "0" * 64)
    with pytest.raises(InputError, match=r"that of the published files .*--force-reinstall xpmlp"):
        load_mnist()


def test_a_missing_file_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(mnist, "FILES", tmp_path)
    with pytest.raises(InputError, match=r"train-images-idx3-ubyte\.gz.*force-reinstall"):
        load_mnist()


def test_importing_data_loads_no_pillow() -> None:
    code = "import sys, xpmlp.data; sys.exit('PIL' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
