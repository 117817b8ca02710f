"""The command that a user may want next, written so that a shell takes it."""

import shlex

from xpmlp.cli.console import echo


def echo_next(*words: str, after: str = "") -> None:
    """Print the last line of a command: its result, and what to type next."""
    echo(f"{after} (next: {shlex.join(words)})".strip())


def as_setting(value: object) -> str:
    """A value as `--set` takes it."""
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, list) else f"{value}"
