"""Weights from .npz files, and what is refused of such files."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data.refusing import cut_or_flipped, examples, outcome
from tests.memory import at_most
from xpmlp import MLP
from xpmlp.data.npy import read_npz
from xpmlp.errors import InputError
from xpmlp.runs import load_initial_weights

MODEL = MLP((3, 2))


@examples(100)
@given(data=st.data())
def test_any_damage_to_a_file_of_weights_is_refused_in_words(tmp_path: Path, data) -> None:
    path = tmp_path / "w.npz"
    weights = {"W1": np.arange(6.0).reshape(3, 2), "B1": np.arange(2.0)}
    np.savez(path, **weights)
    path.write_bytes(cut_or_flipped(data, path.read_bytes()))
    found = outcome(lambda path: load_initial_weights(path, MODEL, members=1), path)
    if isinstance(found, str):
        assert str(path) in found
    else:  # what was hit is nothing that is read
        np.testing.assert_array_equal(found, [0, 1, 2, 3, 4, 5, 0, 1])


def test_weights_may_lie_in_either_order_and_any_real_type(tmp_path: Path) -> None:
    path = tmp_path / "w.npz"
    W = np.arange(6).reshape(3, 2)
    for W1 in (W, np.asfortranarray(W), W.astype(">f4"), W.astype(np.int8), W.astype(np.float16)):
        np.savez(path, W1=W1, B1=np.zeros(2), extra=np.zeros(3))
        found = load_initial_weights(path, MODEL, members=1)
        assert found.dtype == np.float64
        np.testing.assert_array_equal(found, [0, 1, 2, 3, 4, 5, 0, 0])


def _npz(path: Path, header: dict[str, object], payload: bytes = b"") -> None:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, header)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("W1.npy", file.getvalue() + payload)


def test_a_promise_of_more_than_there_is_costs_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "w.npz"
    header = {"descr": "<f8", "fortran_order": False, "shape": (3, 2)}
    for shape, payload in (((10**12,), b""), ((3, 2), b"\0" * 47), ((3, 2), b"\0" * 10**7)):
        _npz(path, {**header, "shape": shape}, payload)
        with at_most(2 * 10**6), pytest.raises(InputError, match="promises"):
            read_npz(path)
    _npz(path, {**header, "shape": (10**12,)})
    with pytest.raises(InputError, match="W1 has 128 bytes, its header promises"):
        load_initial_weights(path, MODEL, members=1)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple:
            return (Path.touch, (tmp_path / "it ran",))

    np.savez(tmp_path / "w.npz", W1=np.array([Bomb()], dtype=object))
    with pytest.raises(InputError, match="real numbers"):
        read_npz(tmp_path / "w.npz")
    assert not (tmp_path / "it ran").exists()
