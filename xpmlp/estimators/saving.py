"""A fitted estimator as one safetensors file: arrays as tensors, the rest as JSON."""

from pathlib import Path
from typing import Any

import numpy as np

from xpmlp.errors import InputError
from xpmlp.estimators.learned import FittedState, Labels
from xpmlp.network import ARCHITECTURE, MLP
from xpmlp.tensors import below, load_tensors, save_tensors

LEARNED_PREFIX, OPTIMIZER_PREFIX = "learned.", "optimizer."
"""What the names of tensors begin with."""

LEARNED_ARRAYS = (
    "parameters", "best_parameters", "rate", "no_improvement_count", "best_losses", "best_scores"
)  # fmt: skip


def save(estimator: Any, path: str | Path) -> None:
    """Write all that predictions and further training need."""
    state, parameters = estimator.__getstate__(), estimator.get_params(deep=False)
    learned, labels = state["_learned"], state.get("_labels")
    tensors = {LEARNED_PREFIX + name: np.asarray(getattr(learned, name)) for name in LEARNED_ARRAYS}
    tensors |= {OPTIMIZER_PREFIX + name: array for name, array in (learned.optimizer or {}).items()}
    # What is None was left out, or cannot be kept.
    kept = {
        name: _to_json(value)
        for name, value in parameters.items()
        if name != "callbacks" and not isinstance(value, np.random.RandomState)
    }
    fitted = {
        name: _to_json(value)
        for name, value in state.items()
        if name not in parameters and not name.startswith("_")
    }
    if labels is not None:
        fitted["kind_of_target"] = [labels.kind, labels.is_sparse]
    metadata = {
        "estimator": type(estimator).__name__,
        "parameters": kept,
        "fitted": fitted,
        "model": learned.model.architecture,
    }
    save_tensors(Path(path), tensors, metadata)


def load(cls: type, path: str | Path) -> Any:
    """The estimator in a file; `InputError` for what is not whole, or of another class."""
    tensors, metadata = load_tensors(Path(path))
    name = metadata.get("estimator")
    if name != cls.__name__:
        what = f"holds a {name}: call {name}.load" if name else "holds no estimator"
        raise InputError(f"{path}: {what}")
    try:
        parameters = {key: _from_json(value) for key, value in metadata["parameters"].items()}
        estimator = cls(**parameters)
        fitted = {key: _from_json(value) for key, value in metadata["fitted"].items()}
        if "kind_of_target" in fitted:
            estimator._labels = Labels(fitted["classes_"], *fitted.pop("kind_of_target"))
        for key, value in fitted.items():
            if not key.isidentifier() or hasattr(cls, key):
                raise ValueError(f"{key!r} is nothing that a fit finds")
            setattr(estimator, key, value)
        model = MLP(*(metadata["model"][key] for key in ARCHITECTURE))
        arrays: dict[str, Any] = {key: tensors[LEARNED_PREFIX + key] for key in LEARNED_ARRAYS}
        learned = FittedState(model, **arrays, optimizer=below(OPTIMIZER_PREFIX, tensors) or None)
        _check(estimator, learned)
        estimator._learned = learned
        estimator.coefs_, estimator.intercepts_ = learned.show()
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{path}: no whole estimator ({error}); fit and save it again") from error
    return estimator


def _check(estimator: Any, learned: FittedState) -> None:
    """Refuse, as `ValueError`, parts that do not fit together."""
    inputs, *_, outputs = learned.model.layer_sizes
    if learned.parameters.shape[-1] != learned.model.size or learned.parameters.ndim > 2:
        raise ValueError(f"parameters of shape {learned.parameters.shape} for {learned.model}")
    if not np.isfinite(learned.parameters).all():
        raise ValueError("parameters that are NaN or infinite")
    labels = getattr(estimator, "_labels", None)
    if estimator.n_features_in_ != inputs or (labels is not None and labels.outputs != outputs):
        raise ValueError(f"features or classes that are not those of {learned.model}")


def _to_json(value: Any) -> Any:
    """As JSON has it; what JSON would change is marked by a word of its own."""
    if isinstance(value, np.ndarray):
        return {"array": [_to_json(one) for one in value.tolist()], "dtype": value.dtype.str}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, tuple):
        return {"tuple": [_to_json(one) for one in value]}
    if isinstance(value, dict):
        return {"pairs": [[_to_json(one) for one in pair] for pair in value.items()]}
    if isinstance(value, list):
        return [_to_json(one) for one in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise InputError(f"{type(value).__name__} {value!r}: cannot be saved without pickle")


def _from_json(value: Any) -> Any:
    if isinstance(value, list):
        return [_from_json(one) for one in value]
    if not isinstance(value, dict):
        return value
    if "array" in value:
        return np.array([_from_json(one) for one in value["array"]], np.dtype(value["dtype"]))
    if "tuple" in value:
        return tuple(_from_json(one) for one in value["tuple"])
    return {_from_json(key): _from_json(one) for key, one in value["pairs"]}
