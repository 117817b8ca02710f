"""Files of tensors: what a header or its metadata claim takes no memory, and ends in one line."""

import json
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from xpmlp.errors import InputError
from xpmlp.tensors import MOST_METADATA, load_tensors, save_tensors


def file_of(header: object, *, length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text


def about(text: str) -> dict[str, dict[str, str]]:
    return {"__metadata__": {"xpmlp": text}}


def tensor(dtype: str, *shape: int, size: int) -> dict[str, object]:
    return {**about("{}"), "W1": {"dtype": dtype, "shape": shape, "data_offsets": [0, size]}}


@pytest.mark.parametrize(
    "content",
    [
        file_of(b"", length=1 << 62),
        file_of(b"{}", length=99_000_000),
        file_of(b'{"__metadata__":' + b"[" * 1_000_000),
        file_of(about("[" * 100_000)),
        file_of(about('{"a":' * 100_000)),
        file_of(about("[" + "[]," * (MOST_METADATA // 3 + 1) + "[]]")),
        file_of(about("9" * 5000)),
        file_of(tensor("F32", 1 << 40, size=1 << 42)),
        file_of(tensor("F32", 1 << 40, 0, size=0)),
        file_of(tensor("F32", *[1 << 32] * 8, size=4)),
    ],
    ids=["length", "short", "header", "lists", "tables", "many", "digits", "size", "empty", "wrap"],
)
def test_a_claim_takes_no_memory(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(InputError) as caught:
            load_tensors(path)
        # Python's part of it; the header's own text and its copy are of the file's size.
        assert tracemalloc.get_traced_memory()[1] < 2 * len(content) + (8 << 20)
    finally:
        tracemalloc.stop()
    assert str(caught.value).startswith(f"{path}: ")
    assert len(str(caught.value).splitlines()) == 1


def test_what_could_not_be_read_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    with pytest.raises(InputError, match="characters besides the arrays"):
        save_tensors(path, {"x": np.zeros(2)}, {"names": "x" * MOST_METADATA})
    assert not path.exists()
    save_tensors(path, {"x": np.zeros(2)}, {"names": "x" * (MOST_METADATA - 200)})
    assert len(load_tensors(path)[1]["names"]) == MOST_METADATA - 200
