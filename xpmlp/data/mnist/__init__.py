"""MNIST, as it comes with xpmlp: the four files beside this one (see NOTICE.md)."""

from importlib.resources import as_file, files

from xpmlp.data.dataset import Dataset, dataset_of
from xpmlp.data.idx import read_idx_directory
from xpmlp.errors import InputError

FILES = files(__name__)

DIGEST = "6e4ca8274baa4b97005cb36423dc4a90409f688d2a04a80a5596f620b95dfaa3"
"""What `Dataset.digest` is of the published files."""


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
        If a file is missing, or the content is not that of the published files.

    References
    ----------
    LeCun, Bottou, Bengio and Haffner 1998, Gradient-based learning applied to document recognition.

    Examples
    --------
    >>> mnist = xpmlp.load_mnist()
    >>> mnist.train.X.shape, mnist.test.labels[:3]
    ((60000, 784), array([7, 2, 1]))
    """
    try:
        with as_file(FILES) as directory:
            train, test, _ = read_idx_directory(directory)
        dataset = dataset_of("mnist", train=train, test=test)
        if dataset.digest != DIGEST:
            raise InputError(f"{FILES}: another content than that of the published files")
    except InputError as error:
        raise InputError(
            f"{error} (they come with xpmlp: pip install --force-reinstall xpmlp)"
        ) from error
    return dataset
