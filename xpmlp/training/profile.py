"""Where a step's time goes, layer by layer: the steps of a run, with a stopwatch between phases.

Neither the algebra nor the step knows of it: the step is traced, and what runs its operations is
asked to say when it comes from one phase to the next.
"""

import contextlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from xpmlp.backends import Backend, StepMetrics
from xpmlp.backends.base import Runner, Step
from xpmlp.compiler import Program, leaves, record
from xpmlp.compiler.scopes import Phase
from xpmlp.training.engine import Engine
from xpmlp.training.loaders import Chunk
from xpmlp.training.state import copied
from xpmlp.training.ticks import tick_length
from xpmlp.training.trainer import Trainer
from xpmlp.typing import Namespace

Clock = Callable[[], float]

SECONDS, TURNS = 1.2, 3
"""For how long, and how many times at least, steps are timed: in phases, whole, and in turns with
the product that is the ceiling."""

SIDE, SIDE_ON_GPU = 1024, 8192
"""Rows and columns of that product: large enough to be at its best."""

BETWEEN = Phase(None, "between two steps")


class Timing(NamedTuple):
    """Seconds that a phase takes, the median over steps, and floating-point operations of its
    products; what is elementwise is not counted."""

    phase: Phase
    seconds: float
    flops: int


@dataclass(frozen=True)
class Profile:
    """The phases of a step in their order, and what they are compared with.

    `step` has the seconds of a whole step as the run does it, and `how` says how that is;
    `is_apart` that it is otherwise than in the phases, which were run one by one. `ceiling` is the
    best speed, in FLOP/s, that a product of two square matrices of `side` rows had meanwhile.
    """

    timings: tuple[Timing, ...]
    step: float
    ceiling: float
    side: int
    how: str
    is_apart: bool

    @property
    def seconds(self) -> float:
        """All phases together."""
        return sum(timing.seconds for timing in self.timings)

    @property
    def flops(self) -> int:
        """Those of all products of a step."""
        return sum(timing.flops for timing in self.timings)


class Stopwatch:
    """The seconds of every part of a step, each time it was run."""

    def __init__(self, parts: int, clock: Clock) -> None:
        self.taken: list[list[float]] = [[] for _ in range(parts)]
        self._clock = clock
        self._running: tuple[int, float] | None = None

    def lap(self, part: int) -> None:
        """This part begins, and the one before it has ended."""
        now = self._clock()
        if self._running is not None:
            before, since = self._running
            self.taken[before].append(now - since)
        self._running = part, now

    def stop(self) -> None:
        """What has begun last is not timed."""
        self._running = None

    def clear(self) -> None:
        """Forget all that was timed."""
        self.stop()
        for times in self.taken:
            times.clear()


def profile(training: Trainer, *, clock: Clock = time.perf_counter) -> Profile:
    """Time steps like those that a run is about to make; the run is not changed.

    It takes a second or two for a small network. What is compiled is compiled for this alone.
    Raises `Untraceable` for a step that no program can hold.
    """
    backend = training.backend
    with (
        backend.activate(),
        backend.threads(training.threads.number),
        contextlib.closing(training.loader().epoch(training.epoch_plan())) as chunks,
    ):
        return _profile(training, next(chunks), clock)


def _profile(training: Trainer, chunk: Chunk, clock: Clock) -> Profile:
    backend, precision = training.backend, training.engine.precision
    state = training.state._replace(offset=chunk.offset)
    maker = training.step_maker
    engine = Engine(backend, maker, precision=precision, compile=training.engine.mode)
    engine.start(state, chunk.data, steps=chunk.steps)

    program = record(maker, state, chunk.data)
    phases = [operation.phase for operation in program.operations]
    starts = [k for k, phase in enumerate(phases) if k == 0 or phase != phases[k - 1]]
    stopwatch = Stopwatch(len(starts) + 1, clock)
    in_phases = backend.timed(program, starts, stopwatch.lap, precision=precision)
    side = SIDE if backend.device_name == "cpu" else SIDE_ON_GPU
    multiply = _product(backend, side, dtype=program.state[0].dtype, precision=precision)

    def seconds(runner: Runner, count: int) -> float:
        """Of a step, in a run of so many."""
        copy = copied(state, backend=backend)
        backend.synchronize(leaves(copy))
        began = clock()
        _, metrics = runner(copy, chunk.data, count)
        backend.to_numpy(metrics.loss)  # waits
        stopwatch.stop()
        return (clock() - began) / count

    count = 1
    for _ in range(2):  # the first time something may be compiled
        multiply(clock)
        seconds(in_phases, 1)
        count = min(chunk.steps, tick_length(4 * seconds(engine.run, count)))
    seconds(engine.run, count)
    stopwatch.clear()

    steps, products = list[float](), list[float]()
    began = clock()
    while len(steps) < TURNS or clock() - began < SECONDS:
        seconds(in_phases, count)
        steps.append(seconds(engine.run, count))
        products += [multiply(clock), multiply(clock)]  # the second with warm caches
    parts = [*(phases[start] for start in starts), BETWEEN]
    return Profile(
        timings=tuple(
            Timing(phase, _median(phase, parts, stopwatch), _flops(phase, phases, program))
            for phase in dict.fromkeys(parts)
        ),
        step=float(np.median(steps)),
        ceiling=2 * side**3 / min(products),
        side=side,
        how=engine.how,
        is_apart=engine.is_compiled == (type(backend).timed is Backend.timed),
    )


def _median(phase: Phase, parts: list[Phase], stopwatch: Stopwatch) -> float:
    """Over steps, of the seconds of all parts that the phase has."""
    times = [taken for part, taken in zip(parts, stopwatch.taken, strict=True) if part == phase]
    return float(np.median(np.sum(times, axis=0))) if times[0] else 0.0


def _flops(phase: Phase, phases: list[Phase], program: Program) -> int:
    """Those of the products of a phase: 2 m n k for each (m,k)(k,n), and for each member."""
    return sum(
        2 * math.prod(operation.result.shape) * next(operation.values).shape[-1]
        for operation, its_phase in zip(program.operations, phases, strict=True)
        if operation.function == "matmul" and its_phase == phase
    )


def _product(
    backend: Backend, side: int, *, dtype: str, precision: str
) -> Callable[[Clock], float]:
    """What times a product of two square matrices, made as the products of a step are."""

    def make_product(*, xp: Namespace) -> Step:
        def multiply(A: Any, B: Any) -> tuple[Any, StepMetrics]:
            corner = xp.matmul(A, B)[:1, :1]
            return A, StepMetrics(corner, corner)

        return multiply

    run = backend.eager(make_product, precision=precision)
    numbers = np.random.default_rng(0).random(2**16 + 1)
    A = backend.asarray(np.resize(numbers.astype(dtype), (side, side)))

    def seconds(clock: Clock) -> float:
        began = clock()
        backend.to_numpy(run(A, A, 1)[1].loss)  # waits
        return clock() - began

    return seconds
