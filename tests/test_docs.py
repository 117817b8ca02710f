"""The pages of docs/ say what is so: their examples run, their tables are complete."""

import inspect
import re
from pathlib import Path

import pytest

from xpmlp import MLPClassifier, MLPRegressor

PAGE = (Path(__file__).parents[1] / "docs" / "scikit-learn.md").read_text("utf-8")


@pytest.mark.extended
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_the_examples_run(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL):
        exec(compile(block, "docs/scikit-learn.md", "exec"), names)  # noqa: S102
    place, score, loss = capsys.readouterr().out.splitlines()[0].rsplit(" ", 2)
    assert " on " in place
    assert float(score) > 0.9
    assert 0.0 < float(loss) < 0.5


def test_the_tables_name_every_parameter_and_no_other() -> None:
    first_columns = re.findall(r"^\| (`.*?) \|", PAGE, flags=re.MULTILINE)
    named = {name for column in first_columns for name in re.findall(r"`(\w+)`", column)}
    parameters = {
        *inspect.signature(MLPClassifier).parameters, *inspect.signature(MLPRegressor).parameters
    }  # fmt: skip
    assert named == parameters


ROOT = Path(__file__).parents[1]
NAVIGATION = (ROOT / "mkdocs.yml").read_text("utf-8").partition("nav:")[2].partition("plugins:")[0]
LINKED = re.findall(r": (\S+\.(?:md|ipynb))$", NAVIGATION, flags=re.MULTILINE)


def test_every_page_is_in_the_navigation() -> None:
    pages = {
        str(path.relative_to(ROOT / "docs"))
        for pattern in ("*.md", "*.ipynb")
        for path in (ROOT / "docs").rglob(pattern)
    }
    assert set(LINKED) == pages
    assert len(LINKED) == len(pages)
