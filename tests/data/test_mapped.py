"""Rows in a file: shuffled by blocks, read by blocks, and trained on as rows in memory are."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.callbacks import StopAt
from xpmlp import MLP, Split, Trainer, evaluate
from xpmlp.data import MappedRows, check_split, dataset_of, hold_out, mapped, order
from xpmlp.data.mapped import order_by_blocks
from xpmlp.errors import InputError
from xpmlp.randomness import generator
from xpmlp.training import loaders, train

pytestmark = pytest.mark.extended(keep=6)

COUNT, VALUES = 1003, 6


@pytest.fixture
def content() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (COUNT, VALUES), dtype=np.uint8)


@pytest.fixture
def labels() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 3, COUNT)


@pytest.fixture(autouse=True)
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapped, "LARGE", 1000)
    monkeypatch.setattr(mapped, "ROW_BLOCK", 16 * VALUES)
    monkeypatch.setattr(mapped, "BLOCK_GROUP", 4)
    monkeypatch.setattr(mapped, "COPIED_AT_ONCE", 5 * VALUES)
    monkeypatch.setattr(loaders, "MAPPED_BLOCK_BYTES", 64 * (VALUES + 8))


@pytest.fixture
def file(tmp_path: Path, content: np.ndarray) -> np.memmap:
    np.save(tmp_path / "X.npy", content)
    return np.load(tmp_path / "X.npy", mmap_mode="r")


def test_large_rows_stay_in_their_file(file, content, labels) -> None:
    X, _ = check_split(file, labels, where="here")
    assert isinstance(X, MappedRows)
    assert (X.shape, X.dtype, len(X)) == ((COUNT, VALUES), np.uint8, COUNT)
    assert (X.nbytes, X.size) == (content.nbytes, content.size)
    small, _ = check_split(file[:100], labels[:100], where="here")
    assert isinstance(small, np.ndarray)
    in_memory, _ = check_split(content, labels, where="here")
    assert in_memory is content or in_memory.base is content


def test_images_are_flattened_in_their_file(tmp_path: Path) -> None:
    images = np.lib.format.open_memmap(tmp_path / "X.npy", "w+", np.uint8, (100, 4, 5))
    images[7] = 3
    X, _ = check_split(images, np.zeros(100, np.int64), where="here")
    assert isinstance(X, MappedRows)
    assert X.shape == (100, 20)
    assert X[7:8].tolist() == [[3] * 20]


def test_rows_are_read_by_number(file: np.memmap, content: np.ndarray) -> None:
    X = MappedRows(file)
    some = np.array([5, 1000, 3, 5, 0])
    np.testing.assert_array_equal(X[some], content[some])
    np.testing.assert_array_equal(X[998:2000], content[998:])
    out = np.zeros((5, VALUES), np.uint8)
    assert X.take(some, out=out) is out
    np.testing.assert_array_equal(out, content[some])
    np.testing.assert_array_equal(np.concatenate(list(X.pieces())), content)
    even = X.select(np.arange(0, COUNT, 2))
    assert isinstance(even, MappedRows)
    np.testing.assert_array_equal(even[:], content[::2])
    np.testing.assert_array_equal(even[np.array([9, 1])], content[[18, 2]])
    few = even.select(np.array([0, 3]))
    np.testing.assert_array_equal(few, content[[0, 6]])


@settings(max_examples=100, deadline=None, derandomize=True)
@given(n=st.integers(1, 300), rows=st.integers(1, 40), group=st.integers(1, 9))
def test_an_order_by_blocks_has_every_row_once(n: int, rows: int, group: int) -> None:
    found = order_by_blocks(n, (rows, group), generator(0, 1))
    assert found.dtype == np.int64
    np.testing.assert_array_equal(np.sort(found), np.arange(n))
    # These rows are of two groups at most: a smaller last block may have moved all behind it.
    for start in range(0, n, rows * group):
        assert len(np.unique(found[start : start + rows * group] // rows)) <= 2 * group


def test_an_order_is_a_function_of_seed_and_epoch() -> None:
    def of(**keywords: int) -> list[int]:
        chosen = {"seed": 0, "epoch": 0} | keywords
        return order(COUNT, shuffle=True, blocks=(16, 4), **chosen).tolist()

    assert of() == of()
    assert len({tuple(one) for one in (of(), of(seed=1), of(epoch=1), of(epoch=2))}) == 4
    assert order(5, seed=0, epoch=0, shuffle=False, blocks=(2, 2)).tolist() == [0, 1, 2, 3, 4]


MODEL = MLP((VALUES, 5, 3))
SETTINGS = {"epochs": 3, "batch_size": 8, "shuffle": True, "learning_rate": 0.1}


@pytest.mark.parametrize("drop_last", [True, False])
def test_training_is_that_of_the_same_rows_in_memory(
    file: np.memmap, content: np.ndarray, labels: np.ndarray, drop_last: bool
) -> None:
    run = train(MODEL, Split(file, labels), drop_last=drop_last, **SETTINGS)
    assert isinstance(run.split.X, MappedRows)
    assert isinstance(run.loader(), loaders.StreamingLoader)
    held = Trainer(
        MODEL, Split(content, labels), parameters=MODEL.initialize(0, dtype="float32"),
        optimizer_config=run.optimizer_config, backend=run.backend,
        epochs=3, batch_size=8, seed=0, shuffle=True,
        drop_last=drop_last, orders=lambda epoch: order(
            COUNT, seed=0, epoch=epoch, shuffle=True, blocks=MappedRows(file).blocks
        ),
    ).run()  # fmt: skip
    np.testing.assert_array_equal(run.history.loss, held.history.loss)
    np.testing.assert_array_equal(run.parameters, held.parameters)
    one = evaluate(MODEL, run.parameters, Split(file, labels))
    other = evaluate(MODEL, run.parameters, Split(content, labels))
    assert float(one.loss) == float(other.loss)


@pytest.mark.extended
def test_a_resumed_run_goes_on_in_the_same_order(file: np.memmap, labels: np.ndarray) -> None:
    whole = train(MODEL, Split(file, labels), **SETTINGS)
    stopped = train(MODEL, Split(file, labels), callbacks=[StopAt(150)], **SETTINGS)
    snapshot = stopped.snapshot()
    assert (snapshot.epoch, snapshot.step) == (1, 25)
    begun = train(MODEL, Split(file, labels), **SETTINGS | {"epochs": 0})
    begun.extend(3)
    begun.restore(snapshot)
    begun.run()
    np.testing.assert_array_equal(whole.parameters, begun.parameters)


def test_rows_may_lie_on_a_device_with_room_for_them(file: np.memmap, labels: np.ndarray) -> None:
    run = train(MODEL, Split(file, labels), **SETTINGS)
    total = run.split.X.nbytes + run.split.labels.nbytes
    keywords = {"batch_size": 8, "fixed": run.fixed, "backend": run.backend}
    resident = loaders.make_loader(run.split, limit=2 * total, **keywords)
    assert isinstance(resident, loaders.DeviceLoader)
    (segment,) = resident.epoch(run.epoch_plan())
    np.testing.assert_array_equal(segment.data.X, np.asarray(file))
    assert isinstance(
        loaders.make_loader(run.split, limit=2 * total - 1, **keywords), loaders.StreamingLoader
    )


def test_rows_are_held_out_as_they_are_in_memory(file, content, labels) -> None:
    parts = hold_out(Split(file, labels), 0.1, seed=0)
    wanted = hold_out(Split(content, labels), 0.1, seed=0)
    assert isinstance(parts[0].X, MappedRows)
    assert isinstance(parts[1].X, np.ndarray)
    for part, other in zip(parts, wanted, strict=True):
        np.testing.assert_array_equal(part.X[:], other.X)
        np.testing.assert_array_equal(part.labels, other.labels)


def test_an_infinite_value_is_found_by_its_row(tmp_path: Path, labels: np.ndarray) -> None:
    np.save(tmp_path / "X.npy", np.ones((COUNT, VALUES), np.float32))
    X = np.load(tmp_path / "X.npy", mmap_mode="r+")
    check_split(X, labels, where="here")
    X[777, 2], X[900, 1] = np.nan, np.inf
    with pytest.raises(InputError, match="are NaN or infinite, the first in row 777; remove"):
        check_split(X, labels, where="here")


@pytest.mark.parametrize("kind", ["big-endian", "Fortran"])
def test_mapped_rows_that_would_be_copied_are_refused(tmp_path, content, labels, kind: str) -> None:
    wide = content.astype(">i4") if kind == "big-endian" else np.asfortranarray(content)
    np.save(tmp_path / "X.npy", wide)
    X = np.load(tmp_path / "X.npy", mmap_mode="r")
    with pytest.raises(InputError, match="too large to be put in order in memory; save it row"):
        check_split(X, labels, where="here")
    with pytest.raises(InputError, match="too large"):
        dataset_of("any", train=(X, labels), test=(X, labels))


def test_members_with_rows_of_their_own_need_them_in_memory(file, labels) -> None:
    rows = np.stack([np.arange(500), np.arange(500, 1000)])
    with pytest.raises(InputError, match="need all of them there"):
        train(MLP((VALUES, 3)), Split(file, labels), rows=rows, seed=[0, 1], **SETTINGS)


PROGRAM = """
import resource, sys
import numpy as np
from xpmlp import MLP, Split, select_backend
from xpmlp.training import train
from xpmlp.data import mapped
from xpmlp.training import loaders

mapped.LARGE, mapped.ROW_BLOCK, loaders.MAPPED_BLOCK_BYTES = 1 << 20, 1 << 18, 8 << 20
X = np.load(sys.argv[1], mmap_mode="r")
model = MLP((784, 4))
parameters = model.initialize(0, dtype="float32")
resource.setrlimit(resource.RLIMIT_DATA, (int(sys.argv[2]) << 20,) * 2)
labels = np.zeros(len(X), np.int64)
run = train(model, Split(X, labels), epochs=1, batch_size=256, shuffle=True, threads=1,
            backend=select_backend("numpy"))
print(run.iteration)
"""


@pytest.mark.extended
@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are Linux's")
def test_a_file_larger_than_memory(tmp_path: Path) -> None:
    """1.2 GB of float32 rows (a sparse file) in a process that may have 800 MB of its own."""
    count = 400_000
    X = np.lib.format.open_memmap(tmp_path / "X.npy", "w+", np.float32, (count, 784))
    del X
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "X.npy"), "800"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == str(count // 256), done.stderr
