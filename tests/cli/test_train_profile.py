"""`xpmlp train --profile`: the table, and that the run is the same."""

from pathlib import Path

import pytest

import xpmlp.cli.train

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xpmlp.training.profile.SECONDS", 0.0)
    monkeypatch.setattr("xpmlp.training.profile.SIDE", 64)


def table_of(out: str) -> list[str]:
    lines = out.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("layer"))
    return lines[start : next(n for n, line in enumerate(lines) if line.startswith("Ceiling"))]


def test_table_has_a_line_for_each_phase_and_fits_a_pipe(command, tiny) -> None:
    said = command(*tiny, "--profile", "--threads", 1, "--out", "run")
    assert said.status == 0
    header, *lines = table_of(said.out)
    assert header.split("  ")[0] == "layer"
    assert header.split()[1:] == ["phase", "us", "%", "of", "sum", "GFLOP/s", "%", "of", "ceiling"]
    assert {len(line) for line in lines} == {len(header)}
    assert len(header) <= 80
    first = next(line for line in lines if "forward product" in line)
    layer, *words, us, share, speed, of_ceiling = first.split()
    assert (layer, " ".join(words)) == ("1", "forward product + bias")
    assert min(float(each) for each in (us, share, speed, of_ceiling)) >= 0.0
    assert [line.split()[0] for line in lines if "product" in line] == ["1", "2"]
    assert [line.split()[:3] for line in lines if "dW" in line] == [
        ["2", "backward", "dW,"],
        ["1", "backward", "dW,"],
    ]
    assert lines[-2].strip().startswith("all phases")
    assert lines[-2].split()[3] == "100.0"
    assert lines[-1].strip().startswith("a step of the run")
    text = said.out.splitlines()
    assert any(
        line.startswith("Ceiling: ") and line.endswith("64 x 64 matrices in float32 on 1 thread")
        for line in text
    )
    assert "The run's steps: compiled for numpy" in text
    assert text.index(header) < next(n for n, line in enumerate(text) if "Test accuracy" in line)


def test_profiled_run_is_the_same_as_without(command, tiny, trained: Path) -> None:
    assert command(*tiny, "--profile", "--quiet", "--out", "run").status == 0
    for name in ("model.safetensors", "metrics.csv"):
        assert Path("run", name).read_bytes() == (trained / name).read_bytes()


def test_quiet_profile_prints_its_table_alone(command, tiny) -> None:
    said = command(*tiny, "--profile", "--quiet", "--out", "run")
    assert said.err == ""
    assert said.out.startswith("layer")
    assert "accuracy" not in said.out


@pytest.mark.extended(keep=2)
@pytest.mark.parametrize(
    "options",
    [
        ["--members", "3"], ["--dtype", "float64", "--hidden", "8,8"], ["--compile", "off"],
        ["--shuffle", "--set", "model.activation=relu"],
        pytest.param(["--backend", "torch"], marks=pytest.mark.oracle),
        pytest.param(["--backend", "jax"], marks=pytest.mark.oracle),
    ],
)  # fmt: skip
def test_profile_of_every_kind_of_run(command, tiny, options: list[str], request) -> None:
    if options[0] == "--backend":
        request.getfixturevalue(options[1])  # or skips
    widths = ["--set", "model.layer_sizes=16,8,8,10"] if "--hidden" not in options else []
    said = command(*tiny, *options, *widths, "--profile", "--quiet", "--out", "run")
    assert said.status == 0
    layers = [line.split()[0] for line in table_of(said.out) if "forward product" in line]
    assert layers == ["1", "2", "3"]
    apart = "The phases were not run that way" in said.out
    assert apart == (options[-1] in ("jax", "off"))


def test_a_run_that_goes_on_can_be_profiled(command, tiny) -> None:
    assert command(*tiny, "--quiet", "--out", "run").status == 0
    said = command("train", "--resume", "run", "--epochs", 3, "--profile", "--quiet")
    assert said.status == 0
    assert said.out.startswith("layer")
    assert command(*tiny, "--quiet", "--epochs", 3, "--out", "whole").status == 0
    one, other = (Path(name, "model.safetensors").read_bytes() for name in ("run", "whole"))
    assert one == other


@pytest.mark.parametrize(
    ("changes", "text", "is_said"),
    [
        ({"slowdown": 1.1}, "The machine is busy: that product took", False),
        ({"slowdown": 1.4}, "The machine is busy: that product took 1.4 times", True),
        ({"step": 1e-9}, "the machine is busy, or the steps", False),
        ({"step": 1.0}, "The step took 1,000,000 us, its phases", True),
    ],
)
def test_profile_says_when_the_machine_is_busy(
    command, tiny, monkeypatch, changes: dict[str, float], text: str, is_said: bool
) -> None:
    real = xpmlp.cli.train.profile_steps
    monkeypatch.setattr("xpmlp.cli.train.profile_steps", lambda run: real(run)._replace(**changes))
    said = command(*tiny, "--profile", "--quiet")
    assert (text in said.out) == is_said
