"""L-BFGS on all rows at once: SciPy's, called with the flat vector and its flat gradient."""

import functools
import warnings
from typing import Any

import numpy as np
import scipy.optimize
from sklearn.exceptions import ConvergenceWarning

from xpmlp.backends import Backend
from xpmlp.backends.base import Function
from xpmlp.data import SparseRows, Split
from xpmlp.errors import InputError
from xpmlp.estimators.parameters import Plan
from xpmlp.network import MLP, Objective
from xpmlp.training import Descent
from xpmlp.training.evaluation import rows_of
from xpmlp.typing import Array, Namespace

ROWS_AT_ONCE = 16_384
"""Rows whose activations are held at a time."""


def minimize(
    model: MLP,
    objective: Objective,
    split: Split,
    weights: np.ndarray | None,
    vector: np.ndarray,
    *,
    backend: Backend,
    max_iter: int,
    max_fun: int,
    tol: float,
) -> tuple[np.ndarray, float, int]:
    """The parameters found from `vector` (P,), their loss, and the number of iterations.

    The objective is of all rows, whose penalties are divided by their number or by the sum of
    their weights. Warns as scikit-learn does where the limit of iterations or calls was reached.

    Source: Byrd, Lu, Nocedal & Zhu 1995, "A limited memory algorithm for bound constrained
    optimization"; its implementation is SciPy's.
    """
    evaluate = _Evaluation(model, objective, split, weights, str(vector.dtype), backend=backend)
    with backend.activate():
        found = scipy.optimize.minimize(
            evaluate,
            vector,
            method="L-BFGS-B",
            jac=True,
            options={"maxfun": max_fun, "maxiter": max_iter, "gtol": tol},
        )
    if found.status != 0:
        message = found.message if isinstance(found.message, str) else found.message.decode()
        warnings.warn(
            f"lbfgs failed to converge after {found.nit} iteration(s) (status={found.status}): "
            f"{message}; increase max_iter (now {max_iter}) to improve the convergence, or scale "
            "the data",
            ConvergenceWarning,
            stacklevel=7,
        )
    return found.x.astype(vector.dtype), float(found.fun), min(int(found.nit), max_iter)


def check_whole(plan: Plan, estimator: Any, eval_set: object) -> None:
    """Refuse, as `InputError`, what only steps and epochs can do."""
    descent, model, usual = plan.descent, plan.model, Descent()
    asked = {
        "eval_set": eval_set is not None,
        "time_limit": estimator.time_limit is not None,
        "callbacks": bool(estimator.callbacks),
        "dropout": plan.objective.has_noise,
        "mixup": bool(plan.objective.mixup),
        "normalization='batch'": model.normalization == "batch",
        "schedule": descent.schedule.name != usual.schedule.name or bool(descent.plateau),
        **{
            name: getattr(descent, name) != getattr(usual, name)
            for name in (
                "warm_up", "bias_rate", "weight_decay", "clip_norm", "clip_value", "max_norm",
                "average",
            )
        },
    }  # fmt: skip
    for name, is_asked in asked.items():
        if is_asked:
            raise InputError(
                f"{name}: solver='lbfgs' takes all rows at once, in no steps or epochs; "
                "leave it out, or use solver='adam'"
            )


class _Evaluation:
    """J and its gradient by the flat parameters, on the host; rows come in blocks."""

    def __init__(
        self,
        model: MLP,
        objective: Objective,
        split: Split,
        weights: np.ndarray | None,
        dtype: str,
        *,
        backend: Backend,
    ) -> None:
        self._backend = backend
        self._split = split
        self._dtype = dtype
        count = split.labels.shape[0]
        self._blocks = [slice(at, at + ROWS_AT_ONCE) for at in range(0, count, ROWS_AT_ONCE)]
        own = np.ones(count) if weights is None else np.asarray(weights, np.float64)
        total = own.sum() if objective.divides_by_weight else float(count)
        # The mean over a block's rows becomes its part of the whole.
        lengths = [len(own[block]) for block in self._blocks]
        self._weights = [
            None
            if weights is None and len(self._blocks) == 1
            else (own[block] * (length / total)).astype(dtype)
            for block, length in zip(self._blocks, lengths, strict=True)
        ]
        penalty = 1.0 / (total if objective.divides_by_weight else 1.0) / len(self._blocks)
        with backend.activate():
            self._classes = backend.asarray(np.arange(model.layer_sizes[-1]))
            self._scale = backend.asarray(np.full((1, 1), penalty, dtype))
            self._function = backend.function(functools.partial(_make, model, objective))
            self._sent: dict[int, tuple[Array, ...]] = {}

    def __call__(self, vector: np.ndarray) -> tuple[float, np.ndarray]:
        backend = self._backend
        parameters = backend.asarray(vector.astype(self._dtype))
        loss, gradient = 0.0, np.zeros(vector.shape, np.float64)
        for number in range(len(self._blocks)):
            J, part = self._function(self._block(number), (parameters,))
            loss += float(backend.to_numpy(J))
            gradient += backend.to_numpy(part)
        return loss, gradient

    def _block(self, number: int) -> tuple[Array, ...]:
        """Rows, labels, weights and what goes with them; kept where all rows fit in memory."""
        if number in self._sent:
            return self._sent[number]
        backend, rows = self._backend, self._blocks[number]
        parts = [
            rows_of(part, rows, backend=backend) for part in (self._split.X, self._split.labels)
        ]
        if (weights := self._weights[number]) is not None:
            parts.append(backend.asarray(weights))
        found = (self._classes, self._scale, *parts)
        if not isinstance(self._split.X, SparseRows):
            self._sent[number] = found
        return found


def _make(model: MLP, objective: Objective, *, xp: Namespace) -> Function:
    """((classes, scale, X, labels, weights), (parameters,)) -> (J, flat gradient)."""

    def loss_and_gradient(
        fixed: tuple[Array, ...], varying: tuple[Array, ...]
    ) -> tuple[Array, ...]:
        (classes, scale, X, labels, *weights), (parameters,) = fixed, varying
        Y = model.targets(labels, classes, dtype=parameters.dtype, xp=xp)
        found = model.forward_backward(
            parameters,
            X,
            Y,
            objective=objective,
            weights=weights[0] if weights else None,
            penalty_scale=scale,
            xp=xp,
        )
        return found.J, found.gradients

    return loss_and_gradient
