"""Where the commands write: results to standard output, progress and errors to standard error.

rich colours a terminal and leaves a pipe plain; it respects NO_COLOR.
"""

import contextlib
import functools
import logging
import os
from collections.abc import Iterable, Sequence
from typing import Literal

from rich.console import Console
from rich.markup import escape

from xpmlp.display import print_line, print_row


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
    print_line(output(), _on_one_line(text), style=style)


def echo_row(text: str) -> None:
    """A row of a table that is made of lines."""
    print_row(output(), _on_one_line(text))


def say_verbatim(text: str) -> None:
    """A line to be copied or parsed: a terminal does not get it in several lines."""
    output().print(_on_one_line(text), markup=False)


def print_table(
    heads: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    title: str | None = None,
    left: int = 1,
    is_formula: bool = False,
) -> None:
    """Print a table, whose first `left` columns are text and the others numbers.

    A terminal that is too narrow folds cells, but no formula of the first column.
    """
    from rich.table import Table

    table = Table(title=title, title_justify="left", title_style="green", box=None, pad_edge=False)
    for place, head in enumerate(heads):
        justify: Literal["left", "right"] = "left" if place < left else "right"
        is_whole = is_formula and place == 0
        table.add_column(_plain(head), justify=justify, overflow="fold", no_wrap=is_whole)
    for row in rows:
        table.add_row(*map(_plain, row))
    output().print(table)
    if title:
        echo()


def _plain(text: str) -> str:
    """Text for a cell of a table, in which rich would take `W[1]` for markup."""
    return escape(_on_one_line(text))


LONGEST_MESSAGE = 2000
"""Characters of what was wrong: a file may have given the value that it quotes."""


def echo_error(text: str) -> None:
    """The one line that says what was wrong; of a very long one the beginning and the end."""
    if len(text) > LONGEST_MESSAGE:
        text = f"{text[: LONGEST_MESSAGE // 2]} [...] {text[-LONGEST_MESSAGE // 2 :]}"
    print_line(errors(), f"xpmlp: {_on_one_line(text)}")


class Warnings(logging.Handler):
    """What the library warns of, as one line each on standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        echo_error(record.getMessage())


def _on_one_line(text: str) -> str:
    """A file's name may hold a line break, or what a terminal takes for a command."""
    shown = (c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return "".join(shown)
