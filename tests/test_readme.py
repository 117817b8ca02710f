"""The README is true: its Python runs, its links lead somewhere, its commands exist."""

import re
import runpy
from pathlib import Path

import pytest

from xpmlp.cli.app import app

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")


@pytest.mark.extended
def test_the_python_examples_run(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len(blocks) == 4
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)  # noqa: S102
    first, second, score = capsys.readouterr().out.splitlines()
    assert float(score) > 0.9
    for line, said in (
        (first, r"([\d.]+)% of the test set; the first five are \[7 2 1 0 4\]"),
        (second, r"([\d.]+)% of the validation set"),
    ):
        share = re.fullmatch(said, line)
        assert share is not None
        assert float(share[1]) > 95.0
    assert names["parameters"].shape == (52_650,)
    assert names["W1"].shape == (784, 64)
    assert names["b1"].shape == (64,)


def test_the_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert "docs/training.png" in links
    for link in links:
        if not link.startswith("https://"):
            assert (ROOT / link).exists(), link


def test_the_two_commands_stand_alone() -> None:
    """`.ci/run` executes them; here, that they are there, one line each."""
    lines = [line for line in README.splitlines() if line.startswith("python3 -m venv")]
    assert len(lines) == 2
    assert lines[0].endswith("xpmlp train")
    assert lines[1].endswith("pytest")


def test_the_page_of_formulas_is_the_algebras() -> None:
    """Written by `.ci/formulas`: run it after a change."""
    made = runpy.run_path(str(ROOT / ".ci" / "formulas"))
    assert made["PAGE"].read_text("utf-8") == made["page"]()


def test_every_command_is_shown() -> None:
    for command in app.registered_commands:
        assert f"xpmlp {command.name}" in README


def test_the_page_of_settings_is_made_from_their_declarations() -> None:
    """Written by `.ci/settings`: run it after a change."""
    made = runpy.run_path(str(ROOT / ".ci" / "settings"))
    assert (ROOT / "docs" / "recipe.md").read_text("utf-8") == made["page"]()
