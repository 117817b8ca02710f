"""The answer first, then the time: competitors are checked, then timed in turns.

A wrong answer, a missing library and a broken one get a row and no time.
"""

import contextlib
import datetime
import logging
import math
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from benchmarks.competitors.competitor import (
    CEILING,
    PRODUCTS,
    Competitor,
    TakeTurn,
    Turn,
    Unavailable,
)
from benchmarks.machine import describe_machine, limited


class Task(Protocol):
    """The task of every competitor, and how an answer is judged.

    `given` is what `Competitor.start` gets, `count` the units of a turn, `unit` what one is
    called, `tolerances` the largest difference allowed for each precision.
    """

    given: Any
    count: int
    unit: str
    tolerances: Mapping[str, float]

    def difference(self, turn: Turn) -> float:
        """How far the answer is from the oracle's; infinite where it is no answer at all."""

    def describe(self) -> dict[str, Any]:
        """What a record says of the task."""


@dataclass
class Row:
    """The result of one competitor.

    `status` is "timed", "WRONG" (its answer differs: no time is taken), "not installed",
    "unavailable" or "failed", with `cause` in words. `difference` is that of its answer, None
    where it has none; `microseconds` one figure a round, of one unit; `notes` what it said of
    itself and the messages that xpmlp logged, a fallback for example. `share_of_ceiling` is the
    square product's time over this one's. `seconds_until_ready` is what the start and the checked
    turn took: imports, copies to the device, compilation.
    """

    name: str
    device: str
    precision: str
    includes: str
    status: str = "timed"
    cause: str = ""
    difference: float | None = None
    tolerance: float | None = None
    microseconds: list[float] = field(default_factory=list)
    median: float | None = None
    quartiles: tuple[float, float] | None = None
    ratio_to_products: float | None = None
    share_of_ceiling: float | None = None
    seconds_until_ready: float = 0.0
    notes: list[str] = field(default_factory=list)


def measure(
    task: Task,
    competitors: Sequence[Competitor],
    *,
    rounds: int,
    threads: int | None,
    patience: float = math.inf,
) -> dict[str, Any]:
    """Check every competitor, time those that are right, and return the whole record.

    A round is a turn of each, and each round begins with another one. `threads` hold BLAS and
    torch; None leaves them their own choice. Whoever takes more than `patience` times the time of
    the quickest while being checked keeps that one time, and a note says so.
    """
    begun = datetime.datetime.now(datetime.UTC)
    rows = [Row(*competitor[:4]) for competitor in competitors]
    ready = {
        index: take_turn
        for index, competitor in enumerate(competitors)
        if (take_turn := _start(competitor, task.given, rows[index])) is not None
    }
    with limited(threads) as pinned:
        checked = {index: _check(ready[index], task, rows[index]) for index in ready}
        seconds = {index: turn.seconds for index, turn in checked.items() if turn is not None}
        order = []
        for index, taken in seconds.items():
            if taken <= patience * min(seconds.values()):
                order.append(index)
            else:
                rows[index].microseconds.append(taken * 1e6)
                rows[index].notes.append(f"one turn only: over {patience:g} times the quickest")
        for _ in range(rounds):
            for index in order:
                turn = ready[index](task.count)
                rows[index].microseconds.append(turn.seconds * 1e6)
                _remember(turn.note, rows[index])
            order = [*order[1:], *order[:1]]
    _summarise(rows)
    return {
        "begun": begun.isoformat(timespec="seconds"),
        **task.describe(),
        "unit": task.unit,
        "count_per_turn": task.count,
        "rounds": rounds,
        "threads": pinned,
        "machine": describe_machine(),
        "rows": [asdict(row) for row in rows],
    }


def _start(competitor: Competitor, given: Any, row: Row) -> TakeTurn | None:
    try:
        with _listening(row):
            return competitor.start(given)
    except ModuleNotFoundError as error:
        row.status, row.cause = "not installed", str(error)
    except Unavailable as error:
        row.status, row.cause = "unavailable", str(error)
    except Exception as error:  # one broken library leaves the others their turn
        row.status, row.cause = "failed", f"{type(error).__name__}: {error}"
    return None


def _check(take_turn: TakeTurn, task: Task, row: Row) -> Turn | None:
    """A turn whose answer is right, or None; it warms the competitor up as well."""
    try:
        with _listening(row):
            turn = take_turn(task.count)
    except Exception as error:
        row.status, row.cause = "failed", f"{type(error).__name__}: {error}"
        return None
    if turn.answer is None:
        return turn
    row.tolerance = task.tolerances[row.precision]
    difference = task.difference(turn)
    row.difference = difference if math.isfinite(difference) else None
    if difference <= row.tolerance:
        return turn
    row.status = "WRONG"
    row.cause = f"its answer differs by {difference:.1e} from the oracle's, not {row.tolerance:g}"
    return None


def _remember(note: str, row: Row) -> None:
    if note and note not in row.notes:
        row.notes.append(note)


@contextlib.contextmanager
def _listening(row: Row) -> Iterator[None]:
    """What xpmlp logs meanwhile becomes notes of the row; the time counts until it is ready."""

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            _remember(record.getMessage(), row)

    listener, logger = Listener(logging.INFO), logging.getLogger("xpmlp")
    level, began = logger.level, time.perf_counter()
    logger.addHandler(listener)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        row.seconds_until_ready += time.perf_counter() - began
        logger.setLevel(level)
        logger.removeHandler(listener)


def _summarise(rows: Sequence[Row]) -> None:
    """Medians, and their ratios to the yardsticks of the same device and precision."""
    yardsticks: dict[tuple[str, str, str], float] = {}
    for row in rows:
        if row.microseconds:
            row.median = statistics.median(row.microseconds)
            if len(row.microseconds) > 1:
                low, _, high = statistics.quantiles(row.microseconds, n=4, method="inclusive")
                row.quartiles = (low, high)
            yardsticks[row.name, row.device, row.precision] = row.median
    for row in rows:
        if row.median is not None:
            products = yardsticks.get((PRODUCTS, row.device, row.precision))
            ceiling = yardsticks.get((CEILING, row.device, row.precision))
            row.ratio_to_products = row.median / products if products else None
            row.share_of_ceiling = ceiling / row.median if ceiling else None
