"""The IDX file format, in which MNIST and its relatives are distributed.

Two zero bytes, one byte for the element type, one for the rank, then one unsigned 32-bit number
per dimension and the elements, the last index fastest; all numbers big-endian.

Source: http://yann.lecun.com/exdb/mnist/, "The IDX file format".
"""

import gzip
import hashlib
import math
import os
import sys
import zlib
from typing import BinaryIO

import numpy as np

from xpmlp.data.npy import most_unpacked
from xpmlp.data.opening import FilePath, opened, shown
from xpmlp.errors import InputError

ELEMENT_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: "i2", 0x0C: "i4", 0x0D: "f4", 0x0E: "f8"}
MAX_RANK = 64
"""NumPy's limit; the format itself goes to 255."""

READ_CHUNK = 1 << 20


def read_idx(path: FilePath, *, sha256: str | None = None) -> np.ndarray:
    """Read an IDX file, plain or gzipped.

    Whether it is gzipped is told by its first bytes, not by its name.

    Parameters
    ----------
    path : path or str
        The file.
    sha256 : str, optional
        The SHA-256 that the decompressed content must have, in hexadecimal.

    Returns
    -------
    ndarray
        An array of the shape and type in the header, in native byte order.

    Raises
    ------
    InputError
        For a file that is not IDX, is incomplete, or has another SHA-256. The sizes in the header
        are compared with the file before memory is allocated.

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
            return _parse(file, name, size=size, most=size, sha256=sha256)
        try:
            with gzip.GzipFile(fileobj=file) as content:
                return _parse(content, name, size=None, most=most_unpacked(size), sha256=sha256)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise InputError(
                f"{name}: {size:,} bytes that are no whole gzip file ({error}); fetch it again"
            ) from error


def _parse(
    content: BinaryIO | gzip.GzipFile, name: str, *, size: int | None, most: int, sha256: str | None
) -> np.ndarray:
    """Read the content, of `size` bytes if that is known and of `most` bytes at most."""
    magic = content.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in ELEMENT_TYPES:
        types = ", ".join(f"{code:02x}" for code in ELEMENT_TYPES)
        raise InputError(
            f"{name}: starts with {magic.hex(' ') or 'nothing'} where an IDX file has 00 00, a "
            f"type ({types}) and the rank; give an IDX file"
        )
    rank = magic[3]
    if not 1 <= rank <= MAX_RANK:
        raise InputError(f"{name}: rank {rank}, an array has 1 to {MAX_RANK}; reshape the data")
    sizes = content.read(4 * rank)
    if len(sizes) < 4 * rank:
        raise InputError(
            f"{name}: {4 + len(sizes)} bytes where a header of rank {rank} takes {4 + 4 * rank}: "
            "the file is truncated; fetch it again"
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
        if size is not None:
            raise wrong_size(f"{size:,}", "the file is truncated")
        raise wrong_size(
            f"at most {most:,} decompressed", "truncated, or too large for this memory"
        )
    if size is not None and size > promised:
        raise wrong_size(f"{size:,}", "the file is too long")
    # NumPy leaves zeros out of this product, so an array without elements can still be too big.
    if math.prod(filter(None, shape)) * dtype.itemsize > sys.maxsize:
        raise InputError(f"{name}: shape {shape} is beyond any memory; fetch it again")

    payload = bytearray()
    while chunk := content.read(min(READ_CHUNK, payload_size - len(payload))):
        payload += chunk
    if len(payload) < payload_size:
        raise wrong_size(f"{promised - payload_size + len(payload):,}", "the file is truncated")
    if content.read(1):  # This also has gzip compare its checksum.
        raise wrong_size(f"more than {promised:,}", "the file is too long")
    if sha256 is not None:
        digest = hashlib.sha256(magic + sizes)
        digest.update(payload)
        if digest.hexdigest() != sha256:
            raise InputError(
                f"{name}: SHA-256 of its content is {digest.hexdigest()}, not {sha256}: "
                "the file was changed; fetch it again"
            )
    array = np.ndarray(shape, dtype, buffer=payload)
    if dtype.isnative:
        return array
    return array.byteswap(inplace=True).view(dtype.newbyteorder("="))


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
