"""How fast a run goes: how many steps between two looks at it, and when it has become slow."""

SHORTEST_TICK, LONGEST_TICK = 1, 1024
"""Steps of a tick, a power of two between these."""

LONGEST_TICK_SECONDS = 0.1
"""Seconds that a tick should take at most: a progress bar moves and Ctrl-C is heard."""

FIRST_TICK = 64
"""Steps of the first tick, when nothing is known yet."""

SLOW_TICK_FACTOR = 2.0
"""How many times slower than expected steps must be for the threads to be looked at again."""

SECONDS_BETWEEN_TUNINGS = 5.0
"""Seconds after which a choice of threads is looked at again even so: a machine that was busy
when a run began may be idle now."""


class TickTimer:
    """Measures ticks; says how long the next one should be and when to look at the threads again.

    What is computed does not depend on it.
    """

    def __init__(self) -> None:
        self.tick = FIRST_TICK
        self._timed: set[int] = set()
        self._best: float | None = None
        self._since_choice = 0.0

    def measure(self, steps: int, seconds: float) -> None:
        """A tick is done."""
        self._since_choice += seconds
        if steps in self._timed:  # the first of its length may have compiled
            self.tick = tick_length(seconds / steps)
            self._best = min(seconds / steps, self._best or seconds / steps)
        self._last = seconds / steps
        self._timed.add(steps)

    @property
    def asks_for_threads(self) -> bool:
        """Whether steps have become much slower than they were, or some time has passed."""
        is_slow = self._best is not None and self._last > SLOW_TICK_FACTOR * self._best
        return is_slow or self._since_choice > SECONDS_BETWEEN_TUNINGS

    def reset_baseline(self) -> None:
        """Reset the baseline after re-tuning the thread count."""
        self._best, self._since_choice = None, 0.0


def tick_length(seconds_per_step: float) -> int:
    """The longest tick, in steps, that takes no longer than `LONGEST_TICK_SECONDS`."""
    length = LONGEST_TICK
    while length > SHORTEST_TICK and length * seconds_per_step > LONGEST_TICK_SECONDS:
        length //= 2
    return length
