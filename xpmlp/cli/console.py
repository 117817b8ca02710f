"""Where the commands write: results to standard output, progress and errors to standard error.

rich colours a terminal and leaves a pipe plain; it respects NO_COLOR.
"""

import contextlib
import functools
import logging
import os

from rich.console import Console
from rich.markup import escape


class Stream(Console):
    """A console that falls silent where it cannot write: the command's work continues.

    `lost` then says why, or is empty if the reader has left, as `| head` does.
    """

    lost = ""

    def _check_buffer(self) -> None:
        """Where rich writes, whatever it writes: a line, a frame of the progress bar."""
        try:
            super()._check_buffer()
        except OSError as error:
            if not isinstance(error, BrokenPipeError):
                self.lost = error.strerror or str(error)
            self.on_broken_pipe()

    def on_broken_pipe(self) -> None:
        """Fall silent; what is still buffered goes nowhere."""
        self.quiet = True
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())


@functools.cache
def output() -> Stream:
    """Return the console for results, made at its first use: colour depends on the terminal."""
    return Stream(highlight=False, soft_wrap=True, emoji=False)


@functools.cache
def errors() -> Stream:
    """Return the console for progress and errors, made at its first use."""
    return Stream(stderr=True, highlight=False, soft_wrap=True, emoji=False)


def reset_consoles() -> None:
    """Forget both consoles: the next command may write to other files, or a resized terminal."""
    output.cache_clear()
    errors.cache_clear()


def echo(text: str = "", *, style: str | None = None) -> None:
    """A line of a command's result."""
    output().print(_on_one_line(text), style=style, markup=False)


def plain(text: str) -> str:
    """Text for a cell of a table, in which rich would take `W[1]` for markup."""
    return escape(_on_one_line(text))


LONGEST_MESSAGE = 2000
"""Characters of what was wrong: a file may have given the value that it quotes."""


def echo_error(text: str) -> None:
    """The one line that says what was wrong; of a very long one the beginning and the end."""
    if len(text) > LONGEST_MESSAGE:
        text = f"{text[: LONGEST_MESSAGE // 2]} [...] {text[-LONGEST_MESSAGE // 2 :]}"
    errors().print(f"xpmlp: {_on_one_line(text)}", markup=False)


class Warnings(logging.Handler):
    """What the library warns of, as one line each on standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        echo_error(record.getMessage())


def _on_one_line(text: str) -> str:
    """A file's name may hold a line break, or what a terminal takes for a command."""
    shown = (c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return "".join(shown)
