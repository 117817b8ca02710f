"""The IDX format: what is written comes back, and nothing else is believed."""

import gzip
import hashlib
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from xpmlp.data import read_idx, write_idx
from xpmlp.data.idx import READ_CHUNK
from xpmlp.errors import InputError

CODES = {0x08: "u1", 0x09: "i1", 0x0B: "i2", 0x0C: "i4", 0x0D: "f4", 0x0E: "f8"}
DTYPES = [np.dtype(kind) for kind in CODES.values()]
# One file name serves all examples of a test: each one overwrites it.
examples = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def header(code: int, *shape: int) -> bytes:
    return bytes([0, 0, code, len(shape)]) + b"".join(n.to_bytes(4, "big") for n in shape)


def refusal(path: Path) -> str:
    """The message with which the file is refused: one line that starts with its name."""
    with pytest.raises(InputError) as caught:
        read_idx(path)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert message.startswith(str(path))
    assert ";" in message  # The remedy follows.
    return message


def array_or_message(read: Callable[[Path], np.ndarray], path: Path) -> np.ndarray | str:
    try:
        return read(path)
    except InputError as error:
        return str(error)


arrays = st.sampled_from(DTYPES).flatmap(
    lambda dtype: npst.arrays(dtype, npst.array_shapes(max_dims=6, max_side=4, min_side=0))
)


@examples
@given(array=arrays, gzipped=st.booleans(), big=st.booleans())
def test_what_is_written_is_read(
    tmp_path: Path, array: np.ndarray, gzipped: bool, big: bool
) -> None:
    path = tmp_path / ("a.gz" if gzipped else "a")
    write_idx(path, array.astype(array.dtype.newbyteorder(">")) if big else array)
    back = read_idx(path)
    assert back.dtype == array.dtype
    assert back.dtype.isnative
    assert back.flags.writeable
    np.testing.assert_array_equal(back, array)


@pytest.mark.parametrize("rank", range(1, 65))
def test_every_rank(tmp_path: Path, rank: int) -> None:
    array = np.arange(2, dtype=np.int16).reshape((1,) * (rank - 1) + (2,))
    write_idx(tmp_path / "a", array)
    assert read_idx(tmp_path / "a").shape == array.shape


@pytest.mark.parametrize(("code", "kind"), CODES.items())
def test_the_bytes_of_every_type(tmp_path: Path, code: int, kind: str) -> None:
    """Against the format's description, so that reader and writer cannot be wrong together."""
    array = np.array([[1, 2, 3], [100, 0, 7]], kind)
    content = header(code, 2, 3) + array.astype(">" + kind).tobytes()
    write_idx(tmp_path / "a", array)
    assert (tmp_path / "a").read_bytes() == content
    write_idx(tmp_path / "a.gz", array)
    assert gzip.decompress((tmp_path / "a.gz").read_bytes()) == content


def test_gzip_is_told_by_content(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(gzip.compress(header(8, 2) + b"ab"))
    (tmp_path / "b.gz").write_bytes(header(8, 2) + b"ab")
    assert bytes(read_idx(tmp_path / "a")) == bytes(read_idx(tmp_path / "b.gz")) == b"ab"
    both = gzip.compress(header(8, 2)) + gzip.compress(b"ab")  # A gzip file may have members.
    (tmp_path / "a").write_bytes(both)
    assert bytes(read_idx(tmp_path / "a")) == b"ab"


@examples
@given(content=st.binary(max_size=300), start=st.sampled_from([b"", b"\0\0\x08", b"\x1f\x8b\x08"]))
def test_any_bytes(tmp_path: Path, content: bytes, start: bytes) -> None:
    path = tmp_path / "a"
    for data in (start + content, gzip.compress(start + content, 1)):
        path.write_bytes(data)
        array = array_or_message(read_idx, path)
        if isinstance(array, str):
            assert len(array.splitlines()) == 1
        else:
            assert 4 + 4 * array.ndim + array.nbytes == len(start + content)


@examples
@given(data=st.data(), gzipped=st.booleans())
def test_any_cut_or_flip(tmp_path: Path, data: st.DataObject, gzipped: bool) -> None:
    path = tmp_path / ("a.gz" if gzipped else "a")
    write_idx(path, np.arange(60, dtype=np.int32).reshape(3, 4, 5))
    whole = path.read_bytes()
    cut = data.draw(st.integers(0, len(whole) - 1))
    path.write_bytes(whole[:cut])
    refusal(path)
    flipped = bytearray(whole)
    flipped[cut] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(flipped)
    array = array_or_message(read_idx, path)
    if isinstance(array, str):
        assert len(array.splitlines()) == 1
    else:  # Only in the values, in the type of equal size, or in gzip's time stamp and such.
        assert array.nbytes == 240
        assert array.size == 60


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "starts with nothing"),
        (b"\x89PNG\r\n", "starts with 89 50 4e 47"),
        (b"\0\0\x0a\x01", "starts with 00 00 0a 01"),
        (b"\0\0\x08\x00", "rank 0, an array has 1 to 64"),
        (b"\0\0\x08\x41", "rank 65, an array has 1 to 64"),
        (b"\0\0\x08\x03\0\0", "6 bytes where a header of rank 3 takes 16: the file is truncated"),
        (header(8, 60000, 28, 28) + bytes(984), "1,000 bytes where its header promises 47,040,016"),
        (header(8, 3) + bytes(4), "12 bytes where its header promises 11: the file is too long"),
        (header(14, *[2**32 - 1] * 64), "260 bytes where its header promises "),
        (header(14, 0, *[2**32 - 1] * 3), "beyond any memory"),
    ],
)
def test_refusals(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "plain").write_bytes(content)
    assert says in refusal(tmp_path / "plain")
    (tmp_path / "packed").write_bytes(gzip.compress(content))
    refusal(tmp_path / "packed")


def test_refusals_of_gzip(tmp_path: Path) -> None:
    path = tmp_path / "a"
    whole = gzip.compress(header(8, 1000) + os.urandom(1000))
    path.write_bytes(whole[:500])
    assert "500 bytes that are no whole gzip file" in refusal(path)
    path.write_bytes(whole[:-8] + bytes(8))
    assert "CRC" in refusal(path)
    path.write_bytes(gzip.compress(header(8, 1000) + bytes(999)))
    assert "1,007 bytes where its header promises 1,008: the file is truncated" in refusal(path)
    path.write_bytes(gzip.compress(header(8, 1000) + bytes(1001)))
    assert "more than 1,008 bytes where its header promises 1,008" in refusal(path)


@pytest.mark.parametrize(
    "content",
    [
        header(14, *[2**32 - 1] * 64),
        header(8, 2**31),
        gzip.compress(header(8, 2**31)),
        # Possible at deflate's ratio, so only what arrives may take memory.
        gzip.compress(header(8, 10**8)) + gzip.compress(os.urandom(100_000)),
        # A bomb: 100 MB of zeros where three bytes were promised.
        gzip.compress(header(8, 3)) + gzip.compress(bytes(10**7)) * 10,
    ],
    ids=["2**2048", "plain", "gzip", "within the ratio", "bomb"],
)
def test_a_claim_takes_no_memory(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)
    tracemalloc.start()
    try:
        refusal(tmp_path / "a")
        # A chunk, and from Python 3.12 on another one in gzip's own buffer; 10**8 were claimed.
        assert tracemalloc.get_traced_memory()[1] < 3 * READ_CHUNK
    finally:
        tracemalloc.stop()


def test_a_digest_is_compared(tmp_path: Path) -> None:
    content = header(8, 3) + b"abc"
    (tmp_path / "a").write_bytes(gzip.compress(content))
    digest = hashlib.sha256(content).hexdigest()
    assert bytes(read_idx(tmp_path / "a", sha256=digest)) == b"abc"
    (tmp_path / "a").write_bytes(gzip.compress(content[:-1] + b"d"))
    with pytest.raises(InputError, match=f"not {digest}: the file was changed; fetch"):
        read_idx(tmp_path / "a", sha256=digest)


def test_paths_that_are_no_files(tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path / "none")
    assert "not a regular file" in refusal(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    assert "not a regular file" in refusal(tmp_path / "pipe")
    assert "Not a directory" in refusal(_file(tmp_path / "file") / "none")
    for name in ("a\nb", "a\0b", "\udcff"):
        with pytest.raises(InputError) as caught:
            read_idx(name)
        assert len(str(caught.value).splitlines()) == 1
        str(caught.value).encode()


def _file(path: Path) -> Path:
    path.write_bytes(b"")
    return path


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (np.zeros(3, np.int64), "int64 is no element type of IDX; convert"),
        (np.zeros(3, bool), "bool is no element type"),
        (np.zeros(3, np.float16), "float16 is no element type"),
        (np.zeros((), np.uint8), r"shape \(\), an IDX file has 1 to 64"),
        (np.broadcast_to(np.uint8(0), (2**32,)), "at most 4,294,967,295; reshape"),
    ],
)
def test_what_the_format_lacks(tmp_path: Path, array: np.ndarray, says: str) -> None:
    with pytest.raises(InputError, match=says):
        write_idx(tmp_path / "a", array)
    assert not (tmp_path / "a").exists()


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"No such file.*can be written"):
        write_idx(tmp_path / "none" / "a", np.zeros(3, np.uint8))


def test_a_bomb_that_keeps_its_promise(tmp_path: Path, monkeypatch) -> None:
    """What deflate can do is still no more than half of this machine's memory."""
    size = 1 << 26
    (tmp_path / "a").write_bytes(gzip.compress(header(8, size) + bytes(size)))
    assert read_idx(tmp_path / "a").nbytes == size
    monkeypatch.setattr("xpmlp.data.npy.host_memory", lambda: 2 * size)
    tracemalloc.start()
    try:
        assert "too large for this memory" in refusal(tmp_path / "a")
        # A chunk, and from Python 3.12 on another one in gzip's own buffer; 10**8 were claimed.
        assert tracemalloc.get_traced_memory()[1] < 3 * READ_CHUNK
    finally:
        tracemalloc.stop()
