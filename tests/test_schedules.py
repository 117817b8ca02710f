"""Learning-rate schedules, against PyTorch's and against their own formulas."""

import inspect
import math
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from xpmlp import InputError, OptimizerConfig, TrainConfig
from xpmlp.optimizers import OPTIMIZERS
from xpmlp.schedules import (
    SCHEDULES,
    Schedule,
    constant,
    cosine,
    cosine_log,
    exponential,
    factor_on_plateau,
    inverse_scaling,
    one_cycle,
    plateau,
    step,
    warm_up,
)
from xpmlp.training import History

TOTAL, PER_EPOCH = 60, 5
STEPS = np.arange(TOTAL)


def factors(schedule: Any, steps: np.ndarray = STEPS, total: int = TOTAL) -> np.ndarray:
    """The factors at steps of a run, all of it by default."""
    found = schedule(steps, total=total, steps_per_epoch=PER_EPOCH)
    assert isinstance(found, np.ndarray)
    assert found.dtype == "float64"
    assert found.shape == steps.shape
    return found


def torch_factors(torch: Any, make: Any, *, by_epoch: bool = False) -> list[float]:
    """What PyTorch multiplies a base rate of 1 by at every step."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler, found = make(torch.optim.lr_scheduler, optimizer), []
    for t in STEPS:
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if t + 1 < TOTAL and (not by_epoch or (t + 1) % PER_EPOCH == 0):
            scheduler.step()
    return found


@pytest.mark.oracle
@pytest.mark.parametrize(
    ("schedule", "by_epoch", "theirs"),
    [
        (constant(), False, lambda s, o: s.ConstantLR(o, factor=1.0)),
        (step(), True, lambda s, o: s.StepLR(o, 10)),
        (step(decay_every=3, decay_factor=0.5), True, lambda s, o: s.StepLR(o, 3, gamma=0.5)),
        (exponential(), True, lambda s, o: s.ExponentialLR(o, 0.95)),
        (exponential(decay_factor=0.7), True, lambda s, o: s.ExponentialLR(o, 0.7)),
        (cosine(), False, lambda s, o: s.CosineAnnealingLR(o, TOTAL)),
        (cosine(final_factor=0.1), False, lambda s, o: s.CosineAnnealingLR(o, TOTAL, eta_min=0.1)),
        (one_cycle(), False, lambda s, o: s.OneCycleLR(o, 1.0, total_steps=TOTAL)),
        (
            one_cycle(peak_at=0.51, initial_factor=0.1, final_factor=0.001),
            False,
            lambda s, o: s.OneCycleLR(
                o, 1.0, total_steps=TOTAL, pct_start=0.51, div_factor=10.0, final_div_factor=100.0
            ),
        ),
        (inverse_scaling(), False, lambda s, o: s.LambdaLR(o, lambda t: (t + 1) ** -0.5)),
        (
            warm_up(constant(), 7),
            False,
            lambda s, o: s.LinearLR(o, start_factor=1 / 7, total_iters=6),
        ),
        (
            warm_up(step(decay_every=1, decay_factor=0.5), 12),
            False,
            lambda s, o: s.ChainedScheduler(
                [s.LinearLR(o, start_factor=1 / 12, total_iters=11), s.StepLR(o, PER_EPOCH, 0.5)]
            ),
        ),
    ],
)
def test_schedules_are_pytorchs(schedule: Any, by_epoch: bool, theirs: Any, torch: Any) -> None:
    expected = torch_factors(torch, theirs, by_epoch=by_epoch)
    np.testing.assert_allclose(factors(schedule), expected, rtol=1e-12, atol=1e-15)


def test_cosine_log_is_the_papers_formula() -> None:
    expected = [
        0.5 * (1 - math.cos(2 * math.pi * math.log2(1 + 15 * t / TOTAL))) for t in range(TOTAL)
    ]
    np.testing.assert_allclose(factors(cosine_log()), expected, rtol=1e-12, atol=1e-12)
    # Each of its four waves ends where 1 + 15 t/T is a power of 2: T/15, 3T/15, 7T/15, T.
    np.testing.assert_allclose(factors(cosine_log())[[0, 4, 12, 28]], 0.0, atol=1e-12)


def test_a_block_of_steps_has_the_factors_of_the_whole_run() -> None:
    for make in SCHEDULES.values():
        schedule = warm_up(make(), 20)
        np.testing.assert_array_equal(
            factors(schedule, np.arange(13, 47)), factors(schedule)[13:47]
        )


@pytest.mark.parametrize("total", [1, 2, 3, 4, 10])
@pytest.mark.parametrize("name", SCHEDULES)
def test_short_runs_and_steps_past_the_end_have_factors(name: str, total: int) -> None:
    found = factors(SCHEDULES[name](), np.arange(total + 5), total)
    assert ((found >= 0.0) & (found <= 1.0)).all()
    if name in ("cosine", "cosine_log", "one_cycle"):
        np.testing.assert_allclose(found[total:], 4e-6 if name == "one_cycle" else 0.0, atol=1e-12)


def test_a_run_too_short_to_rise_begins_at_its_peak() -> None:
    assert factors(one_cycle(), np.arange(1), 1)[0] == 1.0
    assert factors(one_cycle(), np.arange(3), 3)[0] == 1.0


def test_options_have_names_that_no_optimizer_has() -> None:
    ours = {option for make in SCHEDULES.values() for option in inspect.signature(make).parameters}
    theirs = {one for make in OPTIMIZERS.values() for one in inspect.signature(make).parameters}
    assert ours == {
        "decay_every", "decay_factor", "final_factor", "peak_at", "initial_factor", "power",
        "plateau_patience", "plateau_factor",
    }  # fmt: skip
    assert not ours & theirs
    for name, make in SCHEDULES.items():
        assert make().name == name
        for parameter in inspect.signature(make).parameters.values():
            assert parameter.kind is parameter.KEYWORD_ONLY


@pytest.mark.parametrize("value", [-0.5, math.nan, math.inf, "0.1", True, None])
@pytest.mark.parametrize(
    ("name", "option"),
    [(name, option) for name, make in SCHEDULES.items()
     for option in inspect.signature(make).parameters],
)  # fmt: skip
def test_options_that_are_none_are_refused(name: str, option: str, value: Any) -> None:
    with pytest.raises(InputError, match=f"{option}={value}: give an? "):
        SCHEDULES[name](**{option: value})


@pytest.mark.parametrize(
    ("make", "options"),
    [
        (step, {"decay_every": 0}),
        (step, {"decay_every": 2.5}),
        (step, {"decay_factor": 0.0}),
        (one_cycle, {"peak_at": 0.0}),
        (one_cycle, {"peak_at": 1.0}),
    ],
)
def test_options_beyond_their_limits_are_refused(make: Any, options: dict[str, Any]) -> None:
    [(name, value)] = options.items()
    with pytest.raises(InputError, match=f"{name}={value}: give an? "):
        make(**options)


def test_no_steps_of_warm_up_are_refused() -> None:
    with pytest.raises(InputError, match="warm_up of 0 steps"):
        warm_up(constant(), 0)


@pytest.mark.oracle
@given(
    series=st.lists(
        st.floats(0.0, 2.0) | st.sampled_from([1.0, 0.9999, 0.99995, 0.5, math.inf, math.nan]),
        max_size=40,
    ),
    patience=st.integers(0, 5),
    factor=st.sampled_from([0.1, 0.5, 0.9]),
    threshold=st.sampled_from([0.0, 1e-4, 0.1]),
)
def test_plateau_is_pytorchs(
    series: list[float], patience: int, factor: float, threshold: float
) -> None:
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=factor, patience=patience, threshold=threshold, eps=0.0
    )
    for t, loss in enumerate(series):
        scheduler.step(loss)
        found = factor_on_plateau(
            series[: t + 1], patience=patience, factor=factor, threshold=threshold
        )
        assert found == optimizer.param_groups[0]["lr"]


def test_a_plateau_below_zero_is_one() -> None:
    """PyTorch takes every one of these for better than the one before."""
    assert factor_on_plateau([-1.0] * 4, patience=2, factor=0.1) == 0.1
    assert factor_on_plateau([-1.0, -1.1, -1.2, -1.3], patience=2, factor=0.1) == 1.0


@pytest.mark.parametrize(
    ("option", "value"),
    [("factor", 0.0), ("factor", 1.0), ("factor", math.nan), ("patience", -1), ("threshold", -0.1)],
)
def test_plateaus_that_are_none_are_refused(option: str, value: float) -> None:
    options: dict[str, Any] = {"patience": 3, "factor": 0.1} | {option: value}
    with pytest.raises(InputError, match=f"{option}={value}"):
        factor_on_plateau([1.0], **options)


def test_plateau_after_a_warm_up_reads_losses() -> None:
    schedule = warm_up(plateau(plateau_patience=0, plateau_factor=0.5), 1)
    config = TrainConfig(optimizer_config=OptimizerConfig(schedule=schedule), epochs=4)
    flat = History([np.float64(1.0)] * 6, [np.array(0.5)] * 3)
    np.testing.assert_allclose(config.lr_factors(3, flat, 2), 0.25)


def test_schedule_of_ones_own_may_have_any_name() -> None:
    halved = Schedule("constant", lambda times: np.full(times.step.shape, 0.5))
    assert not OptimizerConfig(schedule=halved).is_constant
