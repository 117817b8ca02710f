"""NumPy's archives: nothing is unpickled, and no claim of theirs takes memory."""

import io
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tests.data.refusing import refusal_of
from tests.memory import at_most
from xpmlp.data.npy import read_npz

MAGIC = b"\x93NUMPY"


def npy(kind: str, *shape: int, body: bytes = b"") -> bytes:
    file = io.BytesIO()
    header = {"descr": kind, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue() + body


def archive(path: Path, head: bytes, *, zeros: int = 0, method: int = zipfile.ZIP_DEFLATED) -> Path:
    """One array, of these bytes and `zeros` zeros after them."""
    with (
        zipfile.ZipFile(path, "w", method) as file,
        file.open("x.npy", "w", force_zip64=True) as entry,
    ):
        entry.write(head)
        for _ in range(zeros >> 20):
            entry.write(bytes(1 << 20))
    return path


def refusal(path: Path, **options: bool) -> str:
    with at_most(4 << 20):
        message = refusal_of(read_npz, path, **options)
    assert message.startswith(str(path))
    return message


def test_a_bomb_that_is_more_than_half_of_the_memory(tmp_path: Path, monkeypatch) -> None:
    size = 64 << 20
    path = archive(tmp_path / "a.npz", npy("|u1", size), zeros=size)
    assert path.stat().st_size < 100_000
    assert read_npz(path)["x"].nbytes == size
    monkeypatch.setattr("xpmlp.data.npy.host_memory", lambda: 2 * size)
    assert "unpacks to 67,108,992 bytes where 67,108,864 are left" in refusal(path)


def test_a_bomb_where_nothing_is_packed(tmp_path: Path) -> None:
    size = 64 << 20
    path = archive(tmp_path / "a.npz", npy("|u1", size), zeros=size)
    assert "unpacks to 67,108,992 bytes" in refusal(path, may_be_packed=False)
    np.savez(path, x=np.zeros(1 << 20))
    assert read_npz(path, may_be_packed=False)["x"].shape == (1 << 20,)


def test_entries_that_lie_upon_each_other_count_each(tmp_path: Path) -> None:
    """The directory names one megabyte fifty times."""
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("00.npy", npy("|u1", 1 << 20, body=bytes(1 << 20)))
        whole = file.infolist()[0]
        for number in range(1, 50):
            other = zipfile.ZipInfo(f"{number:02}.npy")
            for name in ("header_offset", "file_size", "compress_size", "CRC", "compress_type"):
                setattr(other, name, getattr(whole, name))
            file.filelist.append(other)
            file.NameToInfo[other.filename] = other
        file._didModify = True
    refusal(path, may_be_packed=False)


@pytest.mark.extended(keep=2)
@pytest.mark.parametrize(
    ("head", "zeros", "said"),
    [
        (npy("<f4", 1 << 40), 0, "its header promises 4,398,046,511,232"),
        (npy("<f4", -1), 0, "its header promises 124"),
        (npy("|O", 1), 0, "elements of type object"),
        (MAGIC + b"\2\0" + struct.pack("<I", (1 << 32) - 1), 0, "version (2, 0)"),
        (MAGIC + b"\2\0" + struct.pack("<I", 1 << 28), 1 << 28, "version (2, 0)"),
        (MAGIC + b"\1\0" + struct.pack("<H", 9000) + b"(" * 9000, 0, "no whole .npz file"),
        (b"", 0, "no whole .npz file"),
    ],
)
def test_headers_that_promise_too_much(tmp_path: Path, head: bytes, zeros: int, said: str) -> None:
    assert said in refusal(archive(tmp_path / "a.npz", head, zeros=zeros))
