"""Dropout: the hash, its independence, the same bits everywhere, and what it does to A."""

from typing import Any

import numpy as np
import pytest

from tests.compiler.scheduled import Scheduled
from xpmlp.algebra.dropout import dropout, dropout_backward, dropout_key, random_bits
from xpmlp.backends import Backend
from xpmlp.compiler import Interpreter, record

pytestmark = pytest.mark.extended(keep=11)


def lowbias32(x: int) -> int:
    """As published, in C's unsigned arithmetic."""
    mask = 2**32 - 1
    x ^= x >> 16
    x = x * 0x7FEB352D & mask
    x ^= x >> 15
    x = x * 0x846CA68B & mask
    return x ^ (x >> 16)


def key_of(seed: int = 1, step: int = 0, layer: int = 1) -> np.ndarray:
    return dropout_key(np.array([seed], np.int32), np.array([step]), layer, xp=np)


def masks(
    key: np.ndarray, rate: Any = 0.5, *, N: int = 128, units: int = 256, xp: Any = np
) -> np.ndarray:
    """The masks as they are used: rows and units by number."""
    A = np.ones((N, units), np.float32)
    return dropout(A, np.arange(N), np.arange(units), key, rate, xp=xp).mask


def test_hash_is_the_published_one() -> None:
    random = np.random.default_rng(0)
    limits = [0, 1, -1, 2**31 - 1, -(2**31)]
    counter = np.array([*limits, *random.integers(-(2**31), 2**31, 1000)], np.int32)
    found = random_bits(counter, xp=np).view(np.uint32)
    assert found.tolist() == [lowbias32(int(x) % 2**32) for x in counter]


def test_one_bit_of_the_counter_changes_half_of_the_result() -> None:
    counter = np.random.default_rng(0).integers(-(2**31), 2**31, 50_000).astype(np.int32)
    bits = random_bits(counter, xp=np).view(np.uint32)
    for place in range(32):
        flipped = counter ^ np.array([1 << place], np.uint32).view(np.int32)
        changed = bits ^ random_bits(flipped, xp=np).view(np.uint32)
        share = [np.mean(changed >> np.uint32(of) & np.uint32(1)) for of in range(32)]
        np.testing.assert_allclose(share, 0.5, atol=0.015)  # 6.7 deviations of a fair coin


def test_different_counters_have_different_results() -> None:
    found = random_bits(np.arange(1_000_000, dtype=np.int32), xp=np)
    assert np.unique(found).size == found.size
    counts = np.bincount(found.view(np.uint32) >> 24, minlength=256)
    deviations = (counts - counts.mean()) / np.sqrt(counts.mean())
    assert np.sum(deviations**2) < 255 + 6 * np.sqrt(2 * 255)  # χ² with 255 degrees of freedom


@pytest.mark.parametrize("rate", [0.01, 0.2, 0.5, 0.77, 0.99])
def test_share_of_zeros_is_the_rate(rate: float) -> None:
    dropped = np.stack([masks(key_of(step=step), rate) == 0 for step in range(64)])
    deviation = np.sqrt(rate * (1 - rate))
    for axes in ((0, 1, 2), (0, 1), (0, 2), (1, 2)):  # of all; units; rows; steps
        share = dropped.mean(axis=axes)
        number = dropped.size / share.size
        assert np.abs(share - rate).max() < 5 * deviation / np.sqrt(number)
        if share.ndim:  # and the shares scatter as those of independent draws do
            scatter = share.std() / (deviation / np.sqrt(number))
            assert abs(scatter - 1) < 4 / np.sqrt(2 * share.size)


def largest_correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Times the root of how many: about normal if the two are independent."""
    signs = (np.where(array.ravel() == 0, -1.0, 1.0) for array in (one, other))
    first, second = signs
    return abs(float(first @ second)) / np.sqrt(first.size)


@pytest.mark.parametrize("vary", ["seed", "step", "layer"])
def test_steps_layers_and_seeds_are_independent(vary: str) -> None:
    numbers = [1, 2, 3, 4, 7, 8, 64, 1000, 65_536, 1_000_003]
    drawn = [masks(key_of(**{vary: number})) for number in numbers]
    found = [
        largest_correlation(one, other)
        for position, one in enumerate(drawn)
        for other in drawn[:position]
    ]
    assert max(found) < 4.5  # of 45 draws


def test_a_layer_s_units_are_not_those_of_another_in_another_order() -> None:
    """Layer 1's unit 2 is not layer 2's unit 1, though the same number multiplies 1 and 2."""
    drawn = [masks(key_of(layer=layer), N=400, units=6) for layer in range(6)]
    found = [
        largest_correlation(drawn[a][:, b], drawn[b][:, a]) for a in range(6) for b in range(a)
    ]
    assert max(found) < 4.5


def test_a_seed_s_next_step_is_not_the_next_seed_s() -> None:
    keys = {
        int(key_of(seed, step, layer)[0])
        for seed in range(20)
        for step in range(50)
        for layer in range(5)
    }
    assert len(keys) == 20 * 50 * 5


def test_rows_and_units_are_independent() -> None:
    signs = np.where(masks(key_of(), N=256, units=256) == 0, -1.0, 1.0)
    for array in (signs, signs.T):
        correlations = array @ array.T / 16
        np.fill_diagonal(correlations, 0)
        assert np.abs(correlations).max() < 6  # of 32,640 pairs
        assert abs(correlations.std() - 1) < 0.02
    for shift in (1, 2, 3, 16, 64):  # no diagonal stripes either
        for direction in (1, -1):
            moved = np.roll(signs, (shift, direction * shift), axis=(0, 1))
            assert largest_correlation(signs > 0, moved > 0) < 4.5


def test_three_neighbours_are_no_parity() -> None:
    """What a hash that is linear in its counter would show, and pairs would not."""
    signs = np.where(masks(key_of(), N=512, units=512) == 0, -1.0, 1.0)
    square = signs[1:, 1:] * signs[:-1, 1:] * signs[1:, :-1] * signs[:-1, :-1]
    assert abs(square.sum()) / np.sqrt(square.size) < 4.5
    for of in (signs, signs.T):
        triple = of[2:] * of[1:-1] * of[:-2]
        assert abs(triple.sum()) / np.sqrt(triple.size) < 4.5


def step_of(xp: Any, A: Any, positions: Any, columns: Any, seed: Any, step: Any, rate: Any) -> Any:
    key = dropout_key(seed, step, 2, xp=xp)
    return (
        random_bits(seed, xp=xp),
        key,
        *dropout(A, positions, columns, key, 0.3, xp=xp),
        dropout(A, positions, columns, key, rate, xp=xp).mask,
    )


def inputs(dtype: str, members: int) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    shape = (members,) if members else ()
    seeds = random.integers(-(2**31), 2**31, max(1, members)).astype(np.int32)
    rate = np.linspace(0.1, 0.9, max(1, members)).astype(dtype)
    return [
        random.normal(size=(*shape, 9, 40)).astype(dtype),
        np.arange(9),
        np.arange(40, dtype=np.int32),
        seeds[:, None, None] if members else seeds,
        np.array([3_000_000_123]),
        rate[:, None, None] if members else rate,
    ]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("members", [0, 3])
def test_every_backend_draws_the_same_bits(backend: Backend, dtype: str, members: int) -> None:
    given = inputs(dtype, members)
    given[4] = np.array([70_123])  # JAX has no integers of 64 bits unless asked for
    found = step_of(backend.xp, *(backend.asarray(array) for array in given))
    for ours, theirs in zip(found, step_of(np, *given), strict=True):
        host = backend.to_numpy(ours)
        assert host.dtype == theirs.dtype
        np.testing.assert_array_equal(host, theirs)


@pytest.mark.extended(keep=3)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("members", [0, 3])
@pytest.mark.parametrize("machine", ["interpreter", "c", "cuda"])
def test_a_program_draws_the_same_bits(dtype: str, members: int, machine: str, tmp_path) -> None:
    given = tuple(inputs(dtype, members))

    def make(*, xp: Any) -> Any:
        return lambda state, data: (state, tuple(step_of(xp, *data)))

    program = record(make, (), given)
    runs = (
        Interpreter(program) if machine == "interpreter" else Scheduled(program, tmp_path, machine)
    )
    for ours, theirs in zip(runs.run((), given, 1)[1], step_of(np, *given), strict=True):
        assert ours.dtype == theirs.dtype
        if machine == "interpreter" or ours.dtype == np.int32:
            np.testing.assert_array_equal(ours[0], theirs)
        else:
            np.testing.assert_array_equal(ours[0] == 0, theirs == 0)
            np.testing.assert_allclose(ours[0], theirs, rtol=2 * np.finfo(dtype).eps)


def test_kept_units_and_their_gradients_are_scaled_up() -> None:
    random = np.random.default_rng(0)
    A, dA = random.normal(size=(50, 60)), random.normal(size=(50, 60))
    A_after, mask = dropout(A, np.arange(50), np.arange(60), key_of(), 0.2, xp=np)
    assert set(np.unique(mask)) == {0.0, 1.25}
    np.testing.assert_array_equal(A_after, A * mask)
    # dropout is linear in A, so that its change is exact, not a limit
    Direction = random.normal(size=(50, 60))
    change = dropout(Direction, np.arange(50), np.arange(60), key_of(), 0.2, xp=np).A
    np.testing.assert_allclose(
        np.sum(dropout_backward(dA, mask, xp=np) * Direction), np.sum(dA * change), rtol=1e-12
    )


def test_mean_over_steps_is_the_array() -> None:
    A = np.linspace(1, 2, 12).reshape(3, 4)
    found = [
        dropout(A, np.arange(3), np.arange(4), key_of(step=step), 0.4, xp=np).A
        for step in range(4000)
    ]
    np.testing.assert_allclose(np.mean(found, axis=0), A, rtol=5 * np.sqrt(0.4 / 0.6 / 4000))


def test_a_rate_of_zero_keeps_all_and_more_drops_more() -> None:
    assert (masks(key_of(), 0.0) == 1).all()
    assert (masks(key_of(), np.zeros((1, 1), np.float32)) == 1).all()
    before = np.zeros((128, 256), bool)
    for rate in (0.1, 0.5, 0.9, 0.999):
        dropped = masks(key_of(), rate) == 0
        assert (dropped >= before).all()
        before = dropped
    assert np.isfinite(masks(key_of(), 1 - 2**-24)).all()


def test_members_are_the_single_networks() -> None:
    """Those of a batch that all share, too; each with a rate of its own."""
    seeds, rates = np.array([3, 4, -5], np.int32), np.array([0.1, 0.5, 0.7])
    positions, columns, step = np.arange(6), np.arange(8), np.array([11])
    keys = dropout_key(seeds[:, None, None], step, 1, xp=np)
    shared = np.random.default_rng(0).normal(size=(6, 8))
    for A in (np.random.default_rng(1).normal(size=(3, 6, 8)), shared):
        found = dropout(A, positions, columns, keys, rates[:, None, None], xp=np)
        for e in range(3):
            key = dropout_key(seeds[e : e + 1], step, 1, xp=np)
            own = A if A.ndim == 2 else A[e]
            alone = dropout(own, positions, columns, key, float(rates[e]), xp=np)
            for ours, theirs in zip(found, alone, strict=True):
                assert ours.shape == (3, 6, 8)
                np.testing.assert_array_equal(ours[e], theirs)
    assert largest_correlation(*masks(keys)[:2]) < 4.5


def test_a_layer_s_first_units_and_rows_do_not_depend_on_how_many_there_are() -> None:
    whole = masks(key_of(), N=100, units=300)
    np.testing.assert_array_equal(masks(key_of(), N=70, units=200), whole[:70, :200])


def test_numbers_of_any_rank_and_width_will_do(backend: Backend) -> None:
    """And NumPy does not warn of scalars that wrap around: warnings are errors here."""
    xp = backend.xp
    A = backend.asarray(np.ones((4, 5), np.float32))
    wanted = masks(key_of(2**31 - 1, 2**31 - 2, 9), 0.25, N=4, units=5)
    for kind in ("int32", "int64"):
        for shape in ((), (1,)):
            seed = backend.asarray(np.full(shape, 2**31 - 1, np.int32))
            step = backend.asarray(np.full(shape, 2**31 - 2, kind))
            positions, columns = (backend.asarray(np.arange(n).astype(kind)) for n in (4, 5))
            key = dropout_key(seed, step, 9, xp=xp)
            assert key.shape == (1,)
            for one in (key, xp.reshape(key, ())):
                found = dropout(A, positions, columns, one, 0.25, xp=xp)
                np.testing.assert_array_equal(backend.to_numpy(found.mask), wanted)
