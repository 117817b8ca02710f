"""`xpmlp report` and `xpmlp compare`: what they write and say."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from xpmlp.runs import RunDirectory

pytestmark = pytest.mark.extended(keep=5)


def test_a_report_is_written_into_the_run(command, tiny, tmp_path: Path) -> None:
    assert command(*tiny, "--quiet", "--out", "a run").status == 0
    said = command("report", "a run")
    assert said.err == ""
    assert said.out == ("a run/report.html: open it in a browser (next: xpmlp explain 'a run')\n")
    text = (tmp_path / "a run" / "report.html").read_text("utf-8")
    assert f"numpy {np.__version__}" in text  # of the checkpoint


def test_a_report_elsewhere_and_on_other_data(command, trained, make_data, tmp_path) -> None:
    other = make_data(tmp_path / "other", seed=7)
    assert command("report", trained, "--out", "one.html").status == 0
    assert command("report", trained, "--out", "other.html", "--data", other).status == 0
    one, two = (Path(name).read_text("utf-8") for name in ("one.html", "other.html"))
    assert "on tiny" in one
    assert "on other" in two


def test_runs_are_compared_in_tables_and_a_figure(command, trained, trained_members) -> None:
    said = command("compare", trained, trained_members)
    assert said.err == ""
    lines = said.out.splitlines()
    assert lines[0] == "Results"
    found = [json.loads((run / "summary.json").read_text()) for run in (trained, trained_members)]
    row = next(line for line in lines if line.startswith("test accuracy"))
    assert row.split()[2:] == [f"{one['test_accuracy']:.2%}" for one in found]
    differing = lines[lines.index("Settings that differ") + 1 :]
    assert any(line.split() == ["members", "1", "3"] for line in differing)
    assert not any(line.startswith("batch_size") for line in differing)
    best = max((trained, trained_members), key=lambda run: _test_accuracy(run))
    assert lines[-1] == f"Drawn in comparison.png (next: xpmlp report {best})"
    with Image.open("comparison.png") as picture:
        assert picture.size == (1440, 600)


def _test_accuracy(run: Path) -> float:
    return json.loads((run / "summary.json").read_text())["test_accuracy"]


def test_same_settings_have_no_second_table(command, trained) -> None:
    assert "Settings that differ" not in command("compare", trained, trained).out


def test_compare_as_json(command, trained, trained_members) -> None:
    said = command("compare", trained, trained_members, "--json", "--out", "a.png")
    one, two = json.loads(said.out)
    assert one["run"] == str(trained)
    assert one["settings"]["members"] == 1
    assert two["settings"]["members"] == 3
    assert one["test_loss"] == json.loads((trained / "summary.json").read_text())["test_loss"]
    assert Path("a.png").exists()


def test_a_run_that_was_stopped_in_its_first_epoch_can_be_compared(
    command, tiny, trained, monkeypatch
) -> None:
    command(*tiny, "--quiet", "--time-limit", "0.000001", "--out", "short")
    said = command("compare", "short", trained)
    assert said.status == 0, said.err


@pytest.mark.extended
@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", ["_hidden", "cost$ in $x_{", "日本", "a [red]b[/red]"])
def test_runs_are_compared_by_any_name(command, trained, tmp_path: Path, name: str) -> None:
    shutil.copytree(trained, tmp_path / name)
    said = command("compare", name, trained)
    assert (said.status, said.err) == (0, "")
    assert name in said.out.splitlines()[1] or len(name) > 12
    said = command("explain", name, "--out", "slides.svg", "--latex", "slides.tex")
    assert (said.status, said.err) == (0, "")
    assert command("report", name).status == 0


def test_compare_names_the_best_on_rows_held_out_only_if_all_have_some(
    command, trained, tmp_path: Path
) -> None:
    for number, (validation, test) in enumerate([(0.9, 0.1), (0.8, 0.7), (None, 0.6)]):
        run = Path(shutil.copytree(trained, tmp_path / f"run{number}"))
        summary = json.loads((run / "summary.json").read_text()) | {"test_accuracy": test}
        if validation is not None:
            summary["validation_accuracy"] = validation
        (run / "summary.json").write_text(json.dumps(summary))
    assert command("compare", "run0", "run1").out.endswith("(next: xpmlp report run0)\n")
    assert command("compare", "run0", "run1", "run2").out.endswith("(next: xpmlp report run1)\n")


@pytest.mark.extended
@pytest.mark.parametrize("value", [None, "abc", [1], float("nan"), True])
def test_a_summary_may_hold_anything(command, trained, tmp_path: Path, value: object) -> None:
    run = Path(shutil.copytree(trained, tmp_path / "run"))
    summary = json.loads((run / "summary.json").read_text())
    numbers = [name for name, one in summary.items() if isinstance(one, (int, float))]
    (run / "summary.json").write_text(json.dumps(summary | dict.fromkeys(numbers, value)))
    for name in ("report", "compare"):
        said = command(name, run, *([trained] if name == "compare" else []))
        assert (said.status, said.err) == (0, "")


def test_another_test_set_has_a_page_of_its_own(command, tiny, make_data, tmp_path: Path) -> None:
    command(*tiny, "--quiet", "--out", "run")
    other = make_data(tmp_path / "other", seed=7)
    assert command("report", "run", "--data", other).out.startswith("run/report-other.html: ")
    text = Path("run/report-other.html").read_text("utf-8")
    assert "tested on other data than it was trained on" in text
    assert "on the other data&#39;s first batch" in text
    assert not Path("run/report.html").exists()


def test_validation_within_an_epoch_stands_where_it_was_made(command, tiny) -> None:
    """A run that is stopped in the middle of an epoch still has 22 steps in each."""
    options = ("--set", "validation=0.1", "--set", "early_stopping.validate_every=5")
    command(*tiny, *options, "--quiet", "--out", "run")
    assert RunDirectory(Path("run")).steps_per_epoch() == 22


def test_a_report_on_a_table_has_its_names(command, tmp_path: Path) -> None:
    trees = Path(__file__).parents[2] / "docs" / "trees.csv"
    words = ["--epochs", "2", "--hidden", "4", "--quiet", "--data", trees, "--target"]
    for target, names in (
        ("species", ["birch", "oak", "pine"]),
        ("height,girth", ["Output girth"]),
    ):
        assert command("train", *words, target, "--out", target).status == 0
        assert f'target = "{target}"' in (tmp_path / target / "config.toml").read_text("utf-8")
        assert command("report", target).status == 0
        text = (tmp_path / target / "report.html").read_text("utf-8")
        assert f"on trees, target {target}" in text
        assert all(name in text for name in names)
