"""NumPy's own files, `.npy` and `.npz`: headers are believed only as far as the file goes."""

import math
import os
import sys
import zipfile
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from xpmlp.backends.base import host_memory
from xpmlp.data.opening import FilePath, opened, shown
from xpmlp.errors import InputError

DEFLATE_RATIO = 1032
"""Deflate's best, 258 bytes from two bits: zlib's technical notes, "Maximum Compression Factor"."""


def most_unpacked(size: int) -> int:
    """Bytes that a file of `size` bytes may become: what deflate can do, and half of the memory."""
    return min(size * DEFLATE_RATIO, (host_memory() or sys.maxsize) // 2)


def map_npy(path: FilePath) -> np.ndarray:
    """The array in an `.npy` file, mapped: nothing is read before it is looked at.

    Raises `InputError` for other files, pickled objects, and a header that promises another number
    of bytes than the file has.
    """
    name = shown(path)
    with opened(path) as file:
        size = os.fstat(file.fileno()).st_size
    try:
        # Mapped, so that the system compares the claimed size with the file's.
        array: np.ndarray = np.lib.format.open_memmap(path, mode="r")
    except Exception as error:  # The header is a Python literal: any failure of its parser.
        cause = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"{name}: not a whole .npy file of numbers ({cause}); write it with numpy.save"
        ) from error
    offset = getattr(array, "offset", 0)
    if offset and offset + array.nbytes != size:
        raise InputError(
            f"{name}: {size:,} bytes where its header promises {offset + array.nbytes:,}: "
            "the file is too long; write it with numpy.save"
        )
    return array


def held(array: np.ndarray) -> np.ndarray:
    """A copy in memory and in native byte order, of an array that may be mapped."""
    return np.array(array, dtype=array.dtype.newbyteorder("="), subok=False)


def read_npz(
    path: FilePath,
    choose: Callable[[list[str]], Iterable[str]] = iter,
    *,
    may_be_packed: bool = True,
    kinds: str = "fiu",
) -> dict[str, np.ndarray]:
    """The arrays of an .npz file by name, of these kinds of NumPy; nothing is unpickled.

    Those that `choose` returns of all names are read, by default all. They are as large as the file
    says that they are, if that many bytes can come out of it and are no more than half of the
    memory.
    """
    arrays: dict[str, np.ndarray] = {}
    with opened(path) as file:
        # Entries may also lie upon each other: what counts is all that they come to.
        size = os.fstat(file.fileno()).st_size
        room = most_unpacked(size) if may_be_packed else size
        try:
            with zipfile.ZipFile(file) as archive:
                entries = {name.removesuffix(".npy"): name for name in archive.namelist()}
                for name in choose(list(entries)):
                    where = f"{shown(path)}: {name}"
                    if name not in entries:
                        said = ", ".join(entries) or "nothing"
                        raise InputError(f"{where} is missing; it has {said}")
                    info = archive.getinfo(entries[name])
                    with archive.open(info) as entry:
                        arrays[name] = _read_npy(entry, info.file_size, where, room, kinds)
                    room -= info.file_size
        except InputError:
            raise
        except Exception as error:  # zipfile and zlib raise a dozen kinds for a damaged archive
            said = " ".join(str(error).split())
            raise InputError(
                f"{shown(path)}: no whole .npz file ({said}); save it again"
            ) from error
    return arrays


def _read_npy(file: Any, size: int, where: str, room: int, kinds: str) -> np.ndarray:
    # Later versions have headers of up to 4 GiB, which NumPy writes for elements with many fields.
    if (version := np.lib.format.read_magic(file)) != (1, 0):
        raise InputError(f"{where} is of version {version} of NumPy's format; give real numbers")
    shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    if dtype.kind not in kinds:
        raise InputError(f"{where} has elements of type {dtype}; give real numbers")
    promised = file.tell() + math.prod(shape) * dtype.itemsize
    if size != promised:
        raise InputError(
            f"{where} has {size:,} bytes, its header promises {promised:,}; save it again"
        )
    if promised > room:
        raise InputError(
            f"{where} unpacks to {promised:,} bytes where {room:,} are left to this file; save it "
            "with numpy.savez, and less of it"
        )
    file.seek(0)
    array: np.ndarray = np.lib.format.read_array(file, allow_pickle=False)
    return array
