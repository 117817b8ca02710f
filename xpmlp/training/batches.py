"""Which rows each step of a run takes, in which order, and with what weights.

All of it follows from the settings, the epoch's number and the history: a resumed run sees the
same batches.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from xpmlp.backends import Backend
from xpmlp.data import MappedRows, Split, order
from xpmlp.errors import InputError
from xpmlp.network import MLP, Objective
from xpmlp.randomness import DROPOUT, MIXUP, generator
from xpmlp.training.config import TrainConfig
from xpmlp.training.evaluation import inverse, variance
from xpmlp.training.history import History
from xpmlp.training.optimizer_config import one_for_each
from xpmlp.training.step import TrainingData
from xpmlp.typing import Array, dtype_name


class EpochPlan(NamedTuple):
    """What of an epoch its steps read beside the rows, on the host, by the names in `TrainingData`.

    `order` (n,) are the rows' numbers, whole batches of them, or (E, n) one order for each member;
    `first` is the number of its first step in the run. What is in `by_row`, (n,) or (E, n), goes
    with the order; what is in `by_step`, (steps,) or (E, steps), with the steps.
    """

    order: np.ndarray
    first: int = 0
    by_row: Mapping[str, np.ndarray] = MappingProxyType({})
    by_step: Mapping[str, np.ndarray] = MappingProxyType({})

    @property
    def counted(self) -> np.ndarray:
        """How many of its rows count, () or (E,): those that weigh something."""
        if "weights" not in self.by_row:
            return np.asarray(self.order.shape[-1])
        return np.asarray(np.count_nonzero(self.by_row["weights"], axis=-1))


@dataclass(frozen=True)
class Batches:
    """The batches of a run, epoch by epoch.

    Parameters
    ----------
    split
        All rows and labels.
    config
        The settings of the run.
    dtype
        Of the parameters, in which weights and factors are sent.
    orders
        Gives the order of rows of an epoch, (n,), or with `rows` one for each member (E, n); by
        default it comes from the seed.
    rows
        (E, n), the numbers of the rows that each member trains on; by default all.
    weights
        (n,) or (E, n), a weight for each row; None where all are 1.
    """

    split: Split
    config: TrainConfig
    dtype: str
    orders: Callable[[int], np.ndarray] | None = None
    rows: np.ndarray | None = None
    weights: np.ndarray | None = None

    def __post_init__(self) -> None:
        count = self.row_count
        if not 1 <= self.config.batch_size <= count:
            raise InputError(
                f"batch_size={self.config.batch_size}: give 1 to {count:,}, the rows there are"
            )

    @property
    def row_count(self) -> int:
        """Rows that a network trains on."""
        return int(self.split.labels.shape[0]) if self.rows is None else self.rows.shape[-1]

    @property
    def steps_per_epoch(self) -> int:
        """Batches in the data."""
        config = self.config
        return count_batches(self.row_count, config.batch_size, drop_last=config.drop_last)

    def plan(self, epoch: int, history: History) -> EpochPlan:
        """Return what the steps of an epoch look up."""
        config, steps = self.config, self.steps_per_epoch
        chosen = self._order(epoch)
        if self.rows is not None:
            chosen = np.take_along_axis(self.rows, np.atleast_2d(chosen), axis=1)
        by_row, by_step = self._weights_of(chosen)
        if a := config.objective.mixup:
            drawn = generator(config.seeds[0], MIXUP, epoch).beta(a, a, chosen.shape[-1:])
            by_row["mixup_lambda"] = drawn
        if not config.optimizer_config.is_constant:
            by_step["lr_factors"] = config.lr_factors(epoch, history, steps)
        if config.optimizer_config.average != "none":
            by_step["averaging"] = config.averaging(epoch, steps)
        by_row, by_step = (
            {name: series.astype(self.dtype) for name, series in one.items()}
            for one in (by_row, by_step)
        )
        return EpochPlan(chosen, epoch * steps, by_row, by_step)

    def _weights_of(
        self, chosen: np.ndarray
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """The `weights` of an epoch's rows, (n,) or (E, n), by which the mean over N rows of a
        batch becomes what the objective asks for, and the scale of its `penalties` in each step;
        left out where all are 1.

        A last batch that was filled up counts its own rows: the others weigh nothing.
        """
        weights, objective, batch_size = self.weights, self.config.objective, self.config.batch_size
        left_over = 0 if self.config.drop_last else self.row_count % batch_size
        is_scaled = objective.divides_by_weight and objective.has_penalty
        if weights is None and not left_over and not is_scaled:
            return {}, {}
        if weights is None:
            own = np.ones(chosen.shape[-1:])
        elif weights.ndim == 1:
            own = weights[chosen].astype(np.float64)
        else:
            own = np.take_along_axis(weights, np.atleast_2d(chosen), axis=1).astype(np.float64)
        if left_over:
            own[..., left_over - batch_size :] = 0.0
        batches = own.reshape((*own.shape[:-1], -1, batch_size))
        if objective.divides_by_weight:
            divisors = batches.sum(axis=-1)
        else:
            divisors = np.full(batches.shape[:-1], float(batch_size))
            divisors[..., -1] = left_over or batch_size
        divisors = np.where(divisors > 0.0, divisors, np.inf)  # one that weighs nothing is skipped
        scaled = (batches * (batch_size / divisors)[..., None]).reshape(own.shape)
        by_row = {} if weights is None and not left_over else {"weights": scaled}
        return by_row, {"penalties": 1.0 / divisors} if is_scaled else {}

    def _order(self, epoch: int) -> np.ndarray:
        """The order of rows, whole batches of one shape: the last one is filled up with rows that
        weigh nothing."""
        if self.orders is not None:
            chosen = self.orders(epoch)
        else:
            is_mapped = isinstance(self.split.X, MappedRows) and self.rows is None
            chosen = order(
                self.row_count,
                seed=self.config.seeds[0],
                epoch=epoch,
                shuffle=self.config.shuffle,
                blocks=self.split.X.blocks if is_mapped else None,
            )
        wanted = self.steps_per_epoch * self.config.batch_size
        if wanted > self.row_count:
            chosen = np.take(chosen, np.arange(wanted) % self.row_count, axis=-1)
        return chosen[..., :wanted]


def count_batches(rows: int, batch_size: int, *, drop_last: bool) -> int:
    """Return the number of batches in an epoch; the last incomplete one may be dropped."""
    full, left = divmod(rows, batch_size)
    return full if drop_last or not left else full + 1


def fixed_data(
    model: MLP,
    split: Split,
    config: TrainConfig,
    vector: Array,
    backend: Backend,
    rows: np.ndarray | None = None,
) -> TrainingData:
    """Return what of the steps' data stays the same for a whole run that begins with this vector;
    `rows` as `Batches` has it."""
    members, dtype = tuple(vector.shape[:-1]), dtype_name(vector)
    send, objective, seeds = backend.asarray, config.objective, list(config.seeds)
    inverse_variance = key = columns = None
    rates: dict[str, Array | None] = {}
    if model.is_regression:
        targets = split.labels if rows is None else split.labels[rows]
        found = variance(targets, by_member=rows is not None, backend=backend)
        inverse_variance = send(inverse(found).astype(dtype))
    if objective.has_noise:
        if len(seeds) < (members[0] if members else 1):
            seeds = [seeds[0] + member for member in range(members[0])]
        drawn = [generator(seed, DROPOUT).integers(2**31) for seed in seeds]
        key = np.array(drawn, np.int32)
        key = send(key[:, None, None] if members else key[:1])
        columns = send(np.arange(max(model.layer_sizes[:-1]), dtype=np.int32))
        for name, value in (
            ("input_rate", objective.input_dropout), ("hidden_rate", objective.dropout)
        ):  # fmt: skip
            if isinstance(value, tuple):
                rates[name] = send(one_for_each("dropout", value, members).astype(dtype)[..., None])
    return TrainingData(
        X=None,
        labels=None,
        order=None,
        positions=send(np.arange(config.batch_size)),
        classes=send(np.arange(model.layer_sizes[-1])),
        inverse_variance=inverse_variance,
        key=key,
        columns=columns,
        **rates,
    )


def row_weights(
    model: MLP, split: Split, objective: Objective, vector: Array, given: np.ndarray | None
) -> np.ndarray | None:
    """A weight for each row, (n,) or (E, n): its own times its class's; None if all are 1."""
    weights, count = None, int(split.labels.shape[0])
    if given is not None:
        weights = np.asarray(given, np.float64)
        if weights.shape not in ((count,), (*vector.shape[:-1], count)) or not (weights >= 0).all():
            raise InputError(
                f"sample weights of shape {weights.shape} for {count:,} rows: "
                "give one for each, 0 or more"
            )
        if not np.isfinite(weights).all():
            raise InputError("sample weights: some are NaN or infinite; give finite ones")
        if objective.mixup:
            raise InputError("sample weights and mixup: a mixed row has none; choose one")
    if objective.class_weights:
        by_class = np.asarray(objective.class_weights, np.float64)
        own = by_class[_classes(split.labels, model.output)]
        weights = own if weights is None else own * weights
    return None if weights is None else weights.astype(dtype_name(vector))


def _classes(labels: np.ndarray, output: str) -> np.ndarray:
    """The class of each row, also where it has targets (n, K)."""
    if labels.ndim == 1:
        return labels
    if output == "sigmoid" and labels.shape[1] > 1:
        raise InputError(
            f"class_weights: {labels.shape[1]} answers a row are not one class; "
            "leave them out, or weight the rows with sample_weight"
        )
    is_yes = labels[:, 0] > 0.5
    classes: np.ndarray = labels.argmax(axis=1) if output == "softmax" else is_yes.astype(np.int64)
    return classes
