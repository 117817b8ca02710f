"""Every shell line of the README and of docs/ is typed, in order, as it stands, and Python is run.

In a directory with the environment that the README makes, or rather one that stands for it. Not
typed here: what installs (`.ci/run` types those lines, or installs the extras that they name), what
builds and runs the image (tests/container types it), and what needs a GPU.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"][
    "optional-dependencies"
]


INSTALL = "python3 -m venv .venv && .venv/bin/pip install . && "

RUN_BY_OTHER_TESTS = ("README.md", "scikit-learn.md", "callbacks.md")
"""Pages whose Python is run by test_readme.py and test_docs.py."""


def lines_of(page: Path) -> list[str]:
    """The lines of its shell blocks, comments and all."""
    blocks = re.findall(r"```(?:sh|bash|console)\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


def elsewhere(line: str) -> str:
    """Who types it, if this test does not."""
    if line.startswith("python3 -m venv .venv &&"):
        return ".ci/run"
    if line.startswith("docker "):
        return "tests/container"
    if match := re.search(r'pip install "\.\[(\w+)\]"', line):
        assert match[1] in EXTRAS, line
        return "by hand: gigabytes" if match[1].startswith("cuda") else ".ci/extras"
    return ""


def typed_here(page: Path) -> list[str]:
    """The lines that this test types; of the one that installs and trains, the training. A page
    that ends with a line of the README ends without it."""
    lines = [line.removeprefix(INSTALL) for line in lines_of(page)]
    lines = [line for line in lines if not elsewhere(line)]
    if page != README and lines and lines[-1] in typed_here(README):
        lines.pop()  # typed already, and no line after it needs its run
    return lines


def test_lines_left_to_other_jobs_are_in_those_jobs() -> None:
    ci = (ROOT / ".ci" / "run").read_text("utf-8")
    readme = lines_of(README)
    for page in PAGES:
        for line in lines_of(page):
            if elsewhere(line) == "tests/container":
                assert page.name == "container.md", line
            if elsewhere(line) == ".ci/run":
                assert line in readme, (page.name, line)
    assert "readme_line 'xpmlp train'" in ci
    assert "readme_line 'pytest'" in ci
    assert ".ci/extras" in ci
    assert "container.md" in (ROOT / "tests" / "container" / "test_image.py").read_text("utf-8")


@pytest.mark.documentation
def test_lines_do_what_they_say(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    for name in ("digit.png", "trees.csv"):
        shutil.copy(ROOT / "docs" / name, tmp_path / "docs")
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    program = programs / "xpmlp"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m xpmlp "$@"\n')
    program.chmod(0o755)
    (programs / "activate").write_text(f'PATH="{programs}:$PATH"\n')
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(ROOT),
        "LC_ALL": "C.UTF-8",
    }  # fmt: skip
    typed = 0
    for page in PAGES:
        lines = typed_here(page)
        if page != README:
            shutil.rmtree(tmp_path / "runs", ignore_errors=True)  # a reader's own
        script = "\n".join([". .venv/bin/activate", *lines])
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, (page.name, done.stderr[-2000:])
        assert "Traceback" not in done.stderr
        typed += len(lines)
        if page.name not in RUN_BY_OTHER_TESTS:
            blocks = re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
            subprocess.run(
                [sys.executable, "-c", "\n".join(blocks)],
                cwd=tmp_path, env=environment, check=True,
            )  # fmt: skip
    assert typed > 20
