"""A fitted estimator as one safetensors file: arrays as tensors, the rest as JSON."""

from pathlib import Path
from typing import Any

import numpy as np

from xpmlp.errors import InputError
from xpmlp.network import MLP
from xpmlp.tensors import load_tensors, save_tensors

TRANSIENT = ("_views", "coefs_", "intercepts_", "_random_state", "_model", "_optimizer_state")
"""What a fitted estimator has that is made anew, or saved in a way of its own."""

OPTIMIZER, FITTED = "optimizer.", "fitted."
"""What the names of tensors begin with."""

ARCHITECTURE = ("layer_sizes", "hidden", "output", "normalization", "residual")


def save(estimator: Any, path: str | Path) -> None:
    """Write all that predictions and further training need."""
    parameters = estimator.get_params(deep=False)
    estimator._vector()
    tensors, fitted = dict[str, np.ndarray](), dict[str, Any]()
    for name, value in vars(estimator).items():
        if name in parameters or name in TRANSIENT:
            continue
        if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
            tensors[FITTED + name] = value
        else:
            fitted[name] = _to_json(value)
    for name, array in (estimator._optimizer_state or {}).items():
        tensors[OPTIMIZER + name] = array
    kept = {
        name: _to_json(value)
        for name, value in parameters.items()
        if name != "callbacks" and not isinstance(value, np.random.RandomState)
    }
    architecture = {name: getattr(estimator._model, name) for name in ARCHITECTURE}
    save_tensors(
        Path(path),
        tensors,
        {
            "estimator": type(estimator).__name__,
            "parameters": kept,
            "fitted": fitted,
            "model": architecture,
        },
    )


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
        for key, value in metadata["fitted"].items():
            setattr(estimator, key, _from_json(value))
        for key, array in tensors.items():
            if key.startswith(FITTED):
                setattr(estimator, key.removeprefix(FITTED), array)
        found = {
            key.removeprefix(OPTIMIZER): array
            for key, array in tensors.items()
            if key.startswith(OPTIMIZER)
        }
        estimator._optimizer_state = found or None
        estimator._model = MLP(**metadata["model"])
        estimator._show()
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: no whole estimator ({error}); fit and save it again") from error
    return estimator


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
