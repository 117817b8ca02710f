"""The pace of a run: tick lengths, and when threads are looked at again."""

from xpmlp.training.ticks import (
    FIRST_TICK,
    LONGEST_TICK,
    SECONDS_BETWEEN_TUNINGS,
    TickTimer,
    tick_length,
)


def test_a_tick_is_as_long_as_it_may_be_and_recovers_when_the_machine_does() -> None:
    seconds = (1e-6, 1e-3, 0.02, 0.09, 0.3, 100.0, 1e-6)
    assert [tick_length(each) for each in seconds] == [LONGEST_TICK, 64, 4, 1, 1, 1, LONGEST_TICK]


def test_first_tick_of_a_length_may_compile_and_is_not_counted() -> None:
    pace = TickTimer()
    pace.measure(FIRST_TICK, 30.0)
    assert pace.tick == FIRST_TICK
    pace.measure(FIRST_TICK, FIRST_TICK * 1e-3)
    assert pace.tick == 64


def test_threads_are_looked_at_again_when_steps_become_slow() -> None:
    pace = TickTimer()
    for _ in range(3):
        pace.measure(64, 64e-3)
        assert not pace.asks_for_threads
    pace.measure(64, 64e-3 * 2.5)
    assert pace.asks_for_threads
    pace.reset_baseline()
    assert not pace.asks_for_threads
    pace.measure(64, 64e-3 * 2.5)
    assert not pace.asks_for_threads


def test_threads_are_looked_at_again_after_some_time() -> None:
    pace = TickTimer()
    steps = 0
    while not pace.asks_for_threads:
        pace.measure(64, 0.5)
        steps += 1
    assert steps == int(SECONDS_BETWEEN_TUNINGS / 0.5) + 1
