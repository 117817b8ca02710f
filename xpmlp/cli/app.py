"""The application: its commands, and what becomes of an error."""

import errno
import io
import logging
import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

import xpmlp
from xpmlp.backends.failures import is_out_of_memory
from xpmlp.cli import backends as backends_command
from xpmlp.cli import (
    compare,
    data,
    evaluate,
    explain,
    export,
    find_rate,
    gradcheck,
    plot,
    predict,
    recipes,
    report,
    sweep,
    train,
)
from xpmlp.cli.console import Warnings, echo, echo_error, output, reset_consoles
from xpmlp.cli.habits import instead_of_command, instead_of_option
from xpmlp.errors import XpmlpError, for_commands

app = typer.Typer(
    name="xpmlp",
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="The multilayer perceptron, written once as algebra, trained wherever arrays live.",
)
COMMANDS: dict[str, tuple[Callable[..., None], ...]] = {
    "Train": (train.train, data.data, recipes.recipes, find_rate.find_rate, sweep.sweep),
    "Use a run": (
        evaluate.evaluate,
        predict.predict,
        report.report,
        plot.plot,
        compare.compare,
        export.export,
    ),
    "Learn and check": (explain.explain, gradcheck.gradcheck, backends_command.backends),
}
"""The commands by groups of the help."""

for group, commands in COMMANDS.items():
    for command in commands:
        app.command(command.__name__.replace("_", "-"), rich_help_panel=group)(command)


NO_ROOM_ERRNOS = (errno.ENOSPC, errno.EIO)
"""What writing fails with; of no file it is standard output, where the help goes."""


def _version(wanted: bool) -> None:
    if wanted:
        echo(f"xpmlp {xpmlp.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    del version
    if context.invoked_subcommand is None:
        output().file.write(f"{context.get_help()}\n")


def main(arguments: Sequence[str]) -> int:
    """Run one command in a process of its own and return its exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")  # a path may not fit a terminal's code
    logging.getLogger("xpmlp").addHandler(Warnings(logging.WARNING))
    return run(arguments)


def run(arguments: Sequence[str]) -> int:
    """Run one command; an error made on purpose is one line on standard error."""
    reset_consoles()
    status = _run(arguments)
    if lost := output().lost:
        _complain_of_output(lost)
    return status or int(bool(lost))


def _complain_of_output(why: str) -> None:
    echo_error(f"standard output: cannot be written ({why}); free or change the place")


def _usage(error: Any, arguments: Sequence[str]) -> str:
    """A usage error in a line, with what was probably meant."""
    context = getattr(error, "ctx", None)
    path = getattr(context, "command_path", "xpmlp")
    said = " ".join(error.format_message().split())
    instead = ""
    if found := re.match(r"No such command '([^']*)'", said):
        name = found[1]
        said = f"no command {name!r}"
        rest = list(arguments)[list(arguments).index(name) + 1 :]
        instead = instead_of_command(
            name, rest, [one.name or "" for one in app.registered_commands]
        )
    elif flag := getattr(error, "option_name", "") if "No such" in said else "":
        said = f"{path} has no option {flag}"
        params = context.command.params if context else ()
        known = [option for param in params for option in (*param.opts, *param.secondary_opts)]
        instead = instead_of_option(flag, arguments, known)
    return f"{said}; did you mean {instead}?" if instead else f"{said} ({path} --help says more)"


def _run(arguments: Sequence[str]) -> int:
    try:
        with for_commands():
            status = app(list(arguments), prog_name="xpmlp", standalone_mode=False)
    except XpmlpError as error:
        echo_error(str(error))
        return error.exit_status
    except BrokenPipeError:  # the reader of our output left, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if is_out_of_memory(error):
            echo_error(
                f"out of memory ({' '.join(str(error).split())}); try smaller layers, batches or "
                "fewer members, or on a GPU --backend numpy"
            )
            return 2
        if isinstance(error, OSError) and error.filename is None and error.errno in NO_ROOM_ERRNOS:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            _complain_of_output(error.strerror or str(error))
            return 1
        # Usage errors are classes of typer's private copy of click, or of click: known by method.
        if not hasattr(error, "format_message"):
            raise
        echo_error(_usage(error, arguments))
        return 2
    return status if isinstance(status, int) else 0
