"""The pages of docs/ say what is so: their examples run, their tables are complete."""

import inspect
import re
from pathlib import Path

import pytest

from xpmlp import Callback, MLPClassifier, MLPRegressor
from xpmlp.training.loggers import LOGGERS

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "scikit-learn.md").read_text("utf-8")


@pytest.mark.extended
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_examples_run(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL):
        exec(compile(block, "docs/scikit-learn.md", "exec"), names)  # noqa: S102
    place, score, loss = capsys.readouterr().out.splitlines()[0].rsplit(" ", 2)
    assert " on " in place
    assert float(score) > 0.9
    assert 0.0 < float(loss) < 0.5


def test_callback_examples_do_what_they_say(capsys, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    text = (ROOT / "docs" / "callbacks.md").read_text("utf-8")
    examples = text.partition("## Examples")[2]
    blocks = re.findall(r"```python\n(.*?)```", examples, flags=re.DOTALL)
    assert len(blocks) == examples.count("\n### ") + 1 == 6
    for block in blocks:
        exec(compile(block, "docs/callbacks.md", "exec"), names)  # noqa: S102
    stopped, shape, *norms, message = capsys.readouterr().out.splitlines()
    assert f"  # {stopped}\n" in text
    assert f"  # {shape}\n" in text
    assert [line.partition(": W1 ")[0] for line in norms] == ["epoch 1", "epoch 2", "epoch 3"]
    assert re.fullmatch(r"the network 4-16-2: done after 3 epochs, loss 0\.\d{3}", message)
    assert len((tmp_path / "logs" / "first.csv").read_text("utf-8").splitlines()) == 6
    saved = sorted(path.name for path in (tmp_path / "logs" / "weights").iterdir())
    assert saved == ["epoch-10.npz", "epoch-5.npz"]


def test_callbacks_page_names_every_event_and_logger() -> None:
    text = (ROOT / "docs" / "callbacks.md").read_text("utf-8")
    cells = re.findall(r"^\| `(\w+)", text, flags=re.MULTILINE)
    events = [name for name in vars(Callback) if name.startswith("on_")]
    assert [name for name in cells if name.startswith("on_")] == events
    assert [name for name in cells if name in LOGGERS] == list(LOGGERS)


def test_tables_name_every_parameter_and_no_other() -> None:
    first_columns = re.findall(r"^\| (`.*?) \|", PAGE, flags=re.MULTILINE)
    named = {name for column in first_columns for name in re.findall(r"`(\w+)`", column)}
    parameters = {
        *inspect.signature(MLPClassifier).parameters, *inspect.signature(MLPRegressor).parameters
    }  # fmt: skip
    assert named == parameters


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
