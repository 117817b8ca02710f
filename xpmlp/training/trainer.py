"""The loop around the step: epochs of steps, and the events that callbacks listen to."""

import contextlib
import dataclasses
import functools
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Self

import numpy as np

from xpmlp import renamed
from xpmlp.backends import PRECISIONS, Backend, select_backend
from xpmlp.backends.base import StepMaker, Threads
from xpmlp.checks import check_integer, check_kind, plain
from xpmlp.data import Split
from xpmlp.errors import CallbackError, InputError
from xpmlp.network import MLP
from xpmlp.training.batches import Batches, EpochPlan, fixed_data, row_weights
from xpmlp.training.callbacks import (
    Callback,
    StopTraining,
    as_callbacks,
    callbacks_of,
    name_slow_ones,
    tell,
)
from xpmlp.training.config import TrainConfig
from xpmlp.training.engine import Engine
from xpmlp.training.evaluation import Evaluation, checked, evaluate
from xpmlp.training.history import History
from xpmlp.training.loaders import BatchLoader, Chunk, make_loader
from xpmlp.training.metrics import tracked_metric
from xpmlp.training.nonfinite import NonFiniteError, check_losses
from xpmlp.training.recovery import MemoryPlan, divergence, plan_after
from xpmlp.training.state import Snapshot, first_state, saved_arrays, with_arrays
from xpmlp.training.step import make_step
from xpmlp.training.ticks import TickTimer
from xpmlp.training.validation_config import Best
from xpmlp.typing import DTYPES, Array, dtype_name


@renamed.with_old_names
class Trainer:
    """The training of a network: its settings and how far it is.

    `run` trains, `snapshot` copies the state, and `restore` returns to a snapshot. Callbacks read
    the trainer, and change it only through its methods.

    Parameters
    ----------
    model : MLP
        The network.
    split : Split
        Rows X (n, l0), bytes or floating-point, and labels (n,) or targets (n, K). Rows and labels
        on the backend's device are taken without checks.
    backend : Backend
        What executes the steps.
    parameters : array of shape (P,), (P + S,) or (E, P + S), optional
        The initial parameters, which are copied and decide between float32 and float64; by default
        `initializer` draws them from the seed.
    config : TrainConfig, optional
        The settings.
    orders : callable, optional
        From the number of an epoch to its order of rows, (n,), or (E, n) with `rows`; by default
        the first seed decides.
    rows : ndarray of shape (E, m), optional
        The numbers of the rows that each member trains on; by default all.
    sample_weights : ndarray of shape (n,) or (E, n), optional
        A weight for each row.
    **settings
        Settings of `TrainConfig`, which replace those of `config`.

    Attributes
    ----------
    epoch, step : int
        The number of finished epochs, and of steps done in the present epoch.
    history : History
        The history so far.
    ended : str
        Why the run ended before its last epoch; empty if it did not.
    was_stopped : bool
        Whether a callback raised `StopTraining`.

    Raises
    ------
    InputError
        For data or parameters that do not fit the network, and for unknown settings.

    Examples
    --------
    >>> rows = xpmlp.Split(np.eye(2), np.array([0, 1]))
    >>> numpy = xpmlp.select_backend("numpy")
    >>> trainer = xpmlp.Trainer(xpmlp.MLP((2, 2)), rows, backend=numpy, epochs=2, batch_size=2)
    >>> trainer.run().epoch
    2
    """

    def __init__(
        self,
        model: MLP,
        split: Split,
        *,
        backend: Backend,
        parameters: Array | None = None,
        config: TrainConfig | None = None,
        orders: Callable[[int], np.ndarray] | None = None,
        rows: np.ndarray | None = None,
        sample_weights: np.ndarray | None = None,
        **settings: Any,
    ) -> None:
        """Make a run that has not started; see the class."""
        split = checked(split, model, where="training data")
        config = _checked(TrainConfig.of(config, **settings), model)
        check_kind("backend", backend, Backend)
        if parameters is not None and not getattr(parameters, "ndim", 0):
            raise InputError(f"parameters={parameters!r:.60}: give an array, (P,) or (E, P)")
        with backend.activate():
            if parameters is None:
                drawn = PRECISIONS[config.dtype or "float32"]
                parameters = config.initialize(model, config.seed, dtype=drawn, backend=backend)
            is_host = isinstance(parameters, np.ndarray)
            vector = backend.asarray(parameters) if is_host else parameters
            members, dtype = tuple(vector.shape[:-1]), dtype_name(vector)
            if rows is not None and rows.shape[:-1] != members:
                raise InputError(f"rows of shape {rows.shape} for parameters {vector.shape}")
            if isinstance(split.labels, np.ndarray) and split.labels.dtype.kind == "f":
                split = split._replace(labels=split.labels.astype(dtype))
            self.fixed = fixed_data(model, split, config, vector, backend, rows)
            self.state = first_state(model, config, vector, backend)
        weights = row_weights(model, split, config.objective, vector, sample_weights)
        self.model, self.split, self.backend = model, split, backend
        self.batches = Batches(split, config, dtype, orders, rows, weights)
        self._configure(config)
        self.row_count, self.steps_per_epoch = self.batches.row_count, self.batches.steps_per_epoch
        self.precision = dtype if config.dtype in (None, *DTYPES) else config.dtype
        self.memory = MemoryPlan()
        self.engine = self._make_engine()
        self.metric_sum = np.zeros(members, np.float64 if model.is_regression else np.int64)
        self.epoch, self.step, self.seconds = 0, 0, 0.0
        self.history = History(metric=tracked_metric(model))
        self.best: Best | None = None
        self._forget_end()
        self.last_good = self.snapshot()
        if not self.last_good.finite:
            raise InputError("the initial parameters hold NaN or infinite values; give finite ones")
        self.threads = Threads(config.threads, may_change=False)
        if not config.threads:
            self._choose_threads()

    @classmethod
    def begin(cls, model: MLP, split: Split, **settings: Any) -> Self:
        """Return `Trainer(model, split, ...)`; this is its name of 0.1.0.

        Parameters
        ----------
        model : MLP
            The network.
        split : Split
            Rows and labels.
        **settings
            The other arguments of `Trainer`.

        Returns
        -------
        Trainer
            The run.
        """
        return cls(model, split, **settings)

    def restore(self, snapshot: Snapshot) -> None:
        """Continue from a snapshot of this run.

        The next step is the one that followed the snapshot.

        Parameters
        ----------
        snapshot : Snapshot
            The snapshot.

        Raises
        ------
        InputError
            For a snapshot of another network, optimizer or dtype.
        """
        snapshot.check_fits(self.snapshot(), self.validation_config)
        self.load_state(snapshot.state)
        self.epoch, self.step = snapshot.epoch, snapshot.step
        with self.backend.activate():
            if self.state.step is not None:
                steps = self.backend.asarray(np.array([self.iteration]))
                self.state = self.state._replace(step=steps)
        self.metric_sum = snapshot.metric_sum.copy()
        self.history = dataclasses.replace(snapshot.history.copy(), metric=self.history.metric)
        self.best = snapshot.best
        self.seconds = snapshot.seconds
        self.last_good = snapshot
        self.ended, self.was_stopped = "", False

    def _configure(self, config: TrainConfig) -> None:
        """Continue with these settings; the step is compiled for the first ones."""
        self.config, self.batches = config, dataclasses.replace(self.batches, config=config)
        self.objective, self.optimizer_config, self.validation_config = (
            config.objective,
            config.optimizer_config,
            config.validation_config,
        )
        self.epochs, self.batch_size = config.epochs, config.batch_size

    def load_state(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Replace arrays of the state.

        Parameters
        ----------
        arrays : mapping of str to ndarray
            The arrays, by the names of a snapshot's `state`.
        """
        with self.backend.activate():
            self.state = with_arrays(self.state, arrays, backend=self.backend)

    def set_learning_rate(self, rates: np.ndarray | float) -> None:
        """Continue with another learning rate.

        Parameters
        ----------
        rates : ndarray of shape () or (E,)
            The rate, or one for each member.
        """
        optimizer_config = dataclasses.replace(self.optimizer_config, learning_rate=plain(rates))
        self._configure(dataclasses.replace(self.config, optimizer_config=optimizer_config))
        now = self.state.learning_rate
        sent = self.optimizer_config.rates(self.model, self.metric_sum.shape, dtype_name(now))
        with self.backend.activate():
            # As wide as it was, for which the step is compiled.
            self.state = self.state._replace(learning_rate=self.backend.asarray(sent) + 0.0 * now)

    def __repr__(self) -> str:
        return f"<Trainer of {self.model}: epoch {self.epoch} of {self.epochs}>"

    @property
    def stopped_by(self) -> str:
        """The class of the callback that ended the run early and its reason; else empty."""
        return self.stops[0] if self.stops else ""

    def extend(self, epochs: int) -> None:
        """Let a finished run continue for more epochs; call `run` afterwards.

        Parameters
        ----------
        epochs : int
            The number of further epochs.
        """
        epochs = self.epoch + check_integer("epochs", epochs, least=0)
        self._configure(dataclasses.replace(self.config, epochs=epochs))
        self._forget_end()

    def _forget_end(self) -> None:
        """Run as if nothing had ended the run before."""
        self.ended, self.was_stopped, self.stops = "", False, list[str]()
        self.callback_seconds = defaultdict[str, float](float)

    def stop(self, reason: str) -> None:
        """End the run after the present step.

        Parameters
        ----------
        reason : str
            The reason, for `stopped_by`.
        """
        self.ended = self.ended or reason

    def keep_if_better(self, cost: np.ndarray) -> None:
        """Keep the current parameters of each member that has not become worse.

        Parameters
        ----------
        cost : ndarray
            The cost of the current parameters, a scalar or (E,).
        """
        parameters = self.backend.to_numpy(self.current_parameters)
        self.best = (self.best or Best(cost, parameters)).or_as_good(cost, parameters)

    def snapshot(self) -> Snapshot:
        """Return the state of the run, copied to the host.

        Returns
        -------
        Snapshot
            The copy.
        """
        to_numpy = self.backend.to_numpy
        return Snapshot(
            state={name: to_numpy(array) for name, array in saved_arrays(self.state).items()},
            epoch=self.epoch,
            step=self.step,
            metric_sum=self.metric_sum.copy(),
            history=self.history.copy(),
            seconds=self.seconds,
            best=self.best,
        )

    @property
    def takes_bytes(self) -> bool:
        """Whether rows are bytes, which are scaled to 0..1."""
        return str(self.split.X.dtype).endswith("uint8")

    @property
    def step_maker(self) -> StepMaker:
        """The function that makes this run's step for a namespace."""
        return functools.partial(
            make_step, self.model, self.objective, self.optimizer_config, parts=self.memory.parts
        )

    @property
    def iteration(self) -> int:
        """The number of steps done in all epochs."""
        return self.epoch * self.steps_per_epoch + self.step

    @property
    def is_over(self) -> bool:
        """Whether no step is left."""
        return bool(self.ended) or self.epoch >= self.epochs

    @property
    def parameters(self) -> Array:
        """The flat vector to predict with, on the device: (P + S,) or (E, P + S).

        It is the mean of the parameters if the run averages them, and, once the run is over, the
        best ones if it keeps them. The next step may overwrite it (NumPy, CuPy, torch) or release
        its memory (JAX): copy it to keep it.
        """
        if self.best is not None and self.is_over:
            return self.backend.asarray(self.best.parameters)
        return self.current_parameters

    @property
    def current_parameters(self) -> Array:
        """The flat vector after the last step, the best or not."""
        state = self.state
        vector, statistics = (
            (state.parameters, state.statistics)
            if state.mean is None
            else (state.mean, state.mean_statistics)
        )
        if statistics is None:
            return vector
        return self.backend.xp.concat((vector, statistics), axis=-1)

    def evaluate(self, split: Split, parameters: Array | None = None) -> Evaluation:
        """Return loss and accuracy (R² for a regression) on labelled rows.

        Parameters
        ----------
        split : Split
            Rows and labels.
        parameters : array of shape (P + S,) or (E, P + S), optional
            The flat vector; by default `self.parameters`.

        Returns
        -------
        Evaluation
            Loss and accuracy.
        """
        vector = self.parameters if parameters is None else parameters
        return evaluate(self.model, vector, split, objective=self.objective, backend=self.backend)

    def loader(self) -> BatchLoader:
        """Return the loader from which the steps of this run get their rows.

        Returns
        -------
        BatchLoader
            The loader.
        """
        return make_loader(
            self.split,
            batch_size=self.batch_size,
            fixed=self.fixed,
            backend=self.backend,
            has_orders=self.batches.rows is not None,
            limit=self.memory.limit(self.split.X, self.backend),
        )

    def epoch_plan(self) -> EpochPlan:
        """Return the inputs of the present epoch's steps, such as the order of rows.

        Returns
        -------
        EpochPlan
            The inputs.
        """
        return self.batches.plan(self.epoch, self.history)

    def run(self, callbacks: Iterable[Callback] = ()) -> Self:
        """Train until the last epoch, a callback's `stop`, or `StopTraining`.

        Parameters
        ----------
        callbacks : iterable of Callback, default ()
            Callbacks of the run.

        Returns
        -------
        Trainer
            This run.

        Raises
        ------
        KeyboardInterrupt
            After Ctrl-C and `on_end` of all callbacks. The run returns to its last finite state,
            that after an epoch or at its start, and can be run again.
        CallbackError
            For a callback that failed, after `on_end` of all callbacks. The run keeps its state and
            can be run again.
        Diverged
            For a loss or a parameter that became NaN or infinite. The run returns to its last
            finite state, that after an epoch or at its start.
        """
        before, after = callbacks_of(self.validation_config)
        given = [*as_callbacks(callbacks), *after]
        everyone = [*before, *given]
        with self.backend.activate():
            try:
                tell(everyone, "on_start", self)
                while not self._try_epochs(before, given):
                    pass
            except StopTraining:
                self.was_stopped = True
            except (CallbackError, KeyboardInterrupt) as error:
                if isinstance(error, KeyboardInterrupt):
                    self.restore(self.last_good)
                with contextlib.suppress(CallbackError):
                    tell(everyone, "on_end", self)
                raise
            except NonFiniteError as error:
                self.restore(self.last_good)
                raise divergence(error, self) from None
            tell(everyone, "on_end", self)
        name_slow_ones(self)
        return self

    def _try_epochs(self, before: Sequence[Callback], given: Sequence[Callback]) -> bool:
        """Train to the end, or as far as memory goes; False where less of it may do.

        The run then stands at its last good state again.
        """
        try:
            self._run_epochs(before, given)
        except Exception as error:
            self.memory = plan_after(error, self)
        else:
            return True
        # Out here the error is gone, and with it what its frames held.
        del self.engine
        self.backend.reclaim()
        self.engine = self._make_engine()
        self.restore(self.last_good)
        return False

    def _make_engine(self) -> Engine:
        return Engine(
            self.backend,
            self.step_maker,
            self.model,
            precision=self.precision,
            compile=self.config.compile,
        )

    def _run_epochs(self, before: Sequence[Callback], given: Sequence[Callback]) -> None:
        timer, loader = TickTimer(), self.loader()
        # An epoch whose steps are all done is finished, too, where a run ends at the last of them.
        while not self.is_over or self.step == self.steps_per_epoch:
            plan = self.epoch_plan()
            with contextlib.closing(loader.epoch(plan, done=self.step)) as chunks:
                for chunk in chunks:
                    self.state = self.state._replace(offset=chunk.offset)
                    self._run_chunk(chunk, timer, [*before, *given])
                    if self.ended and self.step < self.steps_per_epoch:
                        return
            self.history.accuracies.append(self.metric_sum / plan.counted)
            self.metric_sum = np.zeros_like(self.metric_sum)
            self.epoch, self.step = self.epoch + 1, 0
            tell(before, "on_epoch", self)
            snapshot = self.snapshot()
            if not (snapshot.finite or self.validation_config.allow_divergence):
                raise NonFiniteError("a parameter is not finite", self.iteration)
            self.last_good = snapshot
            tell(given, "on_epoch", self)

    def _run_chunk(self, chunk: Chunk, timer: TickTimer, callbacks: Sequence[Callback]) -> None:
        """Run steps whose rows are on the device, with a look at them after every tick."""
        backend, last = self.backend, self.step + chunk.steps
        may_diverge = self.validation_config.allow_divergence
        started = time.perf_counter()
        if chunk.steps:  # none are left where a run was stopped at an epoch's last
            with backend.threads(self.threads.number):
                self.engine.start(self.state, chunk.data, steps=chunk.steps)
        every = [callback.every for callback in callbacks if callback.every]
        while self.step < last and not self.ended:
            ahead = (number - self.iteration % number for number in every)
            count = min(timer.tick, last - self.step, *ahead)
            with backend.threads(self.threads.number):
                self.state, metrics = self.engine.run(self.state, chunk.data, count)
                losses = backend.to_numpy(metrics.loss)
                metric_sum = backend.to_numpy(metrics.metric_sum)
            check_losses(losses, self.iteration, allows_divergence=may_diverge)
            self.history.losses.extend(losses)
            self.metric_sum += metric_sum.sum(axis=0)
            self.step += count
            seconds = time.perf_counter() - started
            self.seconds += seconds
            timer.measure(count, seconds)
            tell(callbacks, "on_tick", self)
            started = time.perf_counter()
            if self.threads.may_change and timer.asks_for_threads:
                self._choose_threads()
                timer.reset_baseline()

    def _choose_threads(self) -> None:
        products = self.model.products(self.batch_size)
        self.threads = self.backend.choose_threads(products, self.engine.precision)


def _checked(config: TrainConfig, model: MLP) -> TrainConfig:
    """The configuration with its validation rows as this network takes them, or `InputError`."""
    config.objective.check(model.output, model.layer_sizes[-1])
    if model.normalization == "batch" and config.batch_size == 1:
        raise InputError(
            "batch_size=1: a row is its own batch's mean, and normalised is nothing; "
            "give 2 or more, or normalization=layer"
        )
    if config.validation_config.monitor == "r2" and not model.is_regression:
        raise InputError("monitor=r2: this network predicts classes; give accuracy or loss")
    if (validation := config.validation_config.validation) is None:
        return config
    return TrainConfig.of(config, validation=checked(validation, model, where="validation data"))


def train(
    model: MLP,
    split: Split,
    *,
    backend: Backend | None = None,
    callbacks: Iterable[Callback] = (),
    **settings: Any,
) -> Trainer:
    """Train a network with callbacks and return the trainer.

    `xpmlp.train` is the same with more kinds of input, and returns a `Run`.

    Parameters
    ----------
    model : MLP
        The network.
    split : Split
        Rows X (n, l0), bytes or floating-point, and labels (n,) or targets (n, K).
    backend : Backend, optional
        By default that of `select_backend()`.
    callbacks : iterable of Callback, default ()
        Callbacks of the run.
    **settings
        The other arguments of `Trainer`, and settings of `TrainConfig`. E seeds train E networks at
        once on the same batches, or on `rows` (E, m) of their own.

    Returns
    -------
    Trainer
        The finished run, with `parameters` and `history`.

    Raises
    ------
    InputError
        For data that does not fit the network.
    Diverged
        For a loss that became NaN or infinite.

    Examples
    --------
    >>> from xpmlp.training import train
    >>> rows = xpmlp.Split(np.eye(2), np.array([0, 1]))
    >>> train(xpmlp.MLP((2, 2)), rows, epochs=3, batch_size=2).history.loss.shape
    (3,)
    """
    settings = renamed.arguments("training.train", settings)
    callbacks = settings.pop("callbacks", callbacks)
    backend = select_backend() if backend is None else backend
    return Trainer(model, split, backend=backend, **settings).run(callbacks)
