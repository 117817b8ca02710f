"""Where a step's time goes, layer by layer: the steps of a run, timed between their phases.

Neither the algebra nor the step knows of it: the step is traced, and what runs its operations is
asked to say when it comes from one phase to the next.
"""

import contextlib
import math
import time
from collections import Counter
from collections.abc import Callable
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


class Profile(NamedTuple):
    """The phases of a step in their order, and what they are compared with.

    `step` has the seconds of a whole step as the run does it, and `how` says how that is;
    `is_apart` that it is otherwise than in the phases, which were run one by one. `ceiling` is the
    best speed, in FLOP/s, that a product of two square matrices of `side` rows had meanwhile, or a
    phase if one was faster. `slowdown` is that product's median time over its shortest: about 1 on
    a machine with nothing else to do.
    """

    timings: tuple[Timing, ...]
    step: float
    ceiling: float
    slowdown: float
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


def profile(trainer: Trainer, *, clock: Clock = time.perf_counter) -> Profile:
    """Time steps like those that a run is about to make; the run is not changed.

    It takes a second or two for a small network. What is compiled is compiled for this alone.
    Raises `Untraceable` for a step that no program can hold.
    """
    backend = trainer.backend
    with (
        backend.activate(),
        backend.threads(trainer.threads.number),
        contextlib.closing(trainer.loader().epoch(trainer.epoch_plan())) as chunks,
    ):
        return _profile(trainer, next(chunks), clock)


def _profile(trainer: Trainer, chunk: Chunk, clock: Clock) -> Profile:
    backend, precision = trainer.backend, trainer.engine.precision
    state = trainer.state._replace(offset=chunk.offset)
    maker = trainer.step_maker
    engine = Engine(backend, maker, trainer.model, precision=precision, compile=trainer.engine.mode)
    engine.start(state, chunk.data, steps=chunk.steps)

    program = record(maker, state, chunk.data)
    phases = [operation.phase for operation in program.operations]
    starts = [k for k, phase in enumerate(phases) if k == 0 or phase != phases[k - 1]]
    laps: list[float] = []
    in_phases = backend.timed(program, starts, lambda _: laps.append(clock()), precision=precision)
    side = SIDE if backend.device_name == "cpu" else SIDE_ON_GPU
    numbers = np.random.default_rng(0).random(2**16 + 1).astype(program.state[0].dtype)
    A = backend.asarray(np.resize(numbers, (side, side)))
    multiply = backend.eager(_make_product, precision=precision)

    def seconds(runner: Runner, count: int, state: Any = state, data: Any = chunk.data) -> float:
        """The time of a step, in a run of `count`."""
        copy = copied(state, backend=backend)
        backend.synchronize(leaves(copy))
        began = clock()
        _, metrics = runner(copy, data, count)
        backend.to_numpy(metrics.loss)  # waits
        return (clock() - began) / count

    count = 1
    for _ in range(2):  # the first time something may be compiled
        seconds(multiply, 1, (), A)
        seconds(in_phases, 1)
        count = min(chunk.steps, tick_length(4 * seconds(engine.run, count)))
    seconds(engine.run, count)

    steps, products, rows = list[float](), list[float](), list[np.ndarray]()
    began = clock()
    while len(steps) < TURNS or clock() - began < SECONDS:
        laps.clear()
        seconds(in_phases, count)
        rows.append(np.diff(laps, append=math.nan).reshape(count, -1))
        steps.append(seconds(engine.run, count))
        seconds(multiply, 1, (), A)  # warms the caches
        products.append(seconds(multiply, 1, (), A))
    times = np.concatenate(rows)  # a row for each step, a column for each part

    flops = _flops(program)
    parts = [*(phases[start] for start in starts), BETWEEN]

    def timing(phase: Phase) -> Timing:
        taken = times[:, [part == phase for part in parts]].sum(axis=1)
        taken = taken[np.isfinite(taken)]  # nothing follows the last step of a run
        return Timing(phase, float(np.median(taken)) if len(taken) else 0.0, flops[phase])

    timings = tuple(map(timing, dict.fromkeys(parts)))
    speeds = [each.flops / each.seconds for each in timings if each.seconds > 0.0]
    return Profile(
        timings=timings,
        step=float(np.median(steps)),
        ceiling=max(2 * side**3 / min(products), *speeds),
        slowdown=float(np.median(products) / min(products)),
        side=side,
        how=engine.how,
        is_apart=engine.is_compiled == (type(backend).timed is Backend.timed),
    )


def _flops(program: Program) -> Counter[Phase]:
    """Return each phase's operations: 2 m n k for a product (m,k)(k,n), and for each member."""
    flops = Counter[Phase]()
    for operation in program.operations:
        if operation.function == "matmul":
            inner = next(operation.values).shape[-1]
            flops[operation.phase] += 2 * math.prod(operation.result.shape) * inner
    return flops


def _make_product(*, xp: Namespace) -> Step:
    """What multiplies a square matrix by itself, with the products of a training step."""

    def multiply(state: Any, A: Any) -> tuple[Any, StepMetrics]:
        corner = xp.matmul(A, A)[:1, :1]
        return state, StepMetrics(corner, corner)

    return multiply
