"""The state of a run: what it begins with, and what of it a snapshot saves."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from xpmlp import renamed
from xpmlp.backends import Backend
from xpmlp.compiler import leaves, rebuild
from xpmlp.display import short_repr
from xpmlp.errors import InputError
from xpmlp.network import MLP
from xpmlp.training.config import TrainConfig
from xpmlp.training.history import History
from xpmlp.training.step import TrainingState
from xpmlp.training.validation_config import Best, ValidationConfig
from xpmlp.typing import Array, dtype_name


@renamed.with_old_names
@dataclass(frozen=True, repr=False)
class Snapshot:
    """The state of a run, copied to the host: all that resuming needs.

    Parameters
    ----------
    state : dict of str to ndarray
        The arrays that steps change, by name: `parameters`, `optimizer.velocity` and so on.
    epoch : int
        The number of finished epochs.
    step : int
        The number of steps done in the present epoch.
    metric_sum : ndarray
        The number of correct predictions in those steps, a scalar or (E,).
    history : History
        The history so far.
    seconds : float, default 0
        The seconds of training so far.
    best : Best, optional
        The best parameters so far.

    Examples
    --------
    >>> run = xpmlp.train(xpmlp.MLP((2, 2)), np.eye(2), [0, 1], epochs=3, verbose=0)
    >>> snapshot = run.trainer.snapshot()
    >>> snapshot.epoch, snapshot.parameters.shape
    (3, (6,))
    """

    state: dict[str, np.ndarray]
    epoch: int
    step: int
    metric_sum: np.ndarray
    history: History
    seconds: float = 0.0
    best: Best | None = None

    __repr__ = short_repr

    @property
    def parameters(self) -> np.ndarray:
        """The learned parameters as a flat vector."""
        return self.state["parameters"]

    @property
    def finite(self) -> bool:
        """Whether all parameters are finite."""
        return bool(np.isfinite(self.parameters).all())

    def check_fits(self, now: "Snapshot", config: ValidationConfig) -> None:
        """Raise an error unless this is a complete snapshot of a given run.

        Parameters
        ----------
        now : Snapshot
            A snapshot of the run as it is now.
        config : ValidationConfig
            Whether the run keeps its best parameters, and whether some may be NaN or infinite.

        Raises
        ------
        InputError
            For a snapshot of another network, optimizer or dtype, and for an incomplete one.
        """
        for name, found, wanted in (
            *((name, self.state.get(name), now.state[name]) for name in now.state),
            ("counts", self.metric_sum, now.metric_sum),
        ):
            if found is None or found.shape != wanted.shape or found.dtype != wanted.dtype:
                raise InputError(
                    f"the saved {name} do not fit this run: "
                    f"{'none' if found is None else f'{found.dtype} {found.shape}'} in place of "
                    f"{wanted.dtype} {wanted.shape}; resume with the settings it began with"
                )
        history = self.history
        series = [*history.losses, *history.accuracies]
        series += [*history.validation_losses, *history.validation_accuracies]
        if (
            self.state.keys() != now.state.keys()
            or not (self.finite or config.allow_divergence)
            or len(history.accuracies) != self.epoch
            or any(values.shape != now.metric_sum.shape for values in series)
            or (self.best is None) == bool(config.restore_best and history.validation_iterations)
        ):
            raise InputError("the saved state is not whole, or of another run: train again")


def saved_arrays(state: TrainingState) -> dict[str, Array]:
    """Return the arrays of a state that a snapshot has, by name.

    What follows from the settings and the counters is left out.
    """
    return _named(state._replace(offset=None, step=None, learning_rate=None, weight_decay=None))


def with_arrays(
    state: TrainingState, arrays: Mapping[str, np.ndarray], *, backend: Backend
) -> TrainingState:
    """Return the state with copies of the saved arrays in the places of its own."""
    sent = {name: backend.asarray(array.copy()) for name, array in arrays.items()}
    restored: TrainingState = rebuild(
        state, (sent.get(name, array) for name, array in _named(state).items())
    )
    return restored


def copied(state: Any, *, backend: Backend) -> Any:
    """Return a copy that shares no memory: steps of some backends overwrite their state."""
    return rebuild(state, iter([backend.xp.asarray(leaf, copy=True) for leaf in leaves(state)]))


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


def first_state(model: MLP, config: TrainConfig, vector: Array, backend: Backend) -> TrainingState:
    """The state before the first step, from a flat vector with or without running statistics."""
    objective, optimizer_config = config.objective, config.optimizer_config
    xp, members, dtype = backend.xp, tuple(vector.shape[:-1]), dtype_name(vector)
    if vector.shape[-1] not in (model.parameter_count, model.size):
        raise InputError(f"{vector.shape[-1]:,} parameters, but {model} has {model.size:,}")
    parameters = xp.asarray(vector[..., : model.parameter_count], copy=True)
    statistics = None
    if model.size > model.parameter_count:
        if vector.shape[-1] == model.size:
            statistics = xp.asarray(vector[..., model.parameter_count :], copy=True)
        else:
            first = model.initialize(0, dtype=dtype)[model.parameter_count :]
            statistics = backend.asarray(np.broadcast_to(first, (*members, len(first))).copy())
    decays = optimizer_config.decays(model, members, dtype)
    is_averaged = optimizer_config.average != "none"
    counts = (
        objective.has_noise
        or optimizer_config.counts_steps
        or (objective.divides_by_weight and objective.has_penalty)
    )

    def copy(array: Array | None) -> Array | None:
        return xp.asarray(array, copy=True) if is_averaged and array is not None else None

    return TrainingState(
        parameters,
        optimizer=optimizer_config.optimizer.init(parameters, xp=xp),
        learning_rate=backend.asarray(optimizer_config.rates(model, members, dtype)),
        offset=backend.asarray(np.zeros((), dtype=np.int64)),
        step=backend.asarray(np.zeros(1, np.int64)) if counts else None,
        weight_decay=None if decays is None else backend.asarray(decays),
        statistics=statistics,
        mean=copy(parameters),
        mean_statistics=copy(statistics),
    )
