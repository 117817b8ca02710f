"""The errors that xpmlp raises on purpose, each one clear line.

A message names the value, the limit and the remedy. Every class also carries the exit status
that the command line gives it, so that this is decided once.
"""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xpmlp.run import Run

_is_command = ContextVar("is_command", default=False)
"""Whether a command asked, not a program: remedies are in the asker's words."""


@contextlib.contextmanager
def for_commands() -> Iterator[None]:
    """Have messages name the command line's options in place of Python's arguments."""
    before = _is_command.set(True)
    try:
        yield
    finally:
        _is_command.reset(before)


def option(name: str, value: object) -> str:
    """Return how a setting is given: `--device cpu` in a command, `device='cpu'` in Python."""
    if not _is_command.get():
        return f"{name}={value!r}"
    return f"--{name.replace('_', '-')} {value}"


def remedy(python: str, command: str) -> str:
    """Return what to do, in the words of a program or of a command."""
    return command if _is_command.get() else python


class XpmlpError(Exception):
    """Base of all errors that xpmlp raises on purpose.

    `run` is the run as far as it was trained, where `xpmlp.train` or `Run.resume` raised the error.
    """

    exit_status = 1
    run: "Run | None" = None


class CallbackError(XpmlpError, RuntimeError):
    """A callback failed: `callback` names its class and `event` its method; the state is kept.

    The callback's own exception is the cause, `__cause__`.
    """

    callback = event = ""


class InputError(XpmlpError, ValueError):
    """Something given to xpmlp cannot be used: an option, a file, an array."""

    exit_status = 2


class BackendUnavailable(XpmlpError, RuntimeError):
    """A backend cannot run here: `cause` says why and `remedy` is the command that would fix it."""

    exit_status = 3

    def __init__(self, backend: str, cause: str, remedy: str) -> None:
        super().__init__(f"backend {backend} cannot run here: {cause}; {remedy}")
        self.backend = backend
        self.cause = cause
        self.remedy = remedy


class NotCompiled(XpmlpError, RuntimeError):
    """A run was to be compiled, whatever it takes, and cannot be."""

    exit_status = 3


class DeviceLost(XpmlpError, RuntimeError):
    """The GPU can do nothing any more in this process; the state before it is kept."""

    exit_status = 4


class Diverged(XpmlpError, ArithmeticError):
    """The loss became NaN or infinite; the state before it is kept."""

    exit_status = 1
