"""Where examples come from, by the name that a recipe gives."""

from xpmlp.data.dataset import Dataset, load_idx_directory
from xpmlp.data.mnist import load_mnist

MNIST = "mnist"


def load_data(source: str) -> Dataset:
    """The data set inside the package, `mnist`, or the directory of IDX files at that path."""
    return load_mnist() if source == MNIST else load_idx_directory(source)
