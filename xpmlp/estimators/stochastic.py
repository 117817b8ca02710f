"""Mini-batch training of an estimator: scikit-learn's batches, seen by xpmlp's engine."""

import dataclasses
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from xpmlp.backends import PRECISIONS, Backend
from xpmlp.data import Split
from xpmlp.errors import Diverged
from xpmlp.estimators import conventions
from xpmlp.estimators.convergence import Callbacks, Convergence
from xpmlp.estimators.parameters import Plan
from xpmlp.estimators.progress import Bar, shows_bar
from xpmlp.training import Callback, Descent, Trainer

OPTIMIZER = "optimizer."
"""What the names of an optimizer's arrays in a snapshot begin with."""


FEW = 40
"""Steps up to which a run is sooner done than compiled, as most calls of `partial_fit` are."""


class Task(NamedTuple):
    """What a fit trains on: rows with their weights, and what it is scored on meanwhile.

    `score` gives the validation score of flat parameters on the host, as scikit-learn reckons it.
    `rows` (E, n) are the numbers of those that each member trains on, by default all; `randoms`
    draw their orders, one for all members or each one's own.
    """

    train: Split
    weights: np.ndarray | None
    validation: Split | None
    score: Callable[[np.ndarray], float] | None
    rows: np.ndarray | None = None
    randoms: Sequence[np.random.RandomState] = ()


def fit_stochastic(
    estimator: Any, plan: Plan, task: Task, backend: Backend, *, incremental: bool
) -> None:
    """Train from the estimator's parameters, and leave in it what was found and on the way."""
    _check_that_it_can_continue(estimator, plan, incremental=incremental)
    learned = estimator._learned
    resumed = learned.optimizer if incremental else None
    if resumed is None:
        learned.rate = np.full(learned.parameters.shape[:-1], plan.descent.learning_rate)
    training = _begin(estimator, plan, task, backend, resumed=resumed, incremental=incremental)
    convergence = Convergence(estimator, task.score, is_planned=plan.is_planned)
    estimator.n_iter_ = 0
    _run(training, estimator, [convergence, *_callbacks(estimator)])
    _take(estimator, training, convergence)
    has_ended = convergence.has_converged or training.was_stopped or training.ended
    is_unfinished = not has_ended and estimator.n_iter_ == plan.epochs
    if is_unfinished and not incremental and not plan.is_planned:
        warnings.warn(
            f"Stochastic Optimizer: Maximum iterations ({plan.epochs}) reached and the "
            "optimization hasn't converged yet.",
            ConvergenceWarning,
            stacklevel=5,
        )


def _check_that_it_can_continue(estimator: Any, plan: Plan, *, incremental: bool) -> None:
    """Refuse what begins anew in every call where this call continues another."""
    if incremental and plan.is_planned:
        raise ValueError(
            "partial_fit with a schedule or a named recipe: nobody knows how many epochs will be; "
            "leave it out, or call fit"
        )
    if incremental or (estimator.warm_start and estimator.t_):
        for name, off in (("warm_up", 0.0), ("average", "none")):
            if getattr(plan.descent, name) != off:
                raise ValueError(
                    f"{name}={getattr(plan.descent, name)}: begins anew in every call, so neither "
                    "partial_fit nor warm_start can go on with it; leave it out"
                )


def _begin(
    estimator: Any,
    plan: Plan,
    task: Task,
    backend: Backend,
    *,
    resumed: dict[str, np.ndarray] | None,
    incremental: bool,
) -> Trainer:
    """Return the run of a fit, whose optimizer resumes from these arrays."""
    rows = int(task.train.labels.shape[0] if task.rows is None else task.rows.shape[-1])
    batch_size = _batch_size(plan.batch_size, rows)
    needs_seed = plan.objective.has_noise or bool(plan.objective.mixup)
    # Drawn only where it is used: scikit-learn's own numbers follow.
    # What was seen before counts, too: calls of `partial_fit` draw alike, but drop other units.
    seeds = [
        int(random.randint(2**31 - 1 - 4096)) + estimator.t_ if needs_seed else 0  # no secret # nosec B311
        for random in task.randoms
    ]
    epochs = 1 if incremental else plan.epochs
    is_short = epochs * -(-rows // batch_size) < FEW
    threads = int(estimator.threads)
    if is_short and not threads:
        threads = backend.spare_threads(plan.model.products(batch_size))
    training = Trainer.begin(
        plan.model,
        task.train,
        parameters=estimator._learned.parameters[..., : plan.model.size],
        objective=plan.objective,
        descent=_descent(estimator, plan, rows=rows, begins_anew=resumed is None),
        validation=task.validation,
        time_limit=estimator.time_limit or None,
        backend=backend,
        epochs=epochs,
        batch_size=batch_size,
        seed=seeds,
        shuffle=False,
        drop_last=plan.drop_last and batch_size <= rows,
        orders=_orders(rows, task.randoms if estimator.shuffle else []),
        rows=task.rows,
        sample_weights=task.weights,
        threads=threads,
        dtype=estimator.dtype if estimator.dtype in PRECISIONS else None,
        compile="off" if is_short else "auto",
    )
    if resumed is not None:
        training.load_state({OPTIMIZER + name: array for name, array in resumed.items()})
    return training


def _descent(estimator: Any, plan: Plan, *, rows: int, begins_anew: bool) -> Descent:
    """Return the plan's, with scikit-learn's learning rates where its `sgd` is asked for."""
    if estimator.solver == "sgd" and estimator.optimizer is None:
        if estimator.learning_rate == "invscaling":
            schedule = conventions.inverse_scaling(
                estimator.power_t, rows=rows, seen=estimator.t_, begins_anew=begins_anew
            )
            return dataclasses.replace(plan.descent, schedule=schedule)
        if estimator.learning_rate == "adaptive":
            rates = estimator._learned.rate.tolist()
            return dataclasses.replace(plan.descent, learning_rate=rates)
    return plan.descent


def _batch_size(asked: int | None, rows: int) -> int:
    if asked is None:
        return min(200, rows)
    if asked > rows:
        warnings.warn(
            "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped",
            stacklevel=7,
        )
    return min(int(asked), rows)


def _orders(rows: int, randoms: Sequence[np.random.RandomState]) -> Callable[[int], np.ndarray]:
    """The order of rows in each epoch, (n,) or one for each source of chance (E, n), drawn as
    scikit-learn draws it: from the one before. Without chance it is always the same."""
    chosen = [np.arange(rows)] * max(1, len(randoms))
    epochs = 0

    def order(epoch: int) -> np.ndarray:
        nonlocal chosen, epochs
        while randoms and epochs <= epoch:
            shuffled = [_shuffled(rows, random) for random in randoms]
            chosen = [one[by] for one, by in zip(chosen, shuffled, strict=True)]
            epochs += 1
        return np.stack(chosen) if len(chosen) > 1 else chosen[0]

    return order


def _shuffled(rows: int, random: np.random.RandomState) -> np.ndarray:
    drawn = np.arange(rows)
    random.shuffle(drawn)
    return drawn


def callbacks_of(estimator: Any) -> list[Any]:
    """The callbacks as a list; `TypeError` for what can neither be called nor listen."""
    given = estimator.callbacks or []
    given = [given] if callable(given) or isinstance(given, Callback) else list(given)
    for one in given:
        if not (callable(one) or isinstance(one, Callback)):
            raise TypeError(f"callbacks={given}: give functions, or instances of xpmlp.Callback")
    return given


def _callbacks(estimator: Any) -> list[Callback]:
    given = callbacks_of(estimator)
    functions = [one for one in given if not isinstance(one, Callback)]
    return [
        *([Bar(estimator)] if shows_bar(estimator) else []),
        *([Callbacks(estimator, functions)] if functions else []),
        *(one for one in given if isinstance(one, Callback)),
    ]


def _run(training: Trainer, estimator: Any, callbacks: list[Callback]) -> None:
    try:
        training.run(callbacks)
    except KeyboardInterrupt:
        warnings.warn("Training interrupted by user.", stacklevel=6)
    except Diverged as error:
        raise ValueError(
            "Solver produced non-finite parameter weights. The input data may contain large values "
            f"and need to be preprocessed: {error}"
        ) from error
    finally:
        for callback in callbacks:
            if isinstance(callback, Bar):
                callback.stop()  # its terminal is given back, whatever ended the run


def _take(estimator: Any, training: Trainer, convergence: Convergence) -> None:
    """What the run has come to."""
    estimator._learned.member_losses = np.asarray(convergence.losses)
    estimator._learned.member_epochs = convergence.epochs
    vector = training.backend.to_numpy(training.parameters)
    # A member that had learned enough is what it was then.
    vector = np.where(convergence.is_done[..., None], convergence.kept, vector)
    if estimator.early_stopping:
        vector = estimator._learned.best_parameters
    estimator._set_parameters(vector)
    state = training.snapshot().state
    estimator._learned.optimizer = {
        name.removeprefix(OPTIMIZER): array
        for name, array in state.items()
        if name.startswith(OPTIMIZER)
    }
