"""Mini-batch training of an estimator: scikit-learn's batches, seen by xpmlp's engine."""

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from xpmlp.backends import PRECISIONS, Backend
from xpmlp.data import Split
from xpmlp.errors import Diverged
from xpmlp.estimators import conventions
from xpmlp.estimators.convergence import Convergence, progress_bars
from xpmlp.estimators.hyperparameters import FitConfig
from xpmlp.tensors import below
from xpmlp.training import Callback, Trainer

OPTIMIZER_PREFIX = "optimizer."
"""What the names of an optimizer's arrays in a snapshot begin with."""

FEWEST_COMPILED_STEPS = 40
"""Steps up to which a run is sooner done than compiled, as most calls of `partial_fit` are."""

FEWEST_TUNED_MULTIPLY_ADDS = 3_000_000_000
"""Multiply-adds up to which a run is about as soon done as the best number of threads is found."""


class FitData(NamedTuple):
    """What a fit trains on: rows with their weights, and what it is scored on meanwhile.

    `score` gives the validation score of flat parameters on the host, as scikit-learn computes it.
    `rows` (E, n) are the numbers of those that each member trains on, by default all; `randoms`
    draw their orders, one for all members or each one's own.
    """

    train: Split
    weights: np.ndarray | None
    validation: Split | None = None
    score: Callable[[np.ndarray], float] | None = None
    rows: np.ndarray | None = None
    randoms: Sequence[np.random.RandomState] = ()


def fit_stochastic(
    estimator: Any, config: FitConfig, data: FitData, backend: Backend, *, incremental: bool
) -> None:
    """Train from the estimator's parameters, and leave its results and progress in it."""
    _check_that_it_can_continue(estimator, config, incremental=incremental)
    learned = estimator._learned
    resumed = learned.optimizer if incremental else None
    if resumed is None:
        learned.rate = np.full(
            learned.parameters.shape[:-1], config.training.optimizer_config.learning_rate
        )
    trainer = _begin(estimator, config, data, backend, resumed=resumed, incremental=incremental)
    given, bars = callbacks_of(estimator), progress_bars(estimator)
    convergence = Convergence(
        estimator,
        data.score,
        [one for one in given if not isinstance(one, Callback)],
        is_planned=config.is_planned,
        prints=bool(estimator.verbose) and not bars,
    )
    estimator.n_iter_ = 0
    try:
        trainer.run([convergence, *bars, *(one for one in given if isinstance(one, Callback))])
    except KeyboardInterrupt:
        warnings.warn("Training interrupted by user.", stacklevel=5)
    except Diverged as error:
        raise ValueError(
            "Solver produced non-finite parameter weights. The input data may contain large values "
            f"and need to be preprocessed: {error}"
        ) from error
    finally:
        for bar in bars:
            bar.stop()  # its terminal is given back, whatever ended the run
    _take(estimator, trainer, convergence)
    is_unfinished = not (trainer.ended or trainer.was_stopped)
    epochs, has_end = config.training.epochs, not (incremental or config.is_planned)
    if is_unfinished and has_end and estimator.n_iter_ == epochs:
        warnings.warn(
            f"Stochastic Optimizer: Maximum iterations ({epochs}) reached and the "
            "optimization hasn't converged yet.",
            ConvergenceWarning,
            stacklevel=5,
        )


def _check_that_it_can_continue(estimator: Any, config: FitConfig, *, incremental: bool) -> None:
    """Refuse what begins anew in every call where this call continues another."""
    if incremental and estimator.early_stopping:
        raise ValueError("partial_fit does not support early_stopping=True")
    if incremental and config.is_planned:
        raise ValueError(
            "partial_fit with a schedule or a named recipe: the number of epochs is unknown; "
            "leave it out, or call fit"
        )
    if incremental or (estimator.warm_start and estimator.t_):
        for name, off in (("warm_up", 0.0), ("average", "none")):
            if (asked := getattr(config.training.optimizer_config, name)) != off:
                raise ValueError(
                    f"{name}={asked}: begins anew in every call, so neither partial_fit nor "
                    "warm_start can continue with it; leave it out"
                )


def _begin(
    estimator: Any,
    config: FitConfig,
    data: FitData,
    backend: Backend,
    *,
    resumed: dict[str, np.ndarray] | None,
    incremental: bool,
) -> Trainer:
    """Return the run of a fit, whose optimizer resumes from these arrays."""
    rows = int(data.train.labels.shape[0] if data.rows is None else data.rows.shape[-1])
    if config.batch_size is not None and config.batch_size > rows:
        warnings.warn(
            "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped",
            stacklevel=6,
        )
    batch_size = min(config.batch_size or 200, rows)
    objective = config.training.objective
    needs_seed = objective.has_noise or bool(objective.mixup)
    # Drawn only where it is used: scikit-learn's own numbers follow.
    # What was seen before counts, too: calls of `partial_fit` draw alike, but drop other units.
    seeds = [
        int(random.randint(2**31 - 1 - 4096)) + estimator.t_ if needs_seed else 0  # no secret # nosec B311
        for random in data.randoms
    ]
    epochs = 1 if incremental else config.training.epochs
    steps, threads = epochs * -(-rows // batch_size), int(estimator.threads)
    if not threads:
        products = config.model.products(batch_size)
        multiply_adds = steps * sum(map(math.prod, products))
        if steps < FEWEST_COMPILED_STEPS or multiply_adds < FEWEST_TUNED_MULTIPLY_ADDS:
            threads = backend.spare_threads(products)
    trainer = Trainer(
        config.model,
        data.train,
        parameters=estimator._learned.parameters[..., : config.model.size],
        config=config.training,
        validation=data.validation,
        time_limit=estimator.time_limit or None,
        backend=backend,
        epochs=epochs,
        batch_size=batch_size,
        seed=seeds,
        orders=_orders(rows, data.randoms if estimator.shuffle else []),
        rows=data.rows,
        sample_weights=data.weights,
        threads=threads,
        dtype=estimator.dtype if estimator.dtype in PRECISIONS else None,
        compile="off" if steps < FEWEST_COMPILED_STEPS else "auto",
        **_rates(estimator, rows=rows, begins_anew=resumed is None),
    )
    if resumed is not None:
        trainer.load_state({OPTIMIZER_PREFIX + name: array for name, array in resumed.items()})
    return trainer


def _rates(estimator: Any, *, rows: int, begins_anew: bool) -> dict[str, Any]:
    """Return the settings of scikit-learn's learning rates, where its `sgd` is asked for."""
    if estimator.solver != "sgd":
        return {}
    if estimator.learning_rate == "adaptive":
        return {"learning_rate": estimator._learned.rate.tolist()}
    if estimator.learning_rate == "constant":
        return {}
    schedule = conventions.inverse_scaling(
        estimator.power_t, rows=rows, seen=estimator.t_, begins_anew=begins_anew
    )
    return {"schedule": schedule}


def _orders(rows: int, randoms: Sequence[np.random.RandomState]) -> Callable[[int], np.ndarray]:
    """Return what gives the order of rows in each epoch, (n,) or one for each source (E, n), drawn
    as scikit-learn draws it: from the one before. Without sources it is always the same."""
    chosen = [np.arange(rows)] * max(1, len(randoms))
    epochs = 0

    def order(epoch: int) -> np.ndarray:
        nonlocal chosen, epochs
        while randoms and epochs <= epoch:
            for number, random in enumerate(randoms):
                drawn = np.arange(rows)
                random.shuffle(drawn)
                chosen[number] = chosen[number][drawn]
            epochs += 1
        return np.stack(chosen) if len(chosen) > 1 else chosen[0]

    return order


def callbacks_of(estimator: Any) -> list[Any]:
    """Return the callbacks as a list; `TypeError` for what can neither be called nor listen."""
    given = estimator.callbacks or []
    given = [given] if callable(given) or isinstance(given, Callback) else list(given)
    if not all(callable(one) or isinstance(one, Callback) for one in given):
        raise TypeError(f"callbacks={given}: give functions, or instances of xpmlp.Callback")
    return given


def _take(estimator: Any, trainer: Trainer, convergence: Convergence) -> None:
    """Keep what the run has come to."""
    learned = estimator._learned
    learned.member_losses = np.asarray(convergence.losses)
    learned.member_epochs = convergence.epochs
    vector = trainer.backend.to_numpy(trainer.parameters)
    # A member that converged earlier keeps the parameters of that epoch.
    vector = np.where(convergence.is_done[..., None], convergence.kept, vector)
    estimator._set_parameters(learned.best_parameters if estimator.early_stopping else vector)
    learned.optimizer = below(OPTIMIZER_PREFIX, trainer.snapshot().state)
