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
    """Base class of the errors that xpmlp raises on purpose.

    Attributes
    ----------
    exit_status : int
        The exit status of a command that ends with this error.
    run : Run or None
        The run so far, if `xpmlp.train` or `Run.resume` raised the error; else None.

    Examples
    --------
    >>> try:
    ...     xpmlp.MLP((4,))
    ... except xpmlp.XpmlpError as error:
    ...     print(type(error).__name__, error.exit_status)
    InputError 2
    """

    exit_status = 1
    run: "Run | None" = None


class CallbackError(XpmlpError, RuntimeError):
    """Raised when a callback fails; the state of the run is kept.

    The exception that the callback raised is the cause, `__cause__`.

    Attributes
    ----------
    callback : str
        The name of the callback's class.
    event : str
        The event in which it failed, such as `on_epoch`.

    Examples
    --------
    >>> class Broken(xpmlp.Callback):
    ...     def on_epoch(self, trainer):
    ...         raise KeyError("no such metric")
    >>> try:
    ...     run = xpmlp.train(xpmlp.MLP((2, 2)), np.eye(2), [0, 1], callbacks=[Broken()], verbose=0)
    ... except xpmlp.CallbackError as error:
    ...     print(error.callback, error.event, error.run.trainer.epoch)
    Broken on_epoch 1
    """

    callback = event = ""


class InputError(XpmlpError, ValueError):
    """Raised for input that cannot be used: an option, a file or an array.

    It is a `ValueError`, too. The message names the value, the limit and the remedy.

    Examples
    --------
    >>> try:
    ...     xpmlp.TrainConfig(epochs=-1)
    ... except ValueError as error:
    ...     print(type(error).__name__)
    InputError
    """

    exit_status = 2


class BackendUnavailable(XpmlpError, RuntimeError):
    """Raised when a backend cannot run on this machine.

    Parameters
    ----------
    backend : str
        The name of the backend.
    cause : str
        Why it cannot run.
    remedy : str
        What to do, such as the command that installs what is missing.

    Examples
    --------
    >>> error = xpmlp.BackendUnavailable("cupy", "no GPU", "use backend='numpy'")
    >>> error.cause, error.exit_status
    ('no GPU', 3)
    """

    exit_status = 3

    def __init__(self, backend: str, cause: str, remedy: str) -> None:
        super().__init__(f"backend {backend} cannot run here: {cause}; {remedy}")
        self.backend = backend
        self.cause = cause
        self.remedy = remedy


class NotCompiled(XpmlpError, RuntimeError):
    """Raised when steps cannot be compiled although `compile='require'`."""

    exit_status = 3


class DeviceLost(XpmlpError, RuntimeError):
    """Raised when a GPU fails and cannot be used again in this process.

    The trainer keeps the state that it last copied to the host.

    Examples
    --------
    >>> xpmlp.DeviceLost.exit_status
    4
    """

    exit_status = 4


class Diverged(XpmlpError, ArithmeticError):
    """Raised when a loss or a parameter becomes NaN or infinite.

    The trainer keeps the last state whose parameters are finite; `run` is the run with that state.

    Examples
    --------
    >>> model = xpmlp.MLP((1, 1), output="identity")
    >>> try:
    ...     run = xpmlp.train(model, [[1e9], [2e9]], [0.0, 1.0], learning_rate=1e9, verbose=0)
    ... except xpmlp.Diverged as error:
    ...     print(np.isfinite(error.run.parameters).all())
    True
    """

    exit_status = 1
