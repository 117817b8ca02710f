"""L-BFGS on all rows at once: SciPy's, called with the flat vector and its flat gradient."""

import functools
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.optimize
from sklearn.exceptions import ConvergenceWarning

from xpmlp.backends import Backend
from xpmlp.backends.base import Function
from xpmlp.data import SparseRows, Split
from xpmlp.errors import InputError
from xpmlp.estimators.hyperparameters import FitConfig
from xpmlp.network import MLP, Objective
from xpmlp.training import TrainConfig
from xpmlp.training.evaluation import rows_of
from xpmlp.typing import Array, Namespace

ROWS_AT_ONCE = 16_384
"""Rows whose activations are held at a time."""

STOCHASTIC_SETTINGS = (
    "dropout", "input_dropout", "mixup", "schedule", "warm_up", "bias_rate", "weight_decay",
    "clip_norm", "clip_value", "max_norm", "average",
)  # fmt: skip
"""Settings that only steps and epochs can carry out."""


def fit_lbfgs(
    estimator: Any, config: FitConfig, split: Split, weights: np.ndarray | None, backend: Backend
) -> None:
    """Minimise the objective of all rows from each member's parameters, one after another.

    Penalties are divided by the number of rows or by the sum of their weights. Warns as
    scikit-learn does where the limit of iterations or calls was reached.

    Source: Byrd, Lu, Nocedal & Zhu 1995, "A limited memory algorithm for bound constrained
    optimization"; its implementation is SciPy's.
    """
    vectors, losses, counts = estimator._vector().copy(), [], []
    evaluate = _evaluation(config, split, weights, str(vectors.dtype), backend=backend)
    limits = {"maxfun": estimator.max_fun, "maxiter": config.training.epochs, "gtol": estimator.tol}
    for vector in vectors.reshape(-1, config.model.size):
        with backend.activate():
            found = scipy.optimize.minimize(
                evaluate, vector, method="L-BFGS-B", jac=True, options=limits
            )
        if found.status != 0:
            warnings.warn(
                f"lbfgs failed to converge after {found.nit} iteration(s) (status={found.status}): "
                f"{found.message}; increase max_iter (now {config.training.epochs}) to improve the "
                "convergence, or scale the data",
                ConvergenceWarning,
                stacklevel=5,
            )
        vector[...] = found.x
        losses.append(float(found.fun))
        counts.append(min(int(found.nit), config.training.epochs))
        if estimator.verbose:
            sys.stdout.write(f"L-BFGS: {counts[-1]} iterations, loss = {losses[-1]:.8f}\n")
    estimator._set_parameters(vectors)
    estimator.loss_, estimator.n_iter_ = float(np.mean(losses)), max(counts)


def check_all_rows(config: FitConfig, estimator: Any, eval_set: object) -> None:
    """Refuse, as `InputError`, what only steps and epochs can do."""
    settings, usual = config.training.settings, TrainConfig().settings
    asked = {
        "eval_set": eval_set is not None,
        "time_limit": estimator.time_limit is not None,
        "callbacks": bool(estimator.callbacks),
        "normalization='batch'": config.model.normalization == "batch",
        **{name: settings[name] != usual[name] for name in STOCHASTIC_SETTINGS},
    }
    for name, is_asked in asked.items():
        if is_asked:
            raise InputError(
                f"{name}: solver='lbfgs' takes all rows at once, in no steps or epochs; "
                "leave it out, or use solver='adam'"
            )


def _evaluation(
    config: FitConfig,
    split: Split,
    weights: np.ndarray | None,
    dtype: str,
    *,
    backend: Backend,
) -> Callable[[np.ndarray], tuple[float, np.ndarray]]:
    """Return what gives J and its gradient by the flat parameters, on the host."""
    objective, count = config.training.objective, split.labels.shape[0]
    blocks = [slice(at, at + ROWS_AT_ONCE) for at in range(0, count, ROWS_AT_ONCE)]
    own = np.ones(count) if weights is None else np.asarray(weights, np.float64)
    total = own.sum() if objective.divides_by_weight else float(count)
    penalty = 1.0 / (total if objective.divides_by_weight else 1.0) / len(blocks)
    classes = backend.asarray(np.arange(config.model.layer_sizes[-1]))
    scale = backend.asarray(np.full((1, 1), penalty, dtype))

    def send(rows: slice) -> tuple[Array, ...]:
        """Rows, labels, weights and what goes with them, on the device."""
        X, labels = (rows_of(part, rows, backend=backend) for part in (split.X, split.labels))
        # The mean over a block's rows becomes its part of the whole.
        of_rows = (own[rows] * (len(own[rows]) / total)).astype(dtype)
        return classes, scale, X, labels, backend.asarray(of_rows)

    with backend.activate():
        function = backend.function(functools.partial(_make, config.model, objective))
        # Sparse rows are made dense a block at a time; others fit in memory.
        is_sparse = isinstance(split.X, SparseRows)
        sent = {} if is_sparse else {number: send(rows) for number, rows in enumerate(blocks)}

    def evaluate(vector: np.ndarray) -> tuple[float, np.ndarray]:
        parameters = backend.asarray(vector.astype(dtype))
        loss, gradient = 0.0, np.zeros(vector.shape, np.float64)
        for number, rows in enumerate(blocks):
            J, part = function(sent.get(number) or send(rows), (parameters,))
            loss += float(backend.to_numpy(J))
            gradient += backend.to_numpy(part)
        return loss, gradient

    return evaluate


def _make(model: MLP, objective: Objective, *, xp: Namespace) -> Function:
    """((classes, scale, X, labels, weights), (parameters,)) -> (J, flat gradient)."""

    def loss_and_gradient(
        fixed: tuple[Array, ...], varying: tuple[Array, ...]
    ) -> tuple[Array, ...]:
        (classes, scale, X, labels, weights), (parameters,) = fixed, varying
        found = model.forward_backward(
            parameters,
            X,
            model.targets(labels, classes, dtype=parameters.dtype, xp=xp),
            objective=objective,
            weights=weights,
            penalty_scale=scale,
            xp=xp,
        )
        return found.J, found.gradients

    return loss_and_gradient
