"""What listens to a run: validation, best weights, early stopping, the time limit, and yours."""

import logging
import math
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from xpmlp.backends.failures import is_lost, is_out_of_memory
from xpmlp.data import Split
from xpmlp.errors import CallbackError, InputError, XpmlpError
from xpmlp.training.validation_config import ValidationConfig

if TYPE_CHECKING:
    from xpmlp.training.trainer import Trainer

log = logging.getLogger(__name__)


class StopTraining(Exception):
    """Raised by a callback to interrupt a run after the present step.

    `StopTraining("reason")` says why. The run keeps its current parameters and can be resumed.
    `Trainer.stop`, in contrast, ends a run, which then has its best parameters with `restore_best`.

    Examples
    --------
    >>> class OneEpoch(xpmlp.Callback):
    ...     def on_epoch(self, trainer):
    ...         raise xpmlp.StopTraining("one epoch is enough")
    >>> model = xpmlp.MLP((2, 2))
    >>> run = xpmlp.train(model, np.eye(2), [0, 1], callbacks=[OneEpoch()], verbose=0)
    >>> run.stopped_by
    'OneEpoch: one epoch is enough'
    """


class Callback:
    """Base class of callbacks, which are called at the events of a run.

    Override the events you need. A callback may read everything of the trainer, and changes it only
    through its methods.

    Attributes
    ----------
    every : int
        Call `on_tick` after each `every` steps; 0 leaves the interval to the trainer.

    Examples
    --------
    >>> class Print(xpmlp.Callback):
    ...     def on_epoch(self, trainer):
    ...         print("epoch", trainer.epoch)
    >>> model = xpmlp.MLP((2, 2))
    >>> run = xpmlp.train(model, np.eye(2), [0, 1], epochs=2, callbacks=[Print()], verbose=0)
    epoch 1
    epoch 2
    """

    every: int = 0

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for name in vars(cls):
            if name.startswith("on_") and not hasattr(Callback, name):
                events = "on_start, on_tick, on_epoch, on_end"
                raise InputError(f"{cls.__name__}.{name}: no event has this name; use {events}")

    def on_start(self, trainer: "Trainer", /) -> None:
        """Called before the first step, and when the run is resumed.

        Parameters
        ----------
        trainer : Trainer
            The run.
        """

    def on_tick(self, trainer: "Trainer", /) -> None:
        """Called every few steps, when their losses are on the host.

        Parameters
        ----------
        trainer : Trainer
            The run.
        """

    def on_epoch(self, trainer: "Trainer", /) -> None:
        """Called after each epoch and its validation.

        Parameters
        ----------
        trainer : Trainer
            The run.
        """

    def on_end(self, trainer: "Trainer", /) -> None:
        """Called after the last step, also if the run was stopped.

        Parameters
        ----------
        trainer : Trainer
            The run.
        """


def as_callbacks(callbacks: Any) -> list[Callback]:
    """Return callbacks as a list; raise `InputError` for other values."""
    try:
        found = list(callbacks)
    except TypeError:
        found = [callbacks]
    if wrong := [one for one in found if not isinstance(one, Callback)]:
        raise InputError(
            f"callbacks: {wrong[0]!r:.60} is not a callback; give instances of xpmlp.Callback"
        )
    return found


SLOW_CALLBACK_SECONDS = 5.0
"""Seconds beyond which a callback that takes longer than training itself is named."""


def name_slow_ones(trainer: "Trainer") -> None:
    """Warn of callbacks that took longer than training did."""
    training = trainer.seconds
    for name, seconds in trainer.callback_seconds.items():
        if seconds > max(SLOW_CALLBACK_SECONDS, training):
            log.warning("callback %s took %.0f s, training itself %.0f s", name, seconds, training)


def tell(callbacks: Iterable[Callback], event: str, trainer: "Trainer") -> None:
    """Call every callback, also after one has failed or asked to stop; then raise that.

    An exception of a callback becomes the cause of a `CallbackError`. An `XpmlpError`, and what
    says that memory ran out or that the GPU is lost, is raised at once as it is.
    """
    stop: StopTraining | None = None
    failure: CallbackError | None = None
    for callback in callbacks:
        name, before, began = type(callback).__name__, trainer.ended, time.perf_counter()
        asked: str | None = None
        try:
            getattr(callback, event)(trainer)
        except StopTraining as request:
            stop = request
            if event != "on_end":
                asked = str(request)
        except Exception as error:
            if isinstance(error, XpmlpError) or is_out_of_memory(error) or is_lost(error):
                error.add_note(f"in {event} of the callback {name}")
                raise
            failure = failure or _failure(callback, event, error, trainer)
        if trainer.ended != before:
            asked = trainer.ended
        if asked is not None:
            trainer.stops.append(f"{name}: {asked}".removesuffix(": "))
        if event in ("on_tick", "on_epoch"):
            trainer.callback_seconds[name] += time.perf_counter() - began
    if failure is not None:
        raise failure
    if stop is not None and event != "on_end":
        raise stop


def _failure(callback: Callback, event: str, error: Exception, trainer: "Trainer") -> CallbackError:
    """The error that names a callback, its event, and how far the run has come."""
    name, said = type(callback).__name__, " ".join(str(error).split())
    kind = type(error).__name__
    step = f" and {trainer.step} steps" if trainer.step else ""
    failure = CallbackError(
        f"callback {name} failed in {event} ({kind}{f': {said}' if said else ''}); "
        f"the run is as it was after epoch {trainer.epoch}{step}"
    )
    failure.callback, failure.event, failure.__cause__ = name, event, error
    return failure


class Validation(Callback):
    """Evaluates the network on validation rows, after every epoch or every `every` steps."""

    def __init__(self, split: Split, *, every: int = 0) -> None:
        self.split, self.every = split, every

    def on_tick(self, trainer: "Trainer", /) -> None:
        if self.every and trainer.iteration % self.every == 0:
            self._evaluate(trainer)

    def on_epoch(self, trainer: "Trainer", /) -> None:
        if not self.every:
            self._evaluate(trainer)

    def _evaluate(self, trainer: "Trainer") -> None:
        found = trainer.evaluate(self.split, trainer.current_parameters)
        trainer.history.add_evaluation(trainer.iteration, found.loss, found.tracked)


class BestWeights(Callback):
    """Keeps the parameters of the best evaluation, for each member its own."""

    def on_tick(self, trainer: "Trainer", /) -> None:
        history = trainer.history
        if history.validation_iterations[-1:] == [trainer.iteration]:
            last = history.validation_losses[-1], history.validation_accuracies[-1]
            trainer.keep_if_better(trainer.validation_config.cost(*last))

    on_epoch = on_tick


class EarlyStopping(Callback):
    """Ends a run when no network got better in the last `patience` evaluations."""

    def on_tick(self, trainer: "Trainer", /) -> None:
        config, history = trainer.validation_config, trainer.history
        series = zip(history.validation_losses, history.validation_accuracies, strict=True)
        if config.has_run_dry([config.cost(*evaluation) for evaluation in series]):
            what = "loss" if config.monitor == "loss" else history.metric
            trainer.stop(f"no better validation {what} in the last {config.patience} evaluations")

    on_start = on_epoch = on_tick


class TimeLimit(Callback):
    """Ends a run after `time_limit`, the seconds before it was resumed included."""

    def on_start(self, trainer: "Trainer", /) -> None:
        self._began = time.perf_counter() - trainer.seconds
        self._look(trainer, trainer.seconds)

    def on_tick(self, trainer: "Trainer", /) -> None:
        self._look(trainer, time.perf_counter() - self._began)

    on_epoch = on_tick

    def _look(self, trainer: "Trainer", seconds: float) -> None:
        if seconds >= (limit := trainer.validation_config.time_limit):
            trainer.stop(f"the time limit of {limit:g} s is reached")


def callbacks_of(config: ValidationConfig) -> tuple[list[Callback], list[Callback]]:
    """Return the callbacks that these settings ask for: those to call before, and after, yours.

    What the first ones find belongs to the state that a run falls back to.
    """
    before: list[Callback] = []
    if config.validation is not None:
        before.append(Validation(config.validation, every=config.validate_every))
    if config.restore_best:
        before.append(BestWeights())
    if config.patience:
        before.append(EarlyStopping())
    return before, [TimeLimit()] if config.time_limit < math.inf else []
