"""Names of 0.1.0 that work for one more release, with a `DeprecationWarning`."""

import functools
import sys
import warnings
from collections.abc import Mapping
from typing import Any, TypeVar

from xpmlp.errors import InputError

_Kind = TypeVar("_Kind", bound=type)

CLASSES = {
    "Control": "ValidationConfig", "Descent": "OptimizerConfig", "Observer": "Callback",
    "Training": "Trainer",
}  # fmt: skip
"""Classes of `xpmlp` and `xpmlp.training`."""

MODULES = {
    "xpmlp.network": {"Noise": "DropoutKeys"},
    "xpmlp.runs": {"Origin": "RunFingerprint", "begin_training": "trainer_from_recipe"},
    "xpmlp.schedules": {"plateau_factor": "factor_on_plateau"},
}
"""Names of other modules."""

_CONFIG = {"keep_best": "restore_best", "lets_members_diverge": "allow_divergence"}
_SUM = {"correct": "metric_sum"}
_ENSEMBLE = {"committee": "ensemble"}
_DATA = {"factors": "lr_factors", "shares": "mixup_lambda", "spread": "inverse_variance"}

ARGUMENTS: Mapping[str, Mapping[str, str]] = {
    "Evaluation": _ENSEMBLE, "Snapshot": _SUM, "StepMetrics": _SUM, "TrainingData": _DATA,
    "MLP": {"hidden": "activation"},
    "ValidationConfig": _CONFIG, "TrainConfig": _CONFIG,
    "training.train": {"observers": "callbacks"},
    "train": {**_CONFIG, "observers": "callbacks", "sample_weights": "sample_weight"},
}  # fmt: skip
"""Arguments of a function or a constructor."""

ATTRIBUTES: Mapping[str, Mapping[str, str]] = {
    "Evaluation": _ENSEMBLE, "TrainingData": _DATA,
    "MLP": {"hidden": "activation", "predicts_numbers": "is_regression"},
    "Snapshot": _SUM, "StepMetrics": _SUM, "Trainer": _SUM,
    "ValidationConfig": _CONFIG,
}  # fmt: skip
"""Attributes of a class."""

SETTINGS = {"hidden": "activation", "keep_best": "restore_best"}
"""Keys of a recipe; what warns of them says where they stand now."""

SUMMARY = {"committee_test_accuracy": "ensemble_test_accuracy"}
"""Keys of a run's `summary.json`."""


def warn(old: str, new: str) -> None:
    """Warn, at the line outside the package that used the old name, of its new name."""
    frame, level = sys._getframe(1), 2
    while frame.f_back and f"{frame.f_globals.get('__name__')}.".startswith("xpmlp."):
        frame, level = frame.f_back, level + 1
    # `from xpmlp import OLD` asks twice, first whether the name is there.
    if frame.f_globals.get("__name__") != "importlib._bootstrap":
        warnings.warn(f"{old} is {new} now", DeprecationWarning, stacklevel=level)


def arguments(taker: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return keyword arguments by their names of now."""
    known = ARGUMENTS[taker]
    for old in given.keys() & known.keys():
        if known[old] in given:
            raise InputError(f"{old} and {known[old]}: give {known[old]} alone, its name now")
        warn(f"{old}=", f"{known[old]}=")
    return {known.get(name, name): value for name, value in given.items()}


def attribute(module: str, name: str) -> str:
    """Return what a module's attribute is called now, with a warning; `AttributeError` if none."""
    known = MODULES.get(module, CLASSES)
    if name not in known:
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    warn(f"{module}.{name}", f"{module if module in MODULES else 'xpmlp'}.{known[name]}")
    return known[name]


def with_old_names(kind: _Kind) -> _Kind:
    """Give a class the attributes and the arguments of 0.1.0: a decorator."""
    for old, new in ATTRIBUTES[kind.__name__].items():
        told = f"Return `{new}`, which had this name in 0.1.0."
        setattr(kind, old, property(functools.partial(_attribute, old, new), doc=told))
    if kind.__name__ in ARGUMENTS:
        made_by = "__new__" if issubclass(kind, tuple) else "__init__"
        make = getattr(kind, made_by)

        @functools.wraps(make)
        def construct(self: Any, *given: Any, **settings: Any) -> Any:
            return make(self, *given, **arguments(kind.__name__, settings))

        setattr(kind, made_by, construct)
    return kind


def _attribute(old: str, new: str, of: object) -> Any:
    """The attribute's value, read by its old name."""
    warn(f"{type(of).__name__}.{old}", new)
    return getattr(of, new)
