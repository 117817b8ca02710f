"""The command that a user may want next, written so that a shell takes it."""

import shlex
from collections.abc import Mapping, Sequence

from xpmlp.cli.console import say


def with_recipe(
    command: str,
    recipe: str,
    options: Mapping[str, object],
    settings: Sequence[str],
    found: Mapping[str, object] | None = None,
) -> list[str]:
    """The words of `xpmlp COMMAND RECIPE` with what was given before, options and `--set`, and
    what was found since."""
    found = found or {}
    words = ["xpmlp", command, recipe]
    for name, value in options.items():
        words += [f"--{name}", as_setting(value)] if value is not None else []
    for text in settings:
        words += ["--set", text] if text.partition("=")[0].strip() not in found else []
    for name, value in found.items():
        words += ["--set", f"{name}={as_setting(value)}"]
    return words


def say_next(*words: str, after: str = "") -> None:
    """The last line of a command: what came of it, and what to type next."""
    say(f"{after} (next: {shlex.join(words)})".strip())


def as_setting(value: object) -> str:
    """A value as `--set` takes it."""
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, list) else f"{value}"
