"""The command that a user may want next, written so that a shell takes it."""

import shlex
from collections.abc import Mapping, Sequence


def train_command(
    recipe: str,
    options: Mapping[str, object],
    settings: Sequence[str],
    found: Mapping[str, object],
) -> str:
    """`xpmlp train` with what was given before, options and `--set`, and what was found since."""
    words = ["xpmlp", "train", recipe]
    for name, value in options.items():
        words += [f"--{name}", as_setting(value)] if value is not None else []
    for text in settings:
        words += ["--set", text] if text.partition("=")[0].strip() not in found else []
    for name, value in found.items():
        words += ["--set", f"{name}={as_setting(value)}"]
    return shlex.join(words)


def as_setting(value: object) -> str:
    """A value as `--set` takes it."""
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, list) else f"{value}"
