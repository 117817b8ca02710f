"""What a run starts from: the first state, the data that stays, the weights of rows."""

from collections.abc import Sequence

import numpy as np

from xpmlp.backends import Backend
from xpmlp.data import Split
from xpmlp.errors import InputError
from xpmlp.network import MLP, Objective
from xpmlp.randomness import DROPOUT, generator
from xpmlp.training.descent import Descent
from xpmlp.training.evaluation import inverse, variance
from xpmlp.training.step import TrainingData, TrainingState
from xpmlp.typing import Array


def first_state(
    model: MLP,
    vector: Array,
    *,
    objective: Objective,
    descent: Descent,
    backend: Backend,
) -> TrainingState:
    """The state before the first step, from a flat vector with or without running statistics."""
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
    decays = descent.decays(model, members, dtype)
    is_averaged = descent.average != "none"
    counts = (
        objective.has_noise
        or descent.counts_steps
        or (objective.divides_by_weight and objective.has_penalty)
    )

    def copy(array: Array | None) -> Array | None:
        return xp.asarray(array, copy=True) if is_averaged and array is not None else None

    return TrainingState(
        parameters,
        optimizer=descent.optimizer.init(parameters, xp=xp),
        learning_rate=backend.asarray(descent.rates(model, members, dtype)),
        offset=backend.asarray(np.zeros((), dtype=np.int64)),
        step=backend.asarray(np.zeros(1, np.int64)) if counts else None,
        weight_decay=None if decays is None else backend.asarray(decays),
        statistics=statistics,
        mean=copy(parameters),
        mean_statistics=copy(statistics),
    )


def fixed_data(
    model: MLP,
    split: Split,
    *,
    objective: Objective,
    batch_size: int,
    seeds: Sequence[int],
    members: tuple[int, ...],
    dtype: str,
    backend: Backend,
    rows: np.ndarray | None = None,
) -> TrainingData:
    """What of the steps' data stays the same for a whole run; `rows` as `Training.begin` has it."""
    send = backend.asarray
    spread = key = columns = None
    rates: dict[str, Array | None] = {}
    if model.predicts_numbers:
        targets = split.labels if rows is None else split.labels[rows]
        found = variance(targets, by_member=rows is not None, backend=backend)
        spread = send(inverse(found).astype(dtype))
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
                if (len(value),) != members:
                    raise InputError(
                        f"dropout={','.join(map(str, value))}: {len(value)} values for "
                        f"{members[0] if members else 1} members; give one, or one for each"
                    )
                rates[name] = send(np.asarray(value, dtype)[:, None, None])
    return TrainingData(
        X=None,
        labels=None,
        order=None,
        positions=send(np.arange(batch_size)),
        classes=send(np.arange(model.layer_sizes[-1])),
        spread=spread,
        key=key,
        columns=columns,
        **rates,
    )


def row_weights(
    split: Split,
    objective: Objective,
    given: np.ndarray | None,
    *,
    members: tuple[int, ...],
    output: str,
    dtype: str,
) -> np.ndarray | None:
    """A weight for each row, (n,) or (E, n): its own times its class's; None if all are 1."""
    weights, count = None, int(split.labels.shape[0])
    if given is not None:
        weights = np.asarray(given, np.float64)
        if weights.shape not in ((count,), (*members, count)) or not (weights >= 0).all():
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
        weights = by_class[_classes(split.labels, output)] * (1.0 if weights is None else weights)
    return None if weights is None else weights.astype(dtype)


def _classes(labels: np.ndarray, output: str) -> np.ndarray:
    """The class of each row, also where it has targets (n, K)."""
    if labels.ndim == 1:
        return labels
    if output == "sigmoid" and labels.shape[1] > 1:
        raise InputError(
            f"class_weights: {labels.shape[1]} answers a row are no one class; "
            "leave them out, or weigh the rows by sample_weights"
        )
    is_yes = labels[:, 0] > 0.5
    classes: np.ndarray = labels.argmax(axis=1) if output == "softmax" else is_yes.astype(np.int64)
    return classes


def dtype_name(array: Array) -> str:
    """`float32` for the dtype of any library: torch's is written `torch.float32`."""
    return str(array.dtype).rpartition(".")[2]
