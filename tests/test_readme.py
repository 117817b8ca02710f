"""The README is true: its Python runs, its links lead somewhere, its commands exist."""

import re
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import xpmlp
from xpmlp.algebra import dense, dense_backward
from xpmlp.cli.app import app

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")


@pytest.mark.extended
def test_python_examples_run(capsys, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    train, estimator, algebra = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    names: dict[str, Any] = {}
    for block in (train, estimator, algebra):
        exec(compile(block, "README.md", "exec"), names)  # noqa: S102
    first, score = capsys.readouterr().out.splitlines()
    assert float(score) > 0.9
    share = re.fullmatch(r"([\d.]+)% of the test set; the first five are \[7 2 1 0 4\]", first)
    assert share is not None
    assert float(share[1]) > 95.0
    assert xpmlp.load("runs/mine").predict(names["mnist"].test.X[:1]) == [7]
    A, W, dZ = (np.random.default_rng(0).normal(size=size) for size in ((3, 4), (4, 2), (3, 2)))
    ours = dense_backward(dZ, A, W, xp=np)
    for shown, one in zip(names["dense_backward"](dZ, A, W, xp=np), ours, strict=True):
        np.testing.assert_array_equal(shown, one)
    b = np.array([0.5, -2.0])
    np.testing.assert_array_equal(names["dense"](A, W, b, xp=np), dense(A, W, b, xp=np))


def test_readme_is_short() -> None:
    assert len(README.splitlines()) <= 120
    assert len(README.split()) <= 800


def test_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert "docs/explained.png" in links
    for link in links:
        if not link.startswith("https://"):
            assert (ROOT / link).exists(), link


def test_two_commands_stand_alone() -> None:
    """`.ci/run` executes them; here, that they are there, one line each."""
    lines = [line for line in README.splitlines() if line.startswith("python3 -m venv")]
    assert len(lines) == 2
    assert lines[0].endswith("xpmlp train")
    assert lines[1].endswith("pytest")


def test_page_of_formulas_is_the_algebras() -> None:
    """Written by `.ci/formulas`: run it after a change."""
    made = runpy.run_path(str(ROOT / ".ci" / "formulas"))
    assert made["PAGE"].read_text("utf-8") == made["page"]()


def test_every_command_is_shown() -> None:
    page = (ROOT / "docs" / "commands.md").read_text("utf-8")
    for command in app.registered_commands:
        assert f"xpmlp {command.name}" in page


def test_page_of_settings_is_made_from_their_declarations() -> None:
    """Written by `.ci/settings`: run it after a change."""
    made = runpy.run_path(str(ROOT / ".ci" / "settings"))
    assert (ROOT / "docs" / "recipe.md").read_text("utf-8") == made["page"]()
