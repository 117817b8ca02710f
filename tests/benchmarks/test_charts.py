"""Charts are drawn from records, and from nothing else."""

import json
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.__main__ import argument_parser, main, named, plan
from benchmarks.charts import LINES, draw, duration, in_words, label, series, title
from benchmarks.scaling import contestants

pytestmark = pytest.mark.extended


def row(name: str, median: float | None, device: str = "cpu") -> dict:
    return {
        "name": name,
        "device": device,
        "precision": "float32",
        "status": "failed" if median is None else "timed",
        "median": median,
        "quartiles": None if median is None else (0.9 * median, 1.2 * median),
    }


def training_record(*rows: dict) -> dict:
    return {
        "problem": {"layer_sizes": [784, 64, 32, 10], "batch_size": 64},
        "warm_up_steps": 64,
        "rounds": 5,
        "threads": {"requested": 1, "schedulable_cores": 1},
        "rows": list(rows),
    }


def scaling_record() -> dict:
    points = [
        {"value": value, "rows": [row("bare products", 10.0 * value), row("xpmlp numpy", None)]}
        for value in (1, 2, 4)
    ]
    points[0]["rows"][1] = row("xpmlp numpy", 30.0)
    sweep = {"quantity": "members", "network": "784-10", "points": points}
    return {
        "device": "cpu",
        "threads": {"requested": None, "schedulable_cores": 2},
        "sweeps": [sweep],
    }


def test_each_record_has_its_picture(tmp_path: Path) -> None:
    one_round = {**row("thinc", 700.0), "quartiles": None}
    record = training_record(
        row("bare products", 130.0), row("xpmlp numpy", 200.0), one_round, row("JAX jit", None)
    )
    paths = draw([record, scaling_record()], tmp_path / "docs")
    assert [path.name for path in paths] == ["step-time.png", "scaling.png"]
    for path in paths:
        with Image.open(path) as picture:
            assert picture.width >= 1000
            assert len(picture.convert("RGB").getcolors(2**24)) > 10


def test_a_line_has_only_what_was_timed() -> None:
    (sweep,) = scaling_record()["sweeps"]
    assert series(sweep) == [
        ("xpmlp numpy", [1], [30.0]),
        ("bare products", [1, 2, 4], [10.0, 20.0, 40.0]),
    ]


def test_every_contestant_of_a_sweep_has_a_line() -> None:
    for device in ("cpu", "cuda"):
        assert {who.name for who in contestants(device)} <= LINES.keys()
    assert len({style[:2] for name, style in LINES.items() if name != "xpmlp cupy"}) == 5


def test_words_say_what_was_measured() -> None:
    both = [row("xpmlp cupy", 1.0, "cuda"), row("xpmlp numpy", 2.0)]
    assert label(both[0], both) == "xpmlp on CuPy (cuda)"
    assert label(both[1], both[1:]) == "xpmlp on NumPy"
    assert in_words("xpmlp cupy eager") == "xpmlp on CuPy eager"
    assert in_words("lecture") == "the lecture's program"
    assert title(training_record(*both[1:])).endswith("float32, one CPU core")
    assert [duration(value) for value in (100.0, 1e4, 2e6)] == ["100 µs", "10 ms", "2 s"]


def test_record_without_a_chart_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(ValueError, match="there are charts of training and of scaling"):
        draw([{"rows": []}], tmp_path)
    path = tmp_path / "record.json"
    path.write_text(json.dumps({"rows": []}))
    for arguments in (["charts"], ["charts", str(path)], ["training", str(path)]):
        with pytest.raises(SystemExit) as refused:
            main(arguments)
        assert refused.value.code == 2
    assert "only charts are drawn from records" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--threads", "--steps", "--rounds"])
def test_numbers_below_one_are_refused(option: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as refused:
        main([option, "0"])
    assert refused.value.code == 2
    assert option in capsys.readouterr().err


def test_command_draws_what_it_is_given(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    path.write_text(json.dumps(scaling_record()))
    assert main(["charts", str(path), "--out", str(tmp_path)]) == 0
    assert (tmp_path / "scaling.png").stat().st_size > 1000


def test_records_are_named_after_what_is_not_the_default() -> None:
    def name(*arguments: str) -> str:
        return named("wide-step", argument_parser().parse_args(arguments))

    assert name() == name("--threads", "1") == "wide-step"
    assert name("threads", "--busy", "--device", "cuda") == "wide-step-busy-cuda"
    assert name("--threads", "2") == "wide-step-2-threads"


def test_all_is_every_part_and_the_quick_form_is_less() -> None:
    full, quick = plan("cpu", quick=False, cores=2), plan("cpu", quick=True, cores=2)
    assert {part for part, *_ in full} == {
        "training", "inference", "threads", "processes", "scaling", "estimators", "checkpoints",
    }  # fmt: skip
    assert all(part in full for part in quick)
    assert len(quick) < len(full)
    assert not any("huge" in part for part in full)
    assert ["training", "--network", "huge", "--threads", "2"] in plan("cuda", quick=True, cores=2)
    for part in [*full, *plan("cuda", quick=False, cores=2)]:
        argument_parser().parse_args(part)


def test_command_measures_and_writes(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """In this process: `threads` is the part that pins nothing."""
    arguments = ["threads", "--quick", "--rounds", "1", "--steps", "64", "--out", str(tmp_path)]
    assert main(arguments) == 0
    (path,) = tmp_path.glob("lecture-threads-*.json")
    record = json.loads(path.read_text())
    assert record["default_over_best"] > 0
    assert "default threads" in capsys.readouterr().out
