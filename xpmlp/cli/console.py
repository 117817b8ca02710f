"""Where the commands write: results to standard output, progress and errors to standard error.

rich colours a terminal and leaves a pipe plain; it respects NO_COLOR.
"""

from rich.console import Console

output = Console(highlight=False, soft_wrap=True)
errors = Console(stderr=True, highlight=False, soft_wrap=True)


def say(text: str = "", *, style: str | None = None) -> None:
    """A line of a command's result."""
    output.print(text, style=style, markup=False)


def complain(text: str) -> None:
    """The one line that says what was wrong."""
    errors.print(f"xpmlp: {text}", markup=False)
