"""Names of 0.1.0 that work for one more release, with a `DeprecationWarning`: all there are."""

import warnings
from typing import Any

NAMES = {"Observer": "Callback", "Training": "Trainer"}
"""Classes of `xpmlp` and `xpmlp.training`."""

ARGUMENTS = {"observers": "callbacks", "sample_weights": "sample_weight"}
"""Arguments of `xpmlp.train`."""

NETWORK_ARGUMENTS = {"hidden": "activation"}
"""Arguments of `xpmlp.MLP`."""


def warn(old: str, new: str, *, level: int = 3) -> None:
    """Warn, at the line that used the old name, of its new name."""
    warnings.warn(f"{old} is {new} now", DeprecationWarning, stacklevel=level)


def arguments(
    given: dict[str, Any], names: dict[str, str] = ARGUMENTS, *, quietly: bool = False
) -> dict[str, Any]:
    """Return keyword arguments by their names of now."""
    for old in () if quietly else given.keys() & names.keys():
        warn(f"{old}=", f"{names[old]}=", level=4)
    return {names.get(name, name): value for name, value in given.items()}


def attribute(module: str, name: str) -> str:
    """Return what a module's attribute is called now, with a warning; `AttributeError` if none."""
    if name not in NAMES:
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    warn(f"{module}.{name}", f"xpmlp.{NAMES[name]}", level=4)
    return NAMES[name]
