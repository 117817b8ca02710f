"""What all commands share: help with an example, completion, colour, and the word for what next."""

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
import typer.main

from tests.cli.watched import XPMLP, on_a_terminal
from xpmlp.cli.app import app

pytestmark = pytest.mark.extended(keep=1)

COMMANDS = {command.name: command.callback for command in app.registered_commands}


def called(*arguments: str, **environment: str) -> str:
    """The output of a process of its own, which has no terminal."""
    plain = {
        name: value
        for name, value in os.environ.items()
        if name not in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "COLUMNS")
    }
    found = subprocess.run(
        [*XPMLP, *arguments], capture_output=True, text=True, check=True, env=plain | environment
    )
    return found.stdout


@pytest.mark.extended(keep=1)
@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_an_example_that_the_command_takes(name: str) -> None:
    callback = COMMANDS[name]
    assert callback is not None
    examples = re.findall(r"^ *Example: (.+)$", callback.__doc__ or "", flags=re.MULTILINE)
    assert len(examples) == 1
    program, command, *arguments = shlex.split(examples[0])
    assert (program, command) == ("xpmlp", name)
    parser = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]
    parser.make_context(name, arguments)  # raises for an option that it does not have
    shown = " ".join(called(name, "--help").replace("│", " ").split())
    assert f"Example: {examples[0]}" in shown
    assert called(name, "-h") == called(name, "--help")


@pytest.mark.extended
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_completes_commands_and_options(shell: str) -> None:
    script = called("--show-completion", shell) if shell == "bash" else ""
    completed = {
        "bash": {"COMP_WORDS": "xpmlp ex", "COMP_CWORD": "1"},
        "zsh": {"_TYPER_COMPLETE_ARGS": "xpmlp ex"},
        "fish": {"_TYPER_COMPLETE_ARGS": "xpmlp ex", "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
    }[shell]
    found = called(**{"_XPMLP_COMPLETE": f"complete_{shell}", **completed})
    assert "explain" in found
    assert "export" in found
    assert "train" not in found.replace("trained", "")
    if script:
        assert "complete" in script


@pytest.mark.extended
def test_bash_really_completes(tmp_path: Path) -> None:
    """The script of `--show-completion` in a shell, with the program on its path."""
    program = tmp_path / "xpmlp"
    program.write_text(f'#!/bin/sh\nexec {shlex.join(XPMLP)} "$@"\n')
    program.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    script = (
        'eval "$(_XPMLP_COMPLETE=source_bash xpmlp)"; '
        "COMP_WORDS=(xpmlp train --lea); COMP_CWORD=2; "
        'function="$(complete -p xpmlp | sed "s/.*-F \\([^ ]*\\) .*/\\1/")"; '
        '"$function" xpmlp; echo "${COMPREPLY[@]}"'
    )
    found = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, env=environment, check=True
    )
    assert found.stdout.split() == ["--learning-rate"]


ESCAPE = "\x1b["


@pytest.mark.extended
def test_colour_is_for_terminals_alone(trained: Path) -> None:
    for arguments in (("explain",), ("backends",), ("explain", str(trained))):
        assert ESCAPE not in called(*arguments)


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {}])
def test_no_color_is_respected(environment: dict[str, str]) -> None:
    colours = re.findall(r"\x1b\[[\d;]*3[0-7][\d;]*m", on_a_terminal("explain", **environment))
    assert bool(colours) is not bool(environment)


@pytest.mark.extended
def test_every_command_says_the_next(command, tiny, trained, data, tmp_path: Path) -> None:
    """Each command that ends well, and is no JSON, names one that can be typed."""
    import numpy as np

    np.save("rows.npy", np.zeros((1, 16), np.uint8))
    settings = f"--set model.layer_sizes=16,8,10 --data {data}"
    uses = {
        "train": f"{' '.join(tiny[1:])} --out one",
        "evaluate": f"{trained}",
        "predict": f"{trained} rows.npy",
        "plot": f"{trained} --out a.png",
        "report": f"{trained} --out a.html",
        "compare": f"{trained} {trained}",
        "explain": "--hidden 8",
        "export": f"{trained} m.onnx",
        "recipes": "",
        "find-rate": f"lecture {settings} --set batch_size=4",
        "sweep": f"lecture --over seed=1,2 {settings} --set epochs=1",
        "gradcheck": "--hidden 3",
        "backends": "",
        "data": "mnist",
    }
    assert uses.keys() == COMMANDS.keys()
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    for name, arguments in uses.items():
        said = command(name, *arguments.split())
        assert said.status == 0, (name, said.err)
        following = re.search(r"(?:\(next: |; or )(xpmlp .+)\)$", said.out.splitlines()[-1])
        assert following is not None, (name, said.out)
        _, other, *words = shlex.split(following[1])
        commands[other].make_context(other, words)
