"""Names of 0.1.0 that work for one more release, with a `DeprecationWarning`."""

import functools
import sys
import warnings
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from xpmlp.errors import InputError

_Kind = TypeVar("_Kind", bound=type)
_Maker = TypeVar("_Maker", bound=Callable[..., Any])

CLASSES = {
    "Control": "ValidationConfig",
    "Descent": "OptimizerConfig",
    "Observer": "Callback",
    "Training": "Trainer",
}
"""Classes of `xpmlp` and `xpmlp.training`."""

MODULES = {
    "xpmlp.network": {"Noise": "DropoutKeys"},
    "xpmlp.runs": {"Origin": "RunFingerprint", "begin_training": "trainer_from_recipe"},
    "xpmlp.schedules": {"plateau_factor": "factor_on_plateau"},
}
"""Names of other modules."""

_CONFIG = {"keep_best": "restore_best", "lets_members_diverge": "allow_divergence"}
_PARTS = {"descent": "optimizer_config", "control": "validation_config"}
_SUM = {"correct": "metric_sum"}
_TRAIN = {**_CONFIG, **_PARTS, "observers": "callbacks"}

_FIELDS: Mapping[str, Mapping[str, str]] = {
    "Evaluation": {"committee": "ensemble"},
    "Snapshot": _SUM,
    "StepMetrics": _SUM,
    "TrainingData": {
        "factors": "lr_factors", "shares": "mixup_lambda", "spread": "inverse_variance"
    },
    "ValidationConfig": _CONFIG,
}  # fmt: skip
"""Fields of a class, which are arguments and attributes."""

ARGUMENTS: Mapping[str, Mapping[str, str]] = {
    **_FIELDS,
    "MLP": {"hidden": "activation"},
    "OptimizerConfig": {"plateau": "schedule"},
    "TrainConfig": {**_CONFIG, **_PARTS},
    "Trainer": {**_CONFIG, **_PARTS},
    "make_step": {"descent": "optimizer_config"},
    "training.train": _TRAIN,
    "train": {**_TRAIN, "sample_weights": "sample_weight"},
}
"""Arguments of a function or a constructor."""

ATTRIBUTES: Mapping[str, Mapping[str, str]] = {
    **_FIELDS,
    "MLP": {"hidden": "activation", "predicts_numbers": "is_regression"},
    "Trainer": {**_SUM, **_PARTS},
}
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
        warnings.warn(
            f"{old} {'are' if ',' in new else 'is'} {new} now", DeprecationWarning, stacklevel=level
        )


def arguments(taker: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return keyword arguments by their names of now."""
    known = ARGUMENTS[taker]
    used = [old for old in given if old in known]
    for old in used:
        if known[old] in given:
            raise InputError(f"{old} and {known[old]}: give {known[old]} alone, its name now")
    if used:
        now = (f"{known[old]}=" for old in used)
        warn(", ".join(f"{old}=" for old in used), ", ".join(now))
    return {
        known.get(name, name): value
        for name, value in given.items()
        if value is not None or name not in known
    }


def attribute(module: str, name: str) -> str:
    """Return what a module's attribute is called now, with a warning; `AttributeError` if none."""
    known = MODULES.get(module, CLASSES)
    if name not in known:
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    warn(f"{module}.{name}", f"{module if module in MODULES else 'xpmlp'}.{known[name]}")
    return known[name]


def with_old_names(kind: _Kind) -> _Kind:
    """Give a class the attributes and the arguments of 0.1.0: a decorator."""
    for old, new in ATTRIBUTES.get(kind.__name__, {}).items():
        told = f"Return `{new}`, which had this name in 0.1.0."
        setattr(kind, old, property(functools.partial(_attribute, old, new), doc=told))
    if kind.__name__ in ARGUMENTS:
        made_by = "__new__" if issubclass(kind, tuple) else "__init__"
        setattr(kind, made_by, with_old_arguments(getattr(kind, made_by), kind.__name__))
    return kind


def with_old_arguments(make: _Maker, name: str = "") -> _Maker:
    """Let a function take the arguments of 0.1.0, too: a decorator."""

    @functools.wraps(make)
    def renaming(*given: Any, **settings: Any) -> Any:
        return make(*given, **arguments(name or make.__name__, settings))

    return renaming  # type: ignore[return-value]


def _attribute(old: str, new: str, of: object) -> Any:
    """The attribute's value, read by its old name."""
    warn(f"{type(of).__name__}.{old}", new)
    return getattr(of, new)
