"""Examples: files become checked rows and labels, on the host and in NumPy alone.

    load_data                         a data set by the name or the path that a recipe gives
    DATA_NAMES                        the names
    load_mnist, load_idx_directory    a data set: rows (n, l0) and labels (n,) to train and to test
    dataset_of, check_split           the same from arrays of one's own
    hold_out                          rows to train on, and a share to validate on
    SparseRows                        rows of a sparse matrix, dense when they are read
    MappedRows                        rows of a large file, read when they are needed
    HOST_ROWS                         what X can be that does not lie on a device
    Schema, Column, class_count       columns, target and classes, fitted and kept with a run
    Images                            how images become rows
    order                             the order in which an epoch takes its rows
    read_image, read_rows             what `xpmlp predict` is given: images and .npy files
    check_rows                        refuses what no network, or not this one, can take
    read_idx, write_idx               the file format of MNIST

Everything refused is an `InputError` of one line, raised before memory is spent on it.
"""

from xpmlp.data.dataset import (
    HOST_ROWS,
    Dataset,
    Split,
    check_labels,
    check_rows,
    check_split,
    choose_rows,
    dataset_of,
    hold_out,
    order,
    rows_to_hold_out,
)
from xpmlp.data.idx import load_idx_directory, read_idx, write_idx
from xpmlp.data.image_rules import Images
from xpmlp.data.images import read_image, read_rows
from xpmlp.data.mapped import MappedRows
from xpmlp.data.mnist import load_mnist
from xpmlp.data.schema import SCALINGS, Column, Schema, class_count
from xpmlp.data.sources import DATA_NAMES, UNNAMED, load_data
from xpmlp.data.sparse import SparseRows

__all__ = [
    "DATA_NAMES",
    "HOST_ROWS",
    "SCALINGS",
    "UNNAMED",
    "Column",
    "Dataset",
    "Images",
    "MappedRows",
    "Schema",
    "SparseRows",
    "Split",
    "check_labels",
    "check_rows",
    "check_split",
    "choose_rows",
    "class_count",
    "dataset_of",
    "hold_out",
    "load_data",
    "load_idx_directory",
    "load_mnist",
    "order",
    "read_idx",
    "read_image",
    "read_rows",
    "rows_to_hold_out",
    "write_idx",
]
