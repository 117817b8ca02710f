"""The loop around the step: epochs, what they measured, and the events that observers hear."""

import contextlib
import dataclasses
import functools
import itertools
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from xpmlp.backends import PRECISIONS, Backend, select_backend
from xpmlp.backends.base import StepMaker, Threads
from xpmlp.backends.failures import is_lost, is_out_of_memory
from xpmlp.checks import check_integer
from xpmlp.compiler import rebuild
from xpmlp.data import MappedRows, Split, order
from xpmlp.errors import DeviceLost, Diverged, InputError
from xpmlp.network import MLP, Objective
from xpmlp.randomness import MIXUP, generator
from xpmlp.training.beginning import dtype_name, first_state, fixed_data, row_weights
from xpmlp.training.config import TrainConfig
from xpmlp.training.control import Best, Control
from xpmlp.training.descent import Descent
from xpmlp.training.engine import Engine
from xpmlp.training.evaluation import checked, evaluate
from xpmlp.training.feeding import Epoch, Feed, Segment, batch_weights, feed
from xpmlp.training.history import History
from xpmlp.training.pace import Pace
from xpmlp.training.replay import first_fault
from xpmlp.training.step import TrainingData, TrainingState, make_step
from xpmlp.typing import DTYPES, Array, Namespace

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Snapshot:
    """A run at one moment, on the host: all that going on from there needs.

    `epoch` counts the finished epochs, `step` the steps done in the present one, `correct` the
    right answers in those steps; `state` has the arrays that steps change, by name: `parameters`,
    `optimizer.m` and so on. `best` are the best parameters seen, where a run keeps them.
    """

    state: dict[str, np.ndarray]
    epoch: int
    step: int
    correct: np.ndarray
    history: History
    seconds: float = 0.0
    best: Best | None = None

    @property
    def parameters(self) -> np.ndarray:
        """The flat vector of what is learned."""
        return self.state["parameters"]

    @property
    def finite(self) -> bool:
        """Whether all parameters are numbers."""
        return bool(np.isfinite(self.parameters).all())


class StopTraining(Exception):
    """Raised by an observer to end a run after the step it is at; nothing is lost."""


class Observer:
    """Hears of a run's events; overrides what it wants to hear. The loop knows no observer.

    `every` is a number of steps after each of which it must hear `on_tick`; 0: whenever one is.
    """

    every: int = 0

    def on_start(self, training: "Training", /) -> None:
        """Before the first step."""

    def on_tick(self, training: "Training", /) -> None:
        """Every few steps, after their losses have reached the host."""

    def on_epoch(self, training: "Training", /) -> None:
        """After each epoch, and after its evaluation if there is one."""

    def on_end(self, training: "Training", /) -> None:
        """After the last step, also where an observer has stopped the run."""


BYTES_OF_A_UNIT = 16
"""What a step needs of memory, about, for each row of a part of a batch and unit behind the inputs,
which are taken whole: A, Z, dA and dZ."""

WORTHWHILE = 2 * 2**20
"""Bytes that halving a batch must save to be tried: less than a GPU hands out at a time."""

BLOCKS = 8
"""Into how many parts rows, or free memory if it is smaller, are split where memory is short."""


class _NoNumber(Exception):
    """What was found to be none, and after which iteration."""

    def __init__(self, found: str, iteration: int) -> None:
        super().__init__(found)
        self.found, self.iteration = found, iteration


@dataclass
class Training:
    """A run of training: what to do, and how far it has come.

    Created by `begin`, put back to a snapshot by `restore`, moved on by `run`, looked at by
    observers. `ended` says why a run ended before its last epoch, empty if it did not;
    `was_stopped` whether an observer ended it. Where memory was short, `parts` are those that a
    batch is taken in, and `in_blocks` says whether rows come in blocks.
    """

    model: MLP
    split: Split
    objective: Objective
    descent: Descent
    control: Control
    backend: Backend
    epochs: int
    batch_size: int
    seed: int
    shuffle: bool
    drop_last: bool
    orders: Callable[[int], np.ndarray] | None
    rows: np.ndarray | None
    weights: np.ndarray | None
    threads: Threads
    engine: Engine
    fixed: TrainingData
    state: TrainingState
    correct: np.ndarray
    epoch: int = 0
    step: int = 0
    seconds: float = 0.0
    ended: str = ""
    parts: int = 1
    in_blocks: bool = False
    history: History = field(default_factory=History)
    best: Best | None = None
    was_stopped: bool = False
    last_good: Snapshot = field(init=False)

    def __post_init__(self) -> None:
        count = self.row_count
        if not 1 <= self.batch_size <= count:
            raise InputError(
                f"batch_size={self.batch_size}: give 1 to {count:,}, the rows there are"
            )
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
        backend: Backend,
        config: TrainConfig | None = None,
        orders: Callable[[int], np.ndarray] | None = None,
        rows: np.ndarray | None = None,
        sample_weights: np.ndarray | None = None,
        **settings: Any,
    ) -> "Training":
        """A run that has not started; it trains a copy of the given parameters.

        `parameters` is (P,) or (E, P), with the running statistics behind or without; the order of
        rows comes from the first seed, or for each epoch from `orders`, which gives (n,) or, with
        `rows`, one for each member (E, n); each member's dropout comes from its own seed.
        `rows` (E, n) are the numbers of the rows that each member trains on, by default all, and
        `sample_weights` (n,) or (E, n) weigh all rows. Rows and labels that lie on the backend's
        device already are taken as they are: who gives them has checked them. `settings` are those
        of `TrainConfig`.
        """
        config = TrainConfig.of(config, **settings)
        objective, descent, control = config.objective, config.descent, config.control
        batch_size, seeds = config.batch_size, list(config.seeds)
        objective.check(model.output, model.layer_sizes[-1])
        if model.normalization == "batch" and batch_size == 1:
            raise InputError(
                "batch_size=1: a row is its own batch's mean, and normalised is nothing; "
                "give 2 or more, or normalization=layer"
            )
        split = checked(split, model, where="training data")
        if control.validation is not None:
            held_out = checked(control.validation, model, where="validation data")
            control = dataclasses.replace(control, validation=held_out)
        with backend.activate():
            if isinstance(parameters, np.ndarray):
                parameters = backend.asarray(parameters)
            members = tuple(parameters.shape[:-1])
            dtype = dtype_name(parameters)
            if rows is not None and rows.shape[:-1] != members:
                raise InputError(f"rows of shape {rows.shape} for parameters {parameters.shape}")
            if isinstance(split.labels, np.ndarray) and split.labels.dtype.kind == "f":
                split = split._replace(labels=split.labels.astype(dtype))
            fixed = fixed_data(
                model,
                split,
                objective=objective,
                batch_size=batch_size,
                seeds=seeds,
                members=members,
                dtype=dtype,
                backend=backend,
                rows=rows,
            )
            state = first_state(
                model, parameters, objective=objective, descent=descent, backend=backend
            )
        engine = _engine(
            functools.partial(make_step, model, objective, descent),
            model,
            backend,
            precision=config.dtype or dtype,
            compile=config.compile,
        )
        is_number = model.predicts_numbers
        run = cls(
            model=model,
            split=split,
            objective=objective,
            descent=descent,
            control=control,
            backend=backend,
            epochs=config.epochs,
            batch_size=batch_size,
            seed=seeds[0],
            shuffle=config.shuffle,
            drop_last=config.drop_last,
            orders=orders,
            rows=rows,
            weights=row_weights(
                split,
                objective,
                sample_weights,
                members=members,
                output=model.output,
                dtype=dtype,
            ),
            threads=Threads(config.threads, may_change=False),
            engine=engine,
            fixed=fixed,
            state=state,
            correct=np.zeros(members, dtype=np.float64 if is_number else np.int64),
        )
        if not config.threads:
            run._choose_threads()
        return run

    def restore(self, snapshot: Snapshot) -> None:
        """Go on from a snapshot of this run: the next step is the one that followed it then.

        Raises `InputError` for a snapshot of another network, optimizer or dtype.
        """
        now = self.snapshot()
        for name, found, wanted in (
            *((name, snapshot.state.get(name), now.state[name]) for name in now.state),
            ("counts", snapshot.correct, now.correct),
        ):
            if found is None or found.shape != wanted.shape or found.dtype != wanted.dtype:
                raise InputError(
                    f"the saved {name} do not fit this run: "
                    f"{'none' if found is None else f'{found.dtype} {found.shape}'} in place of "
                    f"{wanted.dtype} {wanted.shape}; resume with the settings it began with"
                )
        history = snapshot.history
        series = [*history.losses, *history.accuracies]
        series += [*history.validation_losses, *history.validation_accuracies]
        evaluations = len(history.validation_iterations)
        if (
            snapshot.state.keys() != now.state.keys()
            or not (snapshot.finite or self.control.lets_members_diverge)
            or len(history.accuracies) != snapshot.epoch
            or any(values.shape != now.correct.shape for values in series)
            or evaluations != len(history.validation_losses)
            or evaluations != len(history.validation_accuracies)
            or (snapshot.best is None) != (not (self.control.keep_best and evaluations))
        ):
            raise InputError("the saved state is not whole, or of another run: train again")
        self.load_state(snapshot.state)
        with self.backend.activate():
            if self.state.step is not None:
                steps = snapshot.epoch * self.steps_per_epoch + snapshot.step
                self.state = self.state._replace(step=self.backend.asarray(np.array([steps])))
        self.epoch, self.step = snapshot.epoch, snapshot.step
        self.correct = snapshot.correct.copy()
        self.history, self.best = history.copy(), snapshot.best
        self.seconds = snapshot.seconds
        self.last_good = snapshot

    def load_state(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take these arrays of the state, by the names that a snapshot has, in place of its own."""
        with self.backend.activate():
            sent = {name: self.backend.asarray(array.copy()) for name, array in arrays.items()}
            self.state = _with_kept(self.state, sent)

    def snapshot(self) -> Snapshot:
        """The run as it stands, copied to the host."""
        kept = _kept(self.state)
        return Snapshot(
            state={name: self.backend.to_numpy(array) for name, array in kept.items()},
            epoch=self.epoch,
            step=self.step,
            correct=self.correct.copy(),
            history=self.history.copy(),
            seconds=self.seconds,
            best=self.best,
        )

    def extend(self, epochs: int) -> None:
        """Let a run that is over go on for so many epochs more."""
        self.epochs = self.epoch + check_integer("epochs", epochs, least=0)
        self.ended, self.was_stopped = "", False

    @property
    def step_maker(self) -> StepMaker:
        """What makes the step of this run for a library's namespace."""
        return functools.partial(
            make_step, self.model, self.objective, self.descent, parts=self.parts
        )

    @property
    def row_count(self) -> int:
        """Rows that a network trains on."""
        return int(self.split.labels.shape[0]) if self.rows is None else self.rows.shape[-1]

    @property
    def steps_per_epoch(self) -> int:
        """Batches in the data."""
        return batches_of(self.row_count, self.batch_size, drop_last=self.drop_last)

    @property
    def iteration(self) -> int:
        """Steps done in all."""
        return self.epoch * self.steps_per_epoch + self.step

    @property
    def parameters(self) -> Array:
        """The flat vector to predict with, on the device: (P,) or (E, P), statistics behind.

        The mean of the parameters where the run averages them, and, once it is over, the best
        ones where it keeps them. The next step may overwrite this (NumPy, CuPy, torch) or give its
        memory away (JAX): an observer that wants to keep it takes a copy.
        """
        if self.best is not None and self._is_over:
            return self.backend.asarray(self.best.parameters)
        return self._present_parameters

    @property
    def _present_parameters(self) -> Array:
        """The same, of the step that was last."""
        state = self.state
        parts = (
            (state.parameters, state.statistics)
            if state.mean is None
            else (state.mean, state.mean_statistics)
        )
        if parts[1] is None:
            return parts[0]
        return self.backend.xp.concat(parts, axis=-1)

    def feed(self) -> Feed:
        """Where the steps of this run get their rows from."""
        limit = None
        if self.in_blocks:
            size, free = self.split.X.nbytes, self.backend.free_memory()
            limit = (size if free is None else min(size, free)) // BLOCKS
        return feed(
            self.split,
            batch_size=self.batch_size,
            fixed=self.fixed,
            backend=self.backend,
            has_orders=self.rows is not None,
            limit=limit,
        )

    def epoch_inputs(self) -> Epoch:
        """What the steps of the present epoch look up: a function of seed, epoch and history."""
        steps, first = self.steps_per_epoch, self.epoch * self.steps_per_epoch
        if self.orders is not None:
            chosen = self.orders(self.epoch)
        else:
            is_mapped = isinstance(self.split.X, MappedRows) and self.rows is None
            chosen = order(
                self.row_count,
                seed=self.seed,
                epoch=self.epoch,
                shuffle=self.shuffle,
                blocks=self.split.X.blocks if is_mapped else None,
            )
        # Whole batches of one shape: the last one is filled up with rows that weigh nothing.
        wanted = steps * self.batch_size
        if wanted > self.row_count:
            chosen = np.take(chosen, np.arange(wanted) % self.row_count, axis=-1)
        chosen = chosen[..., :wanted]
        dtype = dtype_name(self.state.parameters)
        shares = factors = averaging = None
        if a := self.objective.mixup:
            drawn = generator(self.seed, MIXUP, self.epoch).beta(a, a, chosen.shape[-1:])
            shares = drawn.astype(dtype)
        total = self.epochs * steps
        if not self.descent.is_constant:
            factors = self.descent.factors(
                first,
                steps,
                total=total,
                steps_per_epoch=steps,
                losses=()
                if self.descent.plateau is None
                else self.history.epoch_losses(
                    self.epoch, steps, is_validated=self.control.validation is not None
                ),
            ).astype(dtype)
        if self.descent.average != "none":
            averaging = self.descent.averaging(
                first, steps, total=total, steps_per_epoch=steps
            ).astype(dtype)
        if self.rows is not None:
            chosen = np.take_along_axis(self.rows, np.atleast_2d(chosen), axis=1)
        weights, penalties = batch_weights(
            chosen,
            self.weights,
            batch_size=self.batch_size,
            left_over=self.row_count % self.batch_size if not self.drop_last else 0,
            objective=self.objective,
            dtype=dtype,
        )
        return Epoch(chosen, first, weights, shares, penalties, factors, averaging)

    def run(self, observers: Iterable[Observer] = ()) -> "Training":
        """Train until the last epoch is done, `control` has had enough, or an observer raises
        `StopTraining`.

        Raises `Diverged` when a loss or a parameter is no number any more; the run then stands
        where its numbers were last known to be good: after an epoch, or where it began.
        """
        observers = list(observers)
        with self.backend.activate():
            try:
                self._tell(observers, "on_start")
                while not self._try_epochs(observers):
                    pass
            except StopTraining:
                self.was_stopped = True
            except _NoNumber as wrong:
                self.restore(self.last_good)
                raise Diverged(self._divergence(wrong, self._fault_at(wrong.iteration))) from None
            self._tell(observers, "on_end")
        return self

    def _try_epochs(self, observers: Sequence[Observer]) -> bool:
        """Train to the end, or as far as memory goes; False where less of it may do.

        The run then stands at its last good state again. Raises `DeviceLost` for a GPU that is.
        """
        try:
            self._run_epochs(observers)
        except Exception as error:
            said = " ".join(str(error).split()) or type(error).__name__
            if is_lost(error):
                raise DeviceLost(
                    f"{self.backend.name} on {self.backend.device_name} was lost in epoch "
                    f"{self.epoch + 1}, step {self.step + 1} ({said}); the state after "
                    f"{self.last_good.epoch} epochs is kept"
                ) from error
            if not (is_out_of_memory(error) and self._takes_less_memory()):
                raise
        else:
            return True
        # Out here the error is gone, and with it what its frames held.
        ways = [f"each batch in {self.parts} parts"] if self.parts > 1 else []
        how = " and ".join([*(["rows in blocks"] if self.in_blocks else []), *ways])
        log.warning(
            "%s on %s is out of memory (%s): epoch %d begins again with %s",
            self.backend.name, self.backend.device_name, said, self.last_good.epoch + 1, how,
        )  # fmt: skip
        mode, precision = self.engine.mode, self.engine.precision
        del self.engine
        self.backend.reclaim()
        self.engine = _engine(
            self.step_maker, self.model, self.backend, precision=precision, compile=mode
        )
        self.restore(self.last_good)
        return False

    def _takes_less_memory(self) -> bool:
        """Take rows in blocks, or batches in twice as many parts; False where neither helps."""
        X, units = self.split.X, self.correct.size * sum(self.model.layer_sizes[1:])
        batch = self.batch_size * units * BYTES_OF_A_UNIT
        is_sent = isinstance(X, np.ndarray) and self.backend.device_name != "cpu"
        can_stream = is_sent and self.rows is None and not self.in_blocks
        can_split = (
            self.parts < self.batch_size
            and self.model.normalization != "batch"
            and batch / (2 * self.parts) >= WORTHWHILE
        )
        if can_stream and (X.nbytes > batch or not can_split):
            self.in_blocks = True
        elif can_split:
            self.parts = min(2 * self.parts, self.batch_size)
        else:
            return False
        return True

    @property
    def _is_over(self) -> bool:
        return bool(self.ended) or self.epoch >= self.epochs

    def _run_epochs(self, observers: Sequence[Observer]) -> None:
        pace = Pace()
        rows = self.feed()
        self._look_whether_it_is_over(after=self.seconds)
        began = time.perf_counter() - self.seconds
        # An epoch whose steps are all done is finished, too, where a run ends at the last of them.
        while not self._is_over or self.step == self.steps_per_epoch:
            epoch = self.epoch_inputs()
            with contextlib.closing(rows.epoch(epoch, done=self.step)) as segments:
                for segment in segments:
                    self.state = self.state._replace(offset=segment.offset)
                    self._run_segment(segment, pace, observers, began=began)
                    if self.ended and self.step < self.steps_per_epoch:
                        return
            self._finish_epoch(epoch, began=began)
            self._tell(observers, "on_epoch")
            self._look_whether_it_is_over(after=time.perf_counter() - began)

    def _run_segment(
        self, segment: Segment, pace: Pace, observers: Sequence[Observer], *, began: float
    ) -> None:
        """Steps on rows that are on the device, with a look at them after every tick."""
        backend, last = self.backend, self.step + segment.steps
        started = time.perf_counter()
        if segment.steps:  # none are left where a run was stopped at an epoch's last
            with backend.threads(self.threads.number):
                self.engine.start(self.state, segment.data, steps=segment.steps)
        every = [self.control.validate_every, *(observer.every for observer in observers)]
        while self.step < last and not self.ended:
            count = min(
                pace.tick,
                last - self.step,
                *(number - self.iteration % number for number in every if number),
            )
            with backend.threads(self.threads.number):
                self.state, metrics = self.engine.run(self.state, segment.data, count)
                losses = backend.to_numpy(metrics.loss)
                correct = backend.to_numpy(metrics.correct)
            self._check(losses)
            self.history.losses.extend(losses)
            self.correct += correct.sum(axis=0)
            self.step += count
            pace.measure(count, self._count_seconds(since=started))
            if self.control.validate_every and self.iteration % self.control.validate_every == 0:
                self._validate()
            self._look_whether_it_is_over(after=time.perf_counter() - began)
            self._tell(observers, "on_tick")
            started = time.perf_counter()
            if self.threads.may_change and pace.asks_for_threads:
                self._choose_threads()
                pace.chose_threads()

    def _choose_threads(self) -> None:
        products = self.model.products(self.batch_size)
        self.threads = self.backend.choose_threads(products, self.engine.precision)

    def _finish_epoch(self, epoch: Epoch, *, began: float) -> None:
        self.history.accuracies.append(self.correct / epoch.counted)
        self.correct = np.zeros_like(self.correct)
        self.epoch, self.step = self.epoch + 1, 0
        if self.control.validation is not None and not self.control.validate_every:
            self._validate()
        self._look_whether_it_is_over(after=time.perf_counter() - began)
        snapshot = self.snapshot()
        if not (snapshot.finite or self.control.lets_members_diverge):
            raise _NoNumber("a parameter is not finite", self.iteration)
        self.last_good = snapshot

    def _validate(self) -> None:
        """Evaluate the network as it would be used now, and remember the best."""
        validation = self.control.validation
        assert validation is not None  # for the type checker # nosec B101
        parameters = self._present_parameters
        found = evaluate(
            self.model,
            parameters,
            validation,
            objective=self.objective,
            backend=self.backend,
        )
        self.history.validation_iterations.append(self.iteration)
        self.history.validation_losses.append(np.asarray(found.loss))
        self.history.validation_accuracies.append(np.asarray(found.accuracy))
        if self.control.keep_best:
            cost = self.control.cost(found.loss, found.accuracy)
            kept = self.backend.to_numpy(parameters)
            best = self.best or Best(cost, kept)
            self.best = best.or_better(cost, kept)

    def _look_whether_it_is_over(self, *, after: float) -> None:
        """`after` so many seconds."""
        control, history = self.control, self.history
        evaluations = zip(history.validation_losses, history.validation_accuracies, strict=True)
        if control.patience and control.has_run_dry(
            list(itertools.starmap(control.cost, evaluations))
        ):
            self.ended = (
                f"no better validation {control.monitor} in the last {control.patience} evaluations"
            )
        elif after >= control.time_limit:
            self.ended = f"the time limit of {control.time_limit:g} s is reached"

    def _check(self, losses: np.ndarray) -> None:
        bad = ~np.isfinite(losses)
        if bad.any() and not (self.control.lets_members_diverge and not bad[-1].all()):
            first = np.argwhere(bad)[0]
            found = f"the loss became {losses[tuple(first)]}"
            if len(first) > 1:
                found += f" in member {first[1] + 1}"
            raise _NoNumber(found, self.iteration + int(first[0]) + 1)

    def _fault_at(self, iteration: int) -> str:
        """What became no number in a step of the present epoch, or in the one before it, whose
        loss was still one; in words, empty if unknown.

        The steps up to there are taken again, one by one; the run then stands where it did.
        """
        try:
            return self._replay(iteration - 1) or self._replay(iteration)
        except Exception as error:  # it only explains another error
            log.info("the step that went wrong could not be replayed: %s", error)
            return ""
        finally:
            self.restore(self.last_good)

    def _replay(self, iteration: int) -> str:
        """Take the steps to this one, and look at it; "" where it is not ahead in this epoch."""
        with contextlib.closing(self.feed().epoch(self.epoch_inputs(), done=self.step)) as segments:
            for segment in segments:
                state = self.state._replace(offset=segment.offset)
                before = min(iteration - 1 - self.iteration, segment.steps)
                if before > 0:
                    state, _ = self.engine.run_eagerly(state, segment.data, before)
                    self.state, self.step = state, self.step + before
                if 0 <= before < segment.steps:
                    return first_fault(self.step_maker, state, segment.data, backend=self.backend)
        return ""

    def _divergence(self, wrong: "_NoNumber", fault: str) -> str:
        epoch, step = divmod(wrong.iteration - 1, self.steps_per_epoch)
        rates = np.unique(self.descent.learning_rate)
        rate = ", ".join(f"{rate:g}" for rate in rates)
        return (
            f"{wrong.found} at iteration {wrong.iteration} (epoch {epoch + 1}, step {step + 1})"
            f"{f', first in {fault},' if fault else ''} with learning rate {rate}: try a smaller "
            f"one, such as {rates.min() / 10:g}; the state after {self.last_good.epoch} epochs is "
            "kept"
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


def _named(tree: object, name: str = "") -> dict[str, Array]:
    """The arrays of a nest of named tuples by name: `optimizer.m`."""
    if tree is None:
        return {}
    if not isinstance(tree, tuple):
        return {name: tree}
    prefix = f"{name}." if name else ""
    found: dict[str, Array] = {}
    for part, branch in tree._asdict().items():  # type: ignore[attr-defined]
        found |= _named(branch, prefix + part)
    return found


def _kept(state: TrainingState) -> dict[str, Array]:
    """What of the state a snapshot has: not what follows from the settings and the counters."""
    return _named(state._replace(offset=None, step=None, learning_rate=None, weight_decay=None))


def _with_kept(state: TrainingState, arrays: Mapping[str, Array]) -> TrainingState:
    """The state with the arrays of a snapshot in it."""
    leaves = (arrays.get(name, array) for name, array in _named(state).items())
    restored: TrainingState = rebuild(state, leaves)
    return restored


FAST = 0.01
"""The learning rate, at least, of steps that are compared: slower, they may change too little."""


def _engine(
    step_maker: StepMaker, model: MLP, backend: Backend, *, precision: str, compile: str
) -> Engine:
    """What executes the steps of a run."""
    return Engine(
        backend,
        step_maker,
        precision=precision,
        compile=compile,
        probe=functools.partial(_fast_enough_to_see, backend=backend),
        parts=functools.partial(_parts, model, xp=backend.xp),
    )


def _fast_enough_to_see(
    state: TrainingState, data: TrainingData, *, backend: Backend
) -> tuple[TrainingState, TrainingData]:
    """State and data whose learning rate moves parameters by more than they are rounded."""
    rate = backend.to_numpy(state.learning_rate)
    state = state._replace(learning_rate=backend.asarray(np.maximum(rate, rate.dtype.type(FAST))))
    if data.factors is not None:
        ones = np.ones(data.factors.shape, rate.dtype)
        data = data._replace(factors=backend.asarray(ones))
    return state, data


def _parts(model: MLP, leaf: Array, *, xp: Namespace) -> list[Array]:
    """A flat vector as the layers' parts of it; another array whole."""
    if leaf.ndim and leaf.shape[-1] == model.parameter_count > 1:
        return list(model.unflatten(leaf, xp=xp).values())
    return [leaf]


def train(
    model: MLP,
    split: Split,
    *,
    parameters: Array | None = None,
    config: TrainConfig | None = None,
    rows: np.ndarray | None = None,
    sample_weights: np.ndarray | None = None,
    backend: Backend | None = None,
    observers: Iterable[Observer] = (),
    **settings: Any,
) -> Training:
    """Train a network, by default by mini-batch SGD, and return the finished run.

    `split` has the rows X (n, l0), bytes or floating, and labels (n,) or targets (n, K). The
    defaults are the lecture's. A sequence of E seeds trains E networks at once on the same
    batches, whose order the first seed gives, or on `rows` (E, n) of their own. Rows that are left
    over after the last full batch wait for another order, or are a smaller batch with
    `drop_last=False`. Training starts
    from `parameters` (flat, on the device or the host) or from `model.initialize(seed)`.
    `settings` are those of `TrainConfig`; `sample_weights` (n,) weigh rows. The result has
    `parameters` and `history`.

    Raises `InputError` for data that does not fit the network, `Diverged` for a loss that is no
    number any more.
    """
    backend = backend or select_backend()
    config = TrainConfig.of(config, **settings)
    dtype = config.dtype or "float32"
    if parameters is None:
        parameters = model.initialize(config.seed, backend=backend, dtype=PRECISIONS[dtype])
    elif dtype in DTYPES:
        config = dataclasses.replace(config, dtype=None)  # what the parameters are in decides
    return Training.begin(
        model,
        split,
        parameters=parameters,
        backend=backend,
        config=config,
        rows=rows,
        sample_weights=sample_weights,
    ).run(observers)


def batches_of(rows: int, batch_size: int, *, drop_last: bool) -> int:
    """Full batches in so many rows; those left over wait for another order, as in the lecture, or
    are one more batch."""
    full, left = divmod(rows, batch_size)
    return full if drop_last or not left else full + 1
