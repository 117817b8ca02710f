"""`xpmlp gradcheck`, `backends`, `--version`, `--help`, and how the commands speak."""

import functools
import os

import pytest
from rich.progress import Progress

import xpmlp
from xpmlp.algebra import ACTIVATIONS
from xpmlp.backends import BackendReport, select_backend
from xpmlp.backends.base import DeviceInfo
from xpmlp.cli.console import Stream
from xpmlp.gradcheck import gradcheck

COMMANDS = ["train", "evaluate", "predict", "plot", "gradcheck", "backends"]


@pytest.fixture
def numpy_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """tests/test_gradcheck.py has every method; to import those takes longer than to ask them."""
    check = functools.partial(gradcheck, backends=[select_backend("numpy")], autodiff=())
    monkeypatch.setattr("xpmlp.cli.gradcheck.check", check)


SMALL = ["gradcheck", "--set", "model.layer_sizes=6,5,4,3", "--batch-size", "4"]


@pytest.mark.usefixtures("numpy_only")
def test_gradcheck_shows_every_parameter_against_every_witness(command) -> None:
    said = command(*SMALL)
    assert said.status == 0
    rows = [line.split() for line in said.out.splitlines() if "agrees" in line]
    assert {row[0] for row in rows} == {"W1", "b1", "W2", "b2", "W3", "b3"}
    assert {" ".join(row[1:3]) for row in rows} == {"numpy float32", "directional float64"}
    assert "tolerance" in said.out
    assert f"All {len(rows)} comparisons agree for the network 6-5-4-3 (sigmoid" in said.out


@pytest.mark.usefixtures("numpy_only")
@pytest.mark.parametrize("hidden", ["tanh", "relu"])
def test_gradcheck_takes_the_recipes_settings(command, hidden: str) -> None:
    said = command(
        "gradcheck", "--hidden", "3", "--seed", "5", "--set", f"model.activation={hidden}"
    )
    assert said.status == 0
    assert f"the network 784-3-10 ({hidden}, seed 5)" in said.out


@pytest.mark.usefixtures("numpy_only")
def test_gradcheck_is_status_1_where_a_jacobian_is_wrong(command, monkeypatch) -> None:
    right = ACTIVATIONS["sigmoid"]
    wrong = right._replace(backward=lambda dA, A, **_: dA * A)
    monkeypatch.setitem(ACTIVATIONS, "sigmoid", wrong)
    said = command(*SMALL)
    assert said.status == 1
    assert said.err == ""
    differing = {line.split()[0] for line in said.out.splitlines() if "DIFFERS" in line}
    assert differing == {"W1", "b1", "W2", "b2"}  # the last layer has no activation
    assert "comparisons DISAGREE for the network 6-5-4-3" in said.out


def test_backends_shows_each_and_how_to_mend_what_cannot_run(command, monkeypatch) -> None:
    host = (DeviceInfo("cpu", "host", 8 * 2**30),)
    reports = [
        BackendReport("numpy", "2.0", host, None, None),
        BackendReport("cupy", None, (), "no [/driver] :smile:", "pip install 'xpmlp[cuda13]'"),
        BackendReport("jax", "0.9", (DeviceInfo("cuda:0", "H200", None), *host), None, None),
        BackendReport("torch", None, (), "torch cannot be imported", "pip install torch"),
    ]
    monkeypatch.setattr("xpmlp.cli.backends.survey", lambda: reports)
    monkeypatch.setenv("COLUMNS", "100")
    said = command("backends")
    assert (said.status, said.err) == (0, "")
    rows = [line.strip().split(maxsplit=3) for line in said.out.splitlines()]
    assert rows[0][:3] == ["backend", "version", "usable"]
    assert rows[1] == ["numpy", "2.0", "yes", "cpu (host, 8 GiB)"]
    assert rows[2] == ["cupy", "-", "no", "no [/driver] :smile:"]
    assert rows[3][3] == "cuda:0 (H200), cpu (host, 8 GiB)"
    assert "To use cupy: pip install 'xpmlp[cuda13]'" in said.out
    assert "To use torch: pip install torch" in said.out
    assert "To use numpy" not in said.out
    assert said.out.splitlines()[-2].startswith("auto takes ")


def test_version(command) -> None:
    assert command("--version") == (0, f"xpmlp {xpmlp.__version__}\n", "")


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_an_example(command, name: str) -> None:
    for option in ("--help", "-h"):
        said = command(name, option)
        assert (said.status, said.err) == (0, "")
        assert f"Example: xpmlp {name}" in said.out


def test_help_lists_the_commands(command) -> None:
    said = command("--help")
    assert said.status == 0
    assert all(name in said.out for name in COMMANDS)


def test_train_has_the_options_that_other_programs_rely_on(command, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    said = command("train", "--help").out
    names = (
        "backend device dtype data epochs batch-size learning-rate hidden seed shuffle no-shuffle "
        "members initial-weights out resume profile quiet set"
    )
    for name in names.split(" "):
        assert f"--{name} " in said


def test_a_stream_falls_silent_when_its_reader_leaves() -> None:
    read, write = os.pipe()
    with os.fdopen(write, "w") as file:
        stream = Stream(file=file)
        os.close(read)
        stream.print("nobody hears this")
        stream.print("nor this")
    assert stream.quiet
    assert stream.lost == ""


def test_a_stream_falls_silent_when_its_terminal_is_gone() -> None:
    """What a progress bar meets in a run that outlives its window."""
    main, terminal = os.openpty()
    with os.fdopen(terminal, "w") as file:
        stream = Stream(file=file, force_terminal=True)
        os.close(main)
        with Progress(console=stream) as progress:
            progress.add_task("working", total=1)
    assert stream.quiet
    assert stream.lost == "Input/output error"


def test_what_a_device_calls_itself_is_no_markup(command, monkeypatch) -> None:
    """rich would take [red] for a colour."""
    report = BackendReport("numpy", "2.0", (DeviceInfo("cpu", "[red]", None),), None, None)
    monkeypatch.setattr("xpmlp.cli.backends.survey", lambda: [report])
    assert "cpu ([red])" in command("backends").out
