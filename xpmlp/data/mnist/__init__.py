"""MNIST, as it comes with xpmlp: the four files beside this one (see NOTICE.md)."""

from pathlib import Path

from xpmlp.data.dataset import Dataset, dataset_of
from xpmlp.data.idx import read_idx_directory
from xpmlp.errors import InputError

DIRECTORY = Path(__file__).parent

DIGEST = "6e4ca8274baa4b97005cb36423dc4a90409f688d2a04a80a5596f620b95dfaa3"
"""What `Dataset.digest` is of the published files."""


def load_mnist() -> Dataset:
    """The MNIST digits: 60,000 to train and 10,000 to test, 28 x 28 uint8, light on dark.

    Raises `InputError` if a file is missing or is not, bit for bit, the published one.
    Source: LeCun, Bottou, Bengio and Haffner 1998.
    """
    try:
        train, test, _ = read_idx_directory(DIRECTORY)
        dataset = dataset_of("mnist", train=train, test=test)
        if dataset.digest != DIGEST:
            raise InputError(f"{DIRECTORY}: these are not the published files")
    except InputError as error:
        raise InputError(
            f"{error} (they come with xpmlp: pip install --force-reinstall xpmlp)"
        ) from error
    return dataset
