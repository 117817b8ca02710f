"""MNIST, as it comes with xpmlp: the four files beside this one (see NOTICE.md)."""

from importlib.resources import as_file, files

import numpy as np

from xpmlp.data.dataset import Dataset, dataset_of
from xpmlp.data.idx import read_idx
from xpmlp.errors import InputError

SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
"""Of the decompressed content, so that it holds however the files were compressed."""


def load_mnist() -> Dataset:
    """Load the MNIST digits, which are part of the package.

    Returns
    -------
    Dataset
        60,000 training and 10,000 test images of 28 x 28 pixels, uint8, light on dark, flattened to
        rows of 784.

    Raises
    ------
    InputError
        If a file is missing, or its SHA-256 is not the known one.

    References
    ----------
    LeCun, Bottou, Bengio and Haffner 1998, Gradient-based learning applied to document recognition.

    Examples
    --------
    >>> mnist = xpmlp.load_mnist()
    >>> mnist.train.X.shape, mnist.test.labels[:3]
    ((60000, 784), array([7, 2, 1]))
    """
    return dataset_of(
        "mnist",
        train=(_read("train-images-idx3-ubyte"), _read("train-labels-idx1-ubyte")),
        test=(_read("t10k-images-idx3-ubyte"), _read("t10k-labels-idx1-ubyte")),
    )


def _read(stem: str) -> np.ndarray:
    try:
        with as_file(files(__name__).joinpath(f"{stem}.gz")) as path:
            return read_idx(path, sha256=SHA256[stem])
    except (InputError, FileNotFoundError) as error:
        raise InputError(
            f"{error} (it comes with xpmlp: pip install --force-reinstall xpmlp)"
        ) from error
