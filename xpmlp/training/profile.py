"""Where a step's time goes, layer by layer: the steps of a run with a stopwatch between them.

Neither the algebra nor the step knows of it. A step is traced, its operations know which functions
wrote them, and what runs them is asked to say when it comes from one phase to the next.
"""

import contextlib
import functools
import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from xpmlp.algebra import (
    ACTIVATIONS,
    dense,
    dense_backward,
    dense_backward_parameters,
    one_hot,
    softmax_cross_entropy,
    softmax_cross_entropy_backward,
)
from xpmlp.backends import Backend, StepMetrics
from xpmlp.backends.base import Runner, Step
from xpmlp.compiler import Program, leaves, rebuild, record
from xpmlp.compiler.program import Call, Operation
from xpmlp.data import order
from xpmlp.training.engine import Engine
from xpmlp.training.feeding import feed
from xpmlp.training.loop import Training
from xpmlp.training.pace import tick_length
from xpmlp.training.step import count_correct, make_step
from xpmlp.typing import Namespace

Clock = Callable[[], float]

SECONDS = 1.2
"""For how long steps are timed, in turns with the ceiling's product."""

TURNS = 3
"""How many turns there are at least."""

SIDES = {"cpu": 1024, "gpu": 8192}
"""Rows and columns of the product whose speed is the ceiling: large enough to be at its best."""


class Phase(NamedTuple):
    """A part of the step: of which layer (1 is the first; None for none), doing what."""

    layer: int | None
    name: str


class Timing(NamedTuple):
    """What a phase takes: seconds (the median over steps) and the operations of its products."""

    phase: Phase
    seconds: float
    flops: int


@dataclass(frozen=True)
class Profile:
    """The phases of a step in their order, and what they are compared with.

    `step` are the seconds of a whole step as the run does it, `ceiling` the FLOP/s of a product of
    two square matrices of `side` rows. `how` says how the run does its steps; `is_apart` that it
    does so otherwise than in the phases timed, which were run one by one.
    """

    timings: tuple[Timing, ...]
    step: float
    ceiling: float
    side: int
    how: str
    is_apart: bool

    @property
    def sum(self) -> Timing:
        """All phases together."""
        seconds = sum(timing.seconds for timing in self.timings)
        return Timing(Phase(None, "sum"), seconds, sum(timing.flops for timing in self.timings))


def profile(training: Training, *, clock: Clock = time.perf_counter) -> Profile:
    """Time the steps that a run would begin its epoch with, on copies: the run does not change.

    Takes a second or two for a small network. An engine of its own is compiled for it as the
    run's will be. Raises `Untraceable` for a step that no program can hold.
    """
    backend, engine = training.backend, training.engine
    maker = functools.partial(make_step, training.model, training.optimizer)
    whole = Engine(backend, maker, precision=engine.precision, compile=engine.mode)
    rows = feed(
        training.split,
        batch_size=training.batch_size,
        classes=training.model.layer_sizes[-1],
        backend=backend,
    )
    chosen = order(
        len(training.split.labels),
        seed=training.seed,
        epoch=training.epoch,
        shuffle=training.shuffle,
    )
    with (
        backend.activate(),
        backend.threads(training.threads.number),
        contextlib.closing(rows.epoch(chosen)) as segments,
    ):
        segment = next(segments)
        state = training.state._replace(offset=segment.offset)
        program = record(maker, state, segment.data)
        phases = phases_of(program)
        starts = [
            number
            for number, phase in enumerate(phases)
            if not number or phase != phases[number - 1]
        ]
        stopwatch = Stopwatch(len(starts) + 1, clock)
        timed = backend.timed(program, starts, stopwatch.lap, precision=engine.precision)
        whole.start(state, segment.data, steps=segment.steps)
        side = SIDES["cpu" if backend.device_name == "cpu" else "gpu"]
        multiply = _product(backend, side, str(training.parameters.dtype), engine.precision)

        def run(runner: Runner, count: int) -> float:
            copies = [backend.xp.asarray(leaf, copy=True) for leaf in leaves(state)]
            backend.synchronize(copies)
            began = clock()
            _, metrics = runner(rebuild(state, iter(copies)), segment.data, count)
            backend.to_numpy(metrics.loss)
            return (clock() - began) / count

        count = 1
        for _ in range(2):  # the first of its length may compile
            multiply()
            run(timed, 1)
            seconds = run(whole.run, count)
            count = min(segment.steps, tick_length(4 * seconds))
        run(whole.run, count)
        stopwatch.clear()
        steps, products = list[float](), list[float]()
        began = clock()
        while len(steps) < TURNS or clock() - began < SECONDS:
            run(timed, count)
            stopwatch.stop()
            steps.append(run(whole.run, count))
            products.append(_seconds(multiply, clock))
    return Profile(
        timings=tuple(_timings(program, phases, stopwatch.taken)),
        step=float(np.median(steps)),
        ceiling=2 * side**3 / float(np.median(products)),
        side=side,
        how=whole.how,
        is_apart=whole.is_compiled and type(backend).timed is Backend.timed,
    )


class Stopwatch:
    """Seconds that each part of a step took, a list for every part; the last is between steps."""

    def __init__(self, parts: int, clock: Clock) -> None:
        self.taken: list[list[float]] = [[] for _ in range(parts)]
        self._clock = clock
        self._since: tuple[int, float] | None = None

    def lap(self, part: int) -> None:
        """This part begins, and the one before it has ended."""
        now = self._clock()
        if self._since is not None:
            before, began = self._since
            self.taken[before].append(now - began)
        self._since = part, now

    def stop(self) -> None:
        """What has begun is not timed."""
        self._since = None

    def clear(self) -> None:
        """Forget all that was timed."""
        self.stop()
        for times in self.taken:
            times.clear()


def phases_of(program: Program) -> list[Phase]:
    """The phase that each operation of a training step's program belongs to."""
    named = [_named(operation.calls) for operation in program.operations]
    # Which call of its kind each is, in their order: what numbers the layers.
    places: dict[str, dict[int, int]] = {}
    for direction, _, number in named:
        known = places.setdefault(direction, {})
        known.setdefault(number, len(known))
    layers = len(places.get(FORWARD, {}))
    phases = []
    for direction, name, number in named:
        place = places[direction][number]
        layer = {
            FORWARD: place + 1,
            ACTIVATE: place + 1,
            BACKWARD: layers - place,
            ACTIVATE_BACKWARD: layers - 1 - place,
        }.get(direction)
        phases.append(Phase(layer, name))
    return phases


BETWEEN = Phase(None, "between two steps")

FORWARD, ACTIVATE, BACKWARD, ACTIVATE_BACKWARD = (
    "forward", "activate", "backward", "activate backward"
)  # fmt: skip


def _name_of(function: Any) -> str:
    """The name that a call of the function is recorded by."""
    return f"{function.__module__}.{function.__qualname__}"


@functools.cache
def _words() -> dict[str, tuple[str, str]]:
    """For functions by name: the direction in which their layers are counted, and the phase."""
    words = {
        _name_of(one_hot): ("", "rows: take, scale, one-hot"),
        _name_of(count_correct): ("", "count right answers"),
        _name_of(dense): (FORWARD, "forward product + bias"),
        _name_of(dense_backward): (BACKWARD, "backward dW, db, dA"),
        _name_of(dense_backward_parameters): (BACKWARD, "backward dW, db"),
        _name_of(softmax_cross_entropy): ("", "softmax, cross-entropy"),
        _name_of(softmax_cross_entropy_backward): ("", "backward dL"),
    }
    return words


def _named(calls: Sequence[Call]) -> tuple[str, str, int]:
    """What calls come to: the direction, the name of the phase, and which call it was."""
    words = dict(_words())
    for name, activation in ACTIVATIONS.items():
        words[_name_of(activation.forward)] = (ACTIVATE, name)
        words[_name_of(activation.backward)] = (ACTIVATE_BACKWARD, f"backward {name}")
    for call in calls:
        if call.function in words:
            return *words[call.function], call.number
    ...
    raise NotImplementedError
