"""What the command line hears while a run trains: Ctrl-C and SIGTERM."""

import signal
from types import FrameType
from typing import Any

from xpmlp.training import Callback, StopTraining, Trainer


class Interruption(Callback):
    """Turns the first Ctrl-C or SIGTERM into the end of the run after the step it is at.

    A context manager; inside it, the second signal acts as if this were not there. `status` is
    the exit status that a signal asks for, 130 or 143, or 0 without one.
    """

    def __init__(self) -> None:
        self.status = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Interruption":
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._hear)
        return self

    def __exit__(self, *_: object) -> None:
        for number, action in self._before.items():
            signal.signal(number, action)

    def _hear(self, number: int, _: FrameType | None) -> None:
        self.status = 128 + number
        for each, action in self._before.items():
            signal.signal(each, action)

    def on_tick(self, trainer: Trainer, /) -> None:
        if self.status:
            raise StopTraining
