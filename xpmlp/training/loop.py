"""The loop around the step: epochs, what they measured, and the events that observers hear."""

import contextlib
import functools
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from xpmlp.backends import DTYPES, PRECISIONS, Backend, select_backend
from xpmlp.backends.base import Threads
from xpmlp.data import Split, check_split, order
from xpmlp.errors import Diverged, InputError
from xpmlp.network import MLP, member_seeds
from xpmlp.optimizers import Optimizer, sgd
from xpmlp.training.engine import Engine
from xpmlp.training.feeding import Segment, feed
from xpmlp.training.history import History
from xpmlp.training.pace import Pace
from xpmlp.training.step import TrainingState, make_step
from xpmlp.typing import Array


@dataclass(frozen=True)
class Snapshot:
    """A run at one moment, on the host: all that going on from there needs.

    `epoch` counts the finished epochs, `step` the steps done in the present one, `correct` the
    right answers in those steps; `parameters` is flat; `optimizer` has its state by name.
    """

    parameters: np.ndarray
    optimizer: dict[str, np.ndarray]
    epoch: int
    step: int
    correct: np.ndarray
    history: History
    seconds: float = 0.0

    @property
    def finite(self) -> bool:
        """Whether all parameters are numbers."""
        return bool(np.isfinite(self.parameters).all())


class StopTraining(Exception):
    """Raised by an observer to end a run after the step it is at; nothing is lost."""


class Observer:
    """Hears of a run's events; overrides what it wants to hear. The loop knows no observer."""

    def on_start(self, training: "Training", /) -> None:
        """Before the first step."""

    def on_tick(self, training: "Training", /) -> None:
        """Every few steps, after their losses have reached the host."""

    def on_epoch(self, training: "Training", /) -> None:
        """After each epoch."""

    def on_end(self, training: "Training", /) -> None:
        """After the last step, also where an observer has stopped the run."""


@dataclass
class Training:
    """A run of training: what to do, and how far it has come.

    Created by `begin`, put back to a snapshot by `restore`, moved on by `run`, looked at by
    observers.
    """

    model: MLP
    split: Split
    optimizer: Optimizer
    backend: Backend
    epochs: int
    batch_size: int
    seed: int
    shuffle: bool
    threads: Threads
    engine: Engine
    state: TrainingState
    epoch: int
    step: int
    correct: np.ndarray
    history: History
    seconds: float
    last_good: Snapshot = field(init=False)

    def __post_init__(self) -> None:
        self.split = check_split(
            *self.split, where="training data", layer_sizes=self.model.layer_sizes
        )
        rows = len(self.split.labels)
        if not 1 <= self.batch_size <= rows:
            raise InputError(
                f"batch_size={self.batch_size}: give 1 to {rows:,}, the rows there are"
            )
        if type(self.epochs) is not int or self.epochs < 0:
            raise InputError(f"epochs={self.epochs}: give a whole number, 0 or more")
        self.last_good = self.snapshot()
        if not self.last_good.finite:
            raise InputError("the initial parameters are not all finite: give others")

    @classmethod
    def begin(
        cls,
        model: MLP,
        split: Split,
        *,
        parameters: Array,
        optimizer: Optimizer,
        backend: Backend,
        epochs: int,
        batch_size: int,
        seed: int,
        shuffle: bool,
        threads: int = 0,
        precision: str | None = None,
        compile: str = "auto",
    ) -> "Training":
        """A run that has not started; it trains a copy of the given parameters.

        `threads` CPU threads compute; 0 lets the backend find the best number. `precision` is one
        of `xpmlp.backends.PRECISIONS`, by default that of the parameters. `compile` is one of
        `auto` (where it works), `require` and `off`.
        """
        xp = backend.xp
        with backend.activate():
            if isinstance(parameters, np.ndarray):
                parameters = backend.asarray(parameters)
            parameters = xp.asarray(parameters, copy=True)
            state = TrainingState(
                parameters,
                optimizer=optimizer.init(parameters, xp=xp),
                offset=backend.asarray(np.zeros((), dtype=np.int64)),
            )
        dtype = str(parameters.dtype).rpartition(".")[2]
        engine = Engine(
            backend,
            functools.partial(make_step, model, optimizer),
            precision=precision or dtype,
            compile=compile,
        )
        correct = np.zeros(parameters.shape[:-1], dtype=np.int64)
        run = cls(
            model=model,
            split=split,
            optimizer=optimizer,
            backend=backend,
            epochs=epochs,
            batch_size=batch_size,
            seed=seed,
            shuffle=shuffle,
            threads=Threads(threads, may_change=False),
            engine=engine,
            state=state,
            epoch=0,
            step=0,
            correct=correct,
            history=History(),
            seconds=0.0,
        )
        if not threads:
            run._choose_threads()
        return run

    def restore(self, snapshot: Snapshot) -> None:
        """Go on from a snapshot of this run: the next step is the one that followed it then.

        Raises `InputError` for a snapshot of another network, optimizer or dtype.
        """
        now, kind = self.snapshot(), type(self.state.optimizer)
        for name, found, wanted in (
            ("parameters", snapshot.parameters, now.parameters),
            *((name, snapshot.optimizer.get(name), now.optimizer[name]) for name in now.optimizer),
            ("counts", snapshot.correct, now.correct),
        ):
            if found is None or found.shape != wanted.shape or found.dtype != wanted.dtype:
                raise InputError(
                    f"the saved {name} do not fit this run: "
                    f"{'none' if found is None else f'{found.dtype} {found.shape}'} in place of "
                    f"{wanted.dtype} {wanted.shape}; resume with the settings it began with"
                )
        series = [*snapshot.history.losses, *snapshot.history.accuracies]
        if (
            snapshot.optimizer.keys() != now.optimizer.keys()
            or not snapshot.finite
            or len(snapshot.history.accuracies) != snapshot.epoch
            or any(values.shape != now.correct.shape for values in series)
        ):
            raise InputError("the saved state is not whole, or of another run: train again")
        with self.backend.activate():
            self.state = TrainingState(
                self.backend.asarray(snapshot.parameters.copy()),
                optimizer=kind(
                    **{
                        name: self.backend.asarray(array.copy())
                        for name, array in snapshot.optimizer.items()
                    }
                ),
                offset=self.backend.asarray(np.array(snapshot.step * self.batch_size)),
            )
        self.epoch, self.step = snapshot.epoch, snapshot.step
        self.correct = snapshot.correct.copy()
        self.history = History(list(snapshot.history.losses), list(snapshot.history.accuracies))
        self.seconds = snapshot.seconds
        self.last_good = snapshot

    def snapshot(self) -> Snapshot:
        """The run as it stands, copied to the host."""
        to_numpy = self.backend.to_numpy
        return Snapshot(
            parameters=to_numpy(self.state.parameters),
            optimizer={
                name: to_numpy(array) for name, array in self.state.optimizer._asdict().items()
            },
            epoch=self.epoch,
            step=self.step,
            correct=self.correct.copy(),
            history=History(list(self.history.losses), list(self.history.accuracies)),
            seconds=self.seconds,
        )

    @property
    def steps_per_epoch(self) -> int:
        """Full batches in the data; rows left over wait for another order, as in the lecture."""
        return len(self.split.labels) // self.batch_size

    @property
    def iteration(self) -> int:
        """Steps done in all."""
        return self.epoch * self.steps_per_epoch + self.step

    @property
    def parameters(self) -> Array:
        """The flat parameters as they are now, on the device.

        The next step overwrites them (NumPy, CuPy, torch) or gives their memory away (JAX): an
        observer that wants to keep them takes `snapshot().parameters`.
        """
        return self.state.parameters

    def run(self, observers: Iterable[Observer] = ()) -> "Training":
        """Train until the last epoch is done or an observer raises `StopTraining`.

        Raises `Diverged` when a loss or a parameter is no number any more; the run then stands
        where its numbers were last known to be good: after an epoch, or where it began.
        """
        observers = list(observers)
        with self.backend.activate():
            try:
                self._tell(observers, "on_start")
                self._run_epochs(observers)
            except StopTraining:
                pass
            except Diverged:
                self.restore(self.last_good)
                raise
            self._tell(observers, "on_end")
        return self

    def _run_epochs(self, observers: Sequence[Observer]) -> None:
        pace = Pace()
        rows = feed(
            self.split,
            batch_size=self.batch_size,
            classes=self.model.layer_sizes[-1],
            backend=self.backend,
        )
        while self.epoch < self.epochs:
            chosen = order(
                len(self.split.labels), seed=self.seed, epoch=self.epoch, shuffle=self.shuffle
            )
            with contextlib.closing(rows.epoch(chosen, first=self.step)) as segments:
                for segment in segments:
                    self.state = self.state._replace(offset=segment.offset)
                    self._run_segment(segment, pace, observers)
            self._finish_epoch()
            self._tell(observers, "on_epoch")

    def _run_segment(self, segment: Segment, pace: Pace, observers: Sequence[Observer]) -> None:
        """Steps on rows that are on the device, with a look at them after every tick."""
        backend, last = self.backend, self.step + segment.steps
        started = time.perf_counter()
        if segment.steps:  # none are left where a run was stopped at an epoch's last
            with backend.threads(self.threads.number):
                self.engine.start(self.state, segment.data, steps=segment.steps)
        while self.step < last:
            count = min(pace.tick, last - self.step)
            with backend.threads(self.threads.number):
                self.state, metrics = self.engine.run(self.state, segment.data, count)
                losses = backend.to_numpy(metrics.loss)
                correct = backend.to_numpy(metrics.correct)
            self._check(losses)
            self.history.losses.extend(losses)
            self.correct += correct.sum(axis=0)
            self.step += count
            pace.measure(count, self._count_seconds(since=started))
            self._tell(observers, "on_tick")
            started = time.perf_counter()
            if self.threads.may_change and pace.asks_for_threads:
                self._choose_threads()
                pace.chose_threads()

    def _choose_threads(self) -> None:
        products = self.model.products(self.batch_size)
        self.threads = self.backend.choose_threads(products, self.engine.precision)

    def _finish_epoch(self) -> None:
        self.history.accuracies.append(self.correct / (self.steps_per_epoch * self.batch_size))
        self.correct = np.zeros_like(self.correct)
        self.epoch, self.step = self.epoch + 1, 0
        snapshot = self.snapshot()
        if not snapshot.finite:
            raise Diverged(self._divergence("a parameter is not finite", self.iteration))
        self.last_good = snapshot

    def _check(self, losses: np.ndarray) -> None:
        bad = ~np.isfinite(losses)
        if bad.any():
            first = np.argwhere(bad)[0]
            found = f"the loss became {losses[tuple(first)]}"
            if len(first) > 1:
                found += f" in member {first[1] + 1}"
            raise Diverged(self._divergence(found, self.iteration + int(first[0]) + 1))

    def _divergence(self, found: str, iteration: int) -> str:
        epoch, step = divmod(iteration - 1, self.steps_per_epoch)
        rates = np.unique(self.last_good.optimizer["learning_rate"])
        rate = ", ".join(f"{rate:g}" for rate in rates)
        return (
            f"{found} at iteration {iteration} (epoch {epoch + 1}, step {step + 1}) with "
            f"learning rate {rate}: try a smaller one, such as {rates.min() / 10:g}; "
            f"the state after {self.last_good.epoch} epochs is kept"
        )

    def _count_seconds(self, *, since: float) -> float:
        seconds = time.perf_counter() - since
        self.seconds += seconds
        return seconds

    def _tell(self, observers: Sequence[Observer], event: str) -> None:
        """Every observer hears it, also after one has asked to stop."""
        stop: StopTraining | None = None
        for observer in observers:
            try:
                getattr(observer, event)(self)
            except StopTraining as request:
                stop = request
        if stop is not None and event != "on_end":
            raise stop


def train(
    model: MLP,
    split: Split,
    *,
    epochs: int = 20,
    batch_size: int = 64,
    learning_rate: float | Sequence[float] = 0.03,
    seed: int | Iterable[int] = 0,
    shuffle: bool = False,
    parameters: Array | None = None,
    backend: Backend | None = None,
    dtype: str = "float32",
    threads: int = 0,
    compile: str = "auto",
    observers: Iterable[Observer] = (),
) -> Training:
    """Train a network by mini-batch SGD and return the finished run.

    `split` has the rows X (n, l0), bytes or floating, and labels (n,). The defaults are the
    lecture's. A sequence of E seeds trains E networks at once on the same batches, whose order
    the first seed gives. Training starts from `parameters` (flat, on the device or the host) or
    from `model.initialize(seed)`. `dtype` is one of `xpmlp.backends.PRECISIONS`; `threads` and
    `compile` are as for `Training.begin`. The result has `parameters` and `history`.

    Raises `InputError` for data that does not fit the network, `Diverged` for a loss that is no
    number any more.
    """
    backend = backend or select_backend()
    if isinstance(seed, Iterable):
        seed = member_seeds(seed)
    if dtype not in PRECISIONS:
        raise InputError(f"dtype={dtype!r}: use {', '.join(PRECISIONS)}")
    if parameters is None:
        parameters = model.initialize(seed, backend=backend, dtype=PRECISIONS[dtype])
    elif dtype in DTYPES:
        dtype = ""  # what the parameters are in decides
    return Training.begin(
        model,
        split,
        parameters=parameters,
        optimizer=sgd(learning_rate),
        backend=backend,
        epochs=epochs,
        batch_size=batch_size,
        seed=seed[0] if isinstance(seed, list) else seed,
        shuffle=shuffle,
        threads=threads,
        precision=dtype or None,
        compile=compile,
    ).run(observers)
