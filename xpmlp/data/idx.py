"""The IDX file format, in which MNIST and its relatives are distributed, and directories of it.

Two zero bytes, one byte for the element type, one for the rank, then one unsigned 32-bit number
per dimension and the elements, the last index fastest; all numbers big-endian.

Source: http://yann.lecun.com/exdb/mnist/, "The IDX file format".
"""

import gzip
import logging
import math
import os
import re
import sys
import zlib
from collections import defaultdict
from pathlib import Path
from typing import BinaryIO, TypeAlias

import numpy as np

from xpmlp.data.dataset import Dataset, dataset_of
from xpmlp.data.image_rules import Images
from xpmlp.data.npy import most_unpacked
from xpmlp.data.opening import FilePath, opened, shown
from xpmlp.data.schema import Schema
from xpmlp.errors import InputError

ELEMENT_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: "i2", 0x0C: "i4", 0x0D: "f4", 0x0E: "f8"}
MAX_RANK = 64
"""NumPy's limit; the format itself goes to 255."""

READ_CHUNK = 1 << 20

Pair: TypeAlias = tuple[np.ndarray, np.ndarray]
"""Images and their labels."""

log = logging.getLogger(__name__)

FILE_NAME = re.compile(
    r"(?P<prefix>(.*[-_.])?)(?P<part>train|t10k|test)-(?P<kind>images|labels)"
    r"[-.]idx\d+-\w+(\.gz)?"
)
"""MNIST's names, such as `t10k-images-idx3-ubyte.gz`: EMNIST has a prefix, Kaggle a dot."""


def load_idx_directory(path: FilePath, name: str | None = None, *, upright: bool = True) -> Dataset:
    """Load four IDX files, named as MNIST's, from a directory.

    The names are those of MNIST, such as `train-images-idx3-ubyte` and `t10k-labels-idx1-ubyte.gz`.
    They may have `test` for `t10k`, `.idx3` for `-idx3`, and a common prefix. If a file is there
    both plain and gzipped, the plain one is read.

    Parameters
    ----------
    path : path or str
        The directory.
    name : str, optional
        The name of the data set; by default the prefix, else the directory's name.
    upright : bool, default True
        Whether the images of EMNIST, which its files store transposed, are set upright. EMNIST's
        files have `emnist` in their prefix, as in `emnist-letters-train-images-idx3-ubyte`.

    Returns
    -------
    Dataset
        Images (n, rows, columns, ...) of any IDX type, flattened.

    Raises
    ------
    InputError
        If files are missing, ambiguous, damaged, or do not fit together.

    References
    ----------
    LeCun, Cortes and Burges, The MNIST database of handwritten digits, which defines the format.

    Examples
    --------
    >>> from xpmlp.data import write_idx
    >>> for part in ("train", "t10k"):
    ...     write_idx(f"{part}-images-idx3-ubyte", np.zeros((4, 2, 2), np.uint8))
    ...     write_idx(f"{part}-labels-idx1-ubyte", np.arange(4, dtype=np.uint8))
    >>> xpmlp.load_idx_directory(".", "tiny").train.X.shape
    (4, 4)
    """
    train, test, prefix = read_idx_directory(path)
    name = name or prefix.strip("-_.") or Path(path).resolve().name
    if not (upright and "emnist" in prefix.lower() and train[0].ndim == test[0].ndim == 3):
        return dataset_of(name, train=train, test=test, where=shown(path))
    log.warning("%s: EMNIST's files store images transposed; they are set upright", shown(path))
    return emnist_of(name, train=train, test=test, where=shown(path))


def emnist_of(name: str, *, train: Pair, test: Pair, where: str) -> Dataset:
    """Return the data set of EMNIST's arrays, whose images are stored transposed, upright."""
    train, test = ((X.swapaxes(1, 2), labels) for X, labels in (train, test))
    schema = Schema(images=Images(drawings="emnist"))
    return dataset_of(name, train=train, test=test, where=where, schema=schema)


def read_idx_directory(path: FilePath) -> tuple[Pair, Pair, str]:
    """Read images and labels to train, images and labels to test, and the prefix of their files."""
    where = shown(path)
    try:
        sets = idx_files(Path(path))
    except (OSError, ValueError) as error:
        cause = getattr(error, "strerror", None) or error
        raise InputError(
            f"{where}: {cause}; give a directory that has MNIST's four IDX files"
        ) from error
    prefix, files = next(iter(sets.items()), ("", {}))
    parts = sorted({part for part, _ in files} - {"train"})
    if len(sets) > 1 or len(parts) > 1:
        several = sorted(sets) if len(sets) > 1 else parts
        raise InputError(
            f"{where}: {len(several)} data sets in one directory "
            f"({', '.join(map(repr, several))}); "
            "move the four files of one into a directory of their own"
        )
    arrays = []
    for part in ("train", parts[0] if parts else "t10k"):
        for kind, rank in (("images", 3), ("labels", 1)):
            if (part, kind) not in files:
                missing = f"{part}-{kind}-idx{rank}-ubyte"
                raise InputError(
                    f"{where}: no file {missing} or {missing}.gz; "
                    "give a directory that has MNIST's four IDX files"
                )
            arrays.append(read_idx(files[part, kind]))
    return (arrays[0], arrays[1]), (arrays[2], arrays[3]), prefix


def idx_files(directory: Path) -> dict[str, dict[tuple[str, str], Path]]:
    """Return the paths of the files with MNIST's names by part and kind, of each prefix."""
    sets: dict[str, dict[tuple[str, str], Path]] = defaultdict(dict)
    for path in sorted(directory.iterdir()):  # plain files before their gzip
        if (match := FILE_NAME.fullmatch(path.name)) and path.is_file():
            sets[match["prefix"]].setdefault((match["part"], match["kind"]), path)
    return sets


def read_idx(path: FilePath) -> np.ndarray:
    """Read an IDX file, plain or gzipped.

    Whether it is gzipped is told by its first bytes, not by its name.

    Parameters
    ----------
    path : path or str
        The file.

    Returns
    -------
    ndarray
        An array of the shape and type in the header, in native byte order.

    Raises
    ------
    InputError
        For a file that is not IDX or is incomplete. The sizes in the header are compared with the
        file before memory is allocated.

    Examples
    --------
    >>> from xpmlp.data import read_idx, write_idx
    >>> write_idx("three.gz", np.arange(3, dtype=np.uint8))
    >>> read_idx("three.gz")
    array([0, 1, 2], dtype=uint8)
    """
    name = shown(path)
    with opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        gzipped = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        if not gzipped:
            return _parse(file, name, most=size)
        try:
            with gzip.GzipFile(fileobj=file) as content:
                return _parse(content, name, most=most_unpacked(size))
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise InputError(
                f"{name}: {size:,} bytes that are no whole gzip file ({error}); fetch it again"
            ) from error


def _parse(content: BinaryIO | gzip.GzipFile, name: str, *, most: int) -> np.ndarray:
    """Read the content, of `most` bytes at most."""
    magic = content.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in ELEMENT_TYPES:
        types = ", ".join(f"{code:02x}" for code in ELEMENT_TYPES)
        raise InputError(
            f"{name}: starts with {magic.hex(' ') or 'nothing'} where an IDX file has 00 00, a "
            f"type ({types}) and the rank; give an IDX file"
        )
    rank = magic[3]
    sizes = content.read(4 * rank)
    if not 1 <= rank <= MAX_RANK or len(sizes) < 4 * rank:
        raise InputError(
            f"{name}: rank {rank} and {len(sizes)} bytes for its sizes, an array has 1 to "
            f"{MAX_RANK} dimensions of 4 bytes each; fetch it again"
        )
    shape = tuple(int.from_bytes(sizes[i : i + 4], "big") for i in range(0, 4 * rank, 4))
    dtype = np.dtype(">" + ELEMENT_TYPES[magic[2]])
    # Python's integers: 64 dimensions of 32 bits overflow any other kind.
    payload_size = math.prod(shape) * dtype.itemsize
    promised = len(magic) + len(sizes) + payload_size

    def wrong_size(found: str, verdict: str) -> InputError:
        return InputError(
            f"{name}: {found} bytes where its header promises {promised:,}: {verdict}; "
            "fetch it again"
        )

    if promised > most:
        is_packed = isinstance(content, gzip.GzipFile)
        verdict = "truncated, or too large for this memory" if is_packed else "it is truncated"
        raise wrong_size(f"at most {most:,}", verdict)
    # NumPy leaves zeros out of this product, so an array without elements can still be too big.
    if math.prod(filter(None, shape)) * dtype.itemsize > sys.maxsize:
        raise InputError(f"{name}: shape {shape} is beyond any memory; fetch it again")
    payload = bytearray()
    while chunk := content.read(min(READ_CHUNK, payload_size - len(payload))):
        payload += chunk
    if len(payload) < payload_size:
        raise wrong_size(f"{promised - payload_size + len(payload):,}", "it is truncated")
    if content.read(1):  # This also has gzip compare its checksum.
        raise wrong_size(f"more than {promised:,}", "it is too long")
    return np.ndarray(shape, dtype, buffer=payload).astype(dtype.newbyteorder("="), copy=False)


def write_idx(path: FilePath, array: np.ndarray) -> None:
    """Write an array as an IDX file, gzipped if the name ends in `.gz`.

    Parameters
    ----------
    path : path or str
        The file.
    array : ndarray
        An array of rank 1 to 64 of uint8, int8, int16, int32, float32 or float64.

    Raises
    ------
    InputError
        For another type or rank, and if the file cannot be written.

    Examples
    --------
    >>> from xpmlp.data import write_idx
    >>> write_idx("three", np.arange(3, dtype=np.uint8))
    """
    name = shown(path)
    codes = {kind: code for code, kind in ELEMENT_TYPES.items()}
    code = codes.get(f"{array.dtype.kind}{array.dtype.itemsize}")
    if code is None:
        raise InputError(
            f"{name}: {array.dtype} is no element type of IDX; convert the array to one of "
            "uint8, int8, int16, int32, float32, float64"
        )
    if not 1 <= array.ndim <= MAX_RANK or max(array.shape) >= 1 << 32:
        raise InputError(
            f"{name}: shape {array.shape}, an IDX file has 1 to {MAX_RANK} dimensions of at most "
            f"{(1 << 32) - 1:,}; reshape the array"
        )
    header = bytes([0, 0, code, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    content = header + array.astype(array.dtype.newbyteorder(">")).tobytes()
    try:
        with open(path, "wb") as file:
            # No time stamp: the same array gives the same file.
            file.write(gzip.compress(content, 6, mtime=0) if name.endswith(".gz") else content)
    except OSError as error:
        raise InputError(f"{name}: {error.strerror}; give a path that can be written") from error
