"""Callbacks that tests watch and stop a run with."""

from collections.abc import Callable
from typing import Any

import numpy as np

from xpmlp import Callback, StopTraining, Trainer


def hearing(every: int = 0, **actions: Callable[[Trainer], Any]) -> Callback:
    """Return a callback that calls these functions at the events of their names."""
    methods = {
        event: lambda self, trainer, /, act=act: act(trainer) for event, act in actions.items()
    }
    return type("Hearing", (Callback,), {**methods, "every": every})()


def listener(every: int = 0) -> tuple[list[tuple[str, int, int]], Callback]:
    """Return what a callback hears, as events with their epochs and steps, and the callback."""
    heard: list[tuple[str, int, int]] = []
    actions = {
        f"on_{name}": lambda run, name=name: heard.append((name, run.epoch, run.step))
        for name in ("start", "tick", "epoch", "end")
    }
    return heard, hearing(every, **actions)


class StopAt(Callback):
    """Stop a run after an iteration."""

    every = 1

    def __init__(self, iteration: int) -> None:
        self.iteration = iteration

    def on_tick(self, trainer: Trainer, /) -> None:
        if trainer.iteration == self.iteration:
            raise StopTraining


class Recorder(Callback):
    """Keep the parameters after every step, as `take` finds them: by default those trained."""

    every = 1

    def __init__(self, take: Callable[[Trainer], Any] = lambda run: run.state.parameters) -> None:
        self.take = take
        self.way: list[np.ndarray] = []

    def on_tick(self, trainer: Trainer, /) -> None:
        self.way.append(np.array(trainer.backend.to_numpy(self.take(trainer))))


def resumed(begin: Callable[[], Trainer], iteration: int, *callbacks: Callback) -> Trainer:
    """Return a run that was stopped after an iteration and resumed from its snapshot."""
    stopped, again = begin().run([*callbacks, StopAt(iteration)]), begin()
    again.restore(stopped.snapshot())
    return again.run(callbacks)
