"""What all commands share: help with an example, completion, colour, and the word for what next."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main

from xpmlp.cli.app import app

pytestmark = pytest.mark.extended(keep=1)

COMMANDS = {command.name: command.callback for command in app.registered_commands}
XPMLP = [sys.executable, "-m", "xpmlp"]


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


@pytest.mark.parametrize("no_color", [True, False])
def test_no_color_is_respected(no_color: bool) -> None:
    """On a pseudo-terminal, where there would be colour."""
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    environment = {
        name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "CI")
    } | {"TERM": "xterm-256color"}
    if no_color:
        environment["NO_COLOR"] = "1"
    process = subprocess.Popen([*XPMLP, "explain"], stdout=theirs, env=environment)
    os.close(theirs)
    said = b""
    try:
        while block := os.read(ours, 65536):
            said += block
    except OSError:  # the other end is closed
        pass
    os.close(ours)
    assert process.wait() == 0
    colours = re.findall(rb"\x1b\[[\d;]*3[0-7][\d;]*m", said)
    assert bool(colours) is not no_color


@pytest.mark.extended
def test_every_command_says_the_next(command, tiny, trained, data, tmp_path: Path) -> None:
    """Each command that ends well, and is no JSON, names one that can be typed."""
    import numpy as np

    np.save("rows.npy", np.zeros((1, 16), np.uint8))
    settings = ["--set", "model.layer_sizes=16,8,10", "--data", str(data)]
    uses = {
        "train": [*tiny[1:], "--out", "one"],
        "evaluate": [str(trained)],
        "predict": [str(trained), "rows.npy"],
        "plot": [str(trained), "--out", "a.png"],
        "report": [str(trained), "--out", "a.html"],
        "compare": [str(trained), str(trained)],
        "explain": ["--hidden", "8"],
        "export": [str(trained), "m.onnx"],
        "recipes": [],
        "find-rate": ["lecture", *settings, "--set", "batch_size=4"],
        "sweep": ["lecture", "--over", "seed=1,2", *settings, "--set", "epochs=1"],
        "gradcheck": ["--hidden", "3"],
        "backends": [],
    }
    assert uses.keys() == COMMANDS.keys()
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    for name, arguments in uses.items():
        said = command(name, *arguments)
        assert said.status == 0, (name, said.err)
        following = re.search(r"(?:\(next: |; or )(xpmlp .+)\)$", said.out.splitlines()[-1])
        assert following is not None, (name, said.out)
        _, other, *words = shlex.split(following[1])
        commands[other].make_context(other, words)
