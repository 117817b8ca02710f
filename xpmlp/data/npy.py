"""NumPy's own files, `.npy` and `.npz`: headers are believed only as far as the file goes."""

import math
import os
import sys
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xpmlp.backends.base import host_memory
from xpmlp.data.opening import FilePath, opened, shown
from xpmlp.errors import InputError
from xpmlp.files import refuse_special_file

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
        magic = file.read(6)
    if magic != b"\x93NUMPY":
        raise InputError(
            f"{name}: starts with {magic.hex(' ') or 'nothing'}, an .npy file with "
            "93 4e 55 4d 50 59; write it with numpy.save"
        )
    try:
        # Mapped, so that the system compares the claimed size with the file's.
        array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
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


def names_in_npz(path: Path) -> list[str]:
    """The names of the arrays in an `.npz` file."""
    refuse_special_file(path)
    try:
        with zipfile.ZipFile(path) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist()]
    except Exception as error:  # as below
        raise _refusal(path, error) from error


def read_npz(
    path: Path,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    *,
    names: Sequence[str] | None = None,
    may_be_packed: bool = True,
) -> dict[str, np.ndarray]:
    """The real-valued arrays of an .npz file by name, without unpickling anything.

    With `shapes`, exactly these names are read, and each shape is compared with the header's
    before the array is allocated; with `names` these, and else all, as large as the file says that
    they are, if that many bytes can come out of it and are no more than half of the memory.
    """
    arrays: dict[str, np.ndarray] = {}
    refuse_special_file(path)
    try:
        # Entries may also lie upon each other: what counts is all that they come to.
        size = path.stat().st_size
        room = most_unpacked(size) if may_be_packed else size
        with zipfile.ZipFile(path) as archive:
            entries = {name.removesuffix(".npy"): name for name in archive.namelist()}
            for name in shapes or names or entries:
                if name not in entries:
                    raise InputError(f"{path}: no {name}; it has {', '.join(entries) or 'nothing'}")
                info = archive.getinfo(entries[name])
                with archive.open(info) as file:
                    arrays[name] = _read_npy(file, info, name, shapes, room=room)
                room -= info.file_size
    except InputError as error:
        raise InputError(str(error) if str(path) in str(error) else f"{path}: {error}") from error
    except Exception as error:  # zipfile and zlib raise a dozen kinds for a damaged archive
        raise _refusal(path, error) from error
    return arrays


def _refusal(path: Path, error: Exception) -> InputError:
    if isinstance(error, OSError):
        return InputError(
            f"{shown(path)}: cannot be read ({error.strerror or error}); give an .npz file"
        )
    said = " ".join(str(error).split())
    return InputError(f"{shown(path)}: no whole .npz file ({said}); save it again")


def _read_npy(
    file: Any,
    info: zipfile.ZipInfo,
    name: str,
    shapes: Mapping[str, tuple[int, ...]] | None,
    *,
    room: int,
) -> np.ndarray:
    # Later versions have headers of up to 4 GiB, which NumPy writes for elements with many fields.
    if (version := np.lib.format.read_magic(file)) != (1, 0):
        raise InputError(f"{name} is of version {version} of NumPy's format; give real numbers")
    shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(file)
    if dtype.kind not in "fiu":
        raise InputError(f"{name} has elements of type {dtype}; give real numbers")
    if shapes is not None and shape != shapes[name]:
        raise InputError(f"{name} has shape {shape}, the network takes {shapes[name]}")
    promised = file.tell() + math.prod(shape) * dtype.itemsize
    if info.file_size != promised:
        raise InputError(
            f"{name} has {info.file_size:,} bytes, its header promises {promised:,}; save it again"
        )
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise InputError(f"{name} is compressed as NumPy does not; save it with numpy.savez")
    if promised > info.compress_size * DEFLATE_RATIO:
        raise InputError(
            f"{name} has {info.compress_size:,} bytes compressed, its header promises "
            f"{promised:,}; save it again"
        )
    if promised > room:
        raise InputError(
            f"{name} unpacks to {promised:,} bytes where {room:,} are left to this file; save it "
            "with numpy.savez, and less of it"
        )
    content = bytearray()
    while chunk := file.read(1 << 20):
        content += chunk
    array = np.frombuffer(content, dtype=dtype)
    return array.reshape(shape[::-1]).T if fortran_order else array.reshape(shape)
