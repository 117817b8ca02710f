"""The GPU's script: parts that crash, hang or fail lose themselves and nothing else."""

import contextlib
import fnmatch
import json
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import gpu, gpu_parts
from benchmarks.competitors import products, xpmlp
from benchmarks.competitors.competitor import PRODUCTS, Competitor
from benchmarks.gpu import LIMITS, RESERVE, Part, main, missing_distributions, remedy, run_parts
from benchmarks.gpu_parts import (
    REAL,
    TINY,
    Session,
    bytes_moved,
    check_memory,
    is_sound,
    model,
    time_kernels,
    watched,
)
from benchmarks.problems import make_problem
from benchmarks.record import claim_record, replace_record
from benchmarks.training import TrainingTask
from tests.conftest import gpu_backend
from xpmlp.backends.cupy import ask_driver

pytestmark = pytest.mark.extended

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "benchmarks" / "gpu.py"

RATES = {
    "products": {"float32": 1e12, "tf32": 4e12, "float16": 8e12, "float64": 5e11},
    "copy": 1e12,
    "host": 1e10,
}


def has_gpu() -> bool:
    driver, gpus = ask_driver()
    return bool(driver) and gpus != 0


def run_script(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *map(str, arguments)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def read_strictly(path: Path) -> dict[str, Any]:
    """The record, which must not hold NaN or Infinity: JSON has no such numbers."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} in {path.name}")

    record: dict[str, Any] = json.loads(path.read_text(), parse_constant=refuse)
    return record


def planted(name: str, code: str, *, limit: float = 30.0) -> Part:
    """A part that runs Python code; `report(text)` leaves its findings."""
    start = (
        "import os, pathlib, subprocess, sys, time\nreport = pathlib.Path(sys.argv[1]).write_text\n"
    )
    return Part(name, limit, (sys.executable, "-S", "-c", start + code))


SOUND = """report('{"passed": true, "figure": 1, "summary": "all well"}')"""


# -- the conductor ------------------------------------------------------------------------------


@pytest.mark.skipif(has_gpu(), reason="there is a GPU here")
def test_script_without_a_gpu_says_so_and_writes_nothing(tmp_path: Path) -> None:
    done = run_script(tmp_path / "out")
    assert done.returncode == 3
    assert done.stderr.startswith("no GPU here")
    assert len((done.stdout + done.stderr).splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_bad_usage_has_status_2(tmp_path: Path) -> None:
    for wrong in (["--only", "nothing"], ["--budget", "5"], ["--budget", "nan"]):
        done = run_script(tmp_path, *wrong)
        assert done.returncode == 2
        assert wrong[1] in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_missing_packages_are_named_in_one_line_with_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(gpu.DISTRIBUTIONS, "no_such_module", "no-such-distribution")
    assert "no-such-distribution" in missing_distributions()
    assert main([str(tmp_path / "out")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("missing: ")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert f"pip download --only-binary=:all: --python-version {version} --platform" in line
    assert "no-such-distribution" in line.partition("pip download")[2]
    assert not (tmp_path / "out").exists()


def test_missing_packages_are_fetched_by_one_command() -> None:
    assert "-d wheels --no-deps array-api-strict tomli-w; " in remedy(
        ["array-api-strict", "tomli-w"]
    )


def test_import_check_knows_all_that_the_package_needs() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = {line.partition(">=")[0] for line in project["dependencies"]}
    assert needed <= set(gpu.DISTRIBUTIONS.values())
    assert missing_distributions() in ([], ["cupy-cuda13x"])


def test_a_part_that_crashes_hangs_or_finds_nan_loses_nothing_else(tmp_path: Path) -> None:
    late = tmp_path / "late"
    child = f"import time; time.sleep(6); open({str(late)!r}, 'w')"
    parts = [
        planted("crashes", "report('{\"figure\": 7}'); print('about to', flush=True); os.abort()"),
        planted(
            "hangs",
            f"report('{{\"figure\": 8}}'); subprocess.Popen([sys.executable, '-c', {child!r}]); "
            "print('waiting', flush=True); time.sleep(60)",
            limit=2.0,
        ),
        planted("nan", """report('{"passed": true, "loss": [NaN, Infinity], "x": -Infinity}')"""),
        planted("raises", "raise ZeroDivisionError('by nought')"),
        planted("says nothing", "pass"),
        planted("says nonsense", "report('[1')"),
        planted("fails", """report('{"passed": false, "summary": "1 of 2 wrong"}')"""),
        planted("sound", SOUND),
    ]
    path = claim_record(tmp_path, "gpu")
    started = time.monotonic()
    record = run_parts(parts, path, budget=100.0)
    assert read_strictly(path)["parts"].keys() == record["parts"].keys()
    found = read_strictly(path)["parts"]
    assert [name for name, part in found.items() if part["passed"]] == ["nan", "sound"]
    assert found["crashes"]["figure"] == 7
    assert found["crashes"]["ended"] == "ended by SIGABRT"
    assert found["crashes"]["output"][0] == "about to"
    assert found["hangs"]["figure"] == 8
    assert found["hangs"]["summary"] == "stopped after 2 s; waiting"
    assert found["nan"]["loss"] == ["nan", "inf"]
    assert found["nan"]["x"] == "-inf"
    assert found["raises"]["summary"].startswith(
        "exit status 1; ZeroDivisionError: by nought; no findings"
    )
    assert found["says nothing"]["summary"] == "no findings (FileNotFoundError)"
    assert found["says nonsense"]["summary"] == "no findings (JSONDecodeError)"
    assert found["fails"]["summary"] == "1 of 2 wrong"
    assert found["sound"]["summary"] == "all well"
    time.sleep(max(0.0, started + 9.0 - time.monotonic()))
    assert not late.exists()  # what the hanging part had started has ended with it


def test_budget_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parts = [planted("sound", SOUND), planted("hangs", "time.sleep(60)"), planted("late", SOUND)]
    path = claim_record(tmp_path, "gpu")
    started = time.monotonic()
    record = run_parts(parts, path, budget=RESERVE + 3.0)
    assert time.monotonic() - started < RESERVE + 3.0
    assert record["parts"]["sound"]["passed"]
    assert record["parts"]["hangs"]["summary"].startswith("stopped after ")
    assert record["parts"]["late"]["summary"] == "not run: the budget is used up"
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["sound", "passed"], ["hangs", "FAILED"], ["late", "FAILED"],
    ]  # fmt: skip


def test_a_second_call_on_the_same_day_has_a_file_of_its_own(tmp_path, monkeypatch, capsys) -> None:
    """The whole way, in a process that is told of a GPU that is not there."""
    monkeypatch.setattr(gpu, "no_gpu", lambda: "")
    monkeypatch.setattr(gpu, "missing_distributions", list)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    for _ in range(2):
        assert main([str(tmp_path), "--tiny", "--only", "machine"]) == 1
    first, second = sorted(tmp_path.iterdir())
    assert first.name.startswith("gpu-tiny-machine-")
    assert first.name.endswith("-1.json")
    assert second.name == first.name.replace("-1.json", "-2.json")
    for path in (first, second):
        machine = read_strictly(path)["parts"]["machine"]
        assert machine["host"]["versions"]["numpy"] == np.__version__
        assert not machine["passed"]
    assert "failed: machine" in capsys.readouterr().out


def test_machine_is_measured_whatever_is_asked_for(tmp_path, monkeypatch) -> None:
    asked: list[list[str]] = []

    def note(parts: list[Part], path: Path, **_: object) -> Mapping[str, Any]:
        asked.append([part.name for part in parts])
        return {"parts": {}}

    monkeypatch.setattr(gpu, "no_gpu", lambda: "")
    monkeypatch.setattr(gpu, "missing_distributions", list)
    monkeypatch.setattr(gpu, "run_parts", note)
    assert main([str(tmp_path), "--only", "huge", "lecture"]) == 0
    assert main([str(tmp_path)]) == 0
    assert asked == [["machine", "lecture", "huge"], list(LIMITS)]
    assert {path.name[:17] for path in tmp_path.iterdir()} >= {"gpu-huge-lecture-"}


def test_every_part_that_is_started_exists() -> None:
    assert list(LIMITS) == [name for name in gpu_parts.PARTS if name != "captured"]


def test_records_hold_numbers_that_json_has(tmp_path: Path) -> None:
    path = claim_record(tmp_path, "x")
    replace_record(
        {"a": np.float32("nan"), "b": np.arange(2), "c": (1.5, None, True), 3: Path("here")}, path
    )
    found = read_strictly(path)
    assert {key: found[key] for key in "abc"} == {"a": "nan", "b": [0, 1], "c": [1.5, None, True]}
    assert "here" in found["3"]
    assert [path.name for path in tmp_path.iterdir()] == [path.name]


# -- tests that are run as a part ---------------------------------------------------------------

RUN_PYTEST = """
import sys
from benchmarks import gpu_parts
gpu_parts.PARTS["tests"] = lambda session: gpu_parts.run_pytest(session, [sys.argv[1]])
gpu_parts.main("tests", *sys.argv[2:])
"""


def run_planted_tests(
    tmp_path: Path, text: str, *, limit: float = 60.0, run: Path | None = None
) -> dict[str, Any]:
    file = tmp_path / "test_planted.py"
    file.write_text(f"import os, time, pytest\npytestmark = pytest.mark.gpu\n{text}")
    part = Part("tests", limit, (sys.executable, "-c", RUN_PYTEST, str(run or file)))
    found = run_parts([part], claim_record(tmp_path, "gpu"), budget=100.0)["parts"]["tests"]
    found["short"] = {
        name.rpartition(":")[2]: test["outcome"] for name, test in found.get("tests", {}).items()
    }
    return dict(found)


@pytest.mark.parametrize(
    ("end", "ended"), [("time.sleep(60)", "stopped after"), ("os.abort()", "ended by SIGABRT")]
)
def test_tests_that_finished_outlive_one_that_does_not(tmp_path, end: str, ended: str) -> None:
    text = f"def test_one(): pass\ndef test_two(): assert 0\ndef test_three(): {end}\n"
    found = run_planted_tests(tmp_path, text, limit=12.0)
    assert found["short"] == {"test_one": "passed", "test_two": "failed"}
    assert found["running"].endswith("::test_three")
    assert found["ended"].startswith(ended)
    assert "1 failed, 1 passed; first failure: " in found["summary"]
    assert not found["passed"]


def test_a_test_skipped_without_a_gpu_is_a_failure(tmp_path: Path) -> None:
    found = run_planted_tests(
        tmp_path, "def test_one(): pass\ndef test_two(): pytest.skip('not for this estimator')\n"
    )
    assert found["passed"], found
    assert found["counts"] == {"passed": 1, "skipped": 1}
    found = run_planted_tests(
        tmp_path, "def test_one(): pass\ndef test_two(): pytest.skip('no GPU: no driver')\n"
    )
    assert not found["passed"]
    assert [name.rpartition(":")[2] for name in found["without_gpu"]] == ["test_two"]
    assert not run_planted_tests(tmp_path, "")["passed"]  # no test at all
    assert not run_planted_tests(tmp_path, "import no_such_module\n")["passed"]


def test_a_file_that_cannot_be_imported_loses_only_its_own_results(tmp_path: Path) -> None:
    (tmp_path / "test_broken.py").write_text("import no_such_module  # mark.gpu\n")
    (tmp_path / "test_other.py").write_text("import no_such_module_either\ndef test(): pass\n")
    found = run_planted_tests(tmp_path, "def test_one(): pass\n", run=tmp_path)
    assert not found["passed"]
    assert found["short"]["test_one"] == "passed"
    assert [Path(name).name for name in found["not_collected"]] == ["test_broken.py"]
    assert "; not collected: " in found["summary"]
    assert "no_such_module_either" not in str(found)


def test_files_chosen_by_their_text_have_all_gpu_tests() -> None:
    """The choice by text must not lose a file that the mark would choose."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "--collect-only",
               "-m", "gpu", "tests"]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    files = {line.partition("::")[0] for line in done.stdout.splitlines() if "::" in line}
    assert "tests/backends/test_cupy_gpu.py" in files
    for file in files:
        assert gpu_parts.MAY_NEED_GPU.search((ROOT / file).read_text()), file


def test_files_with_gpu_tests_need_no_package_that_an_image_may_lack() -> None:
    for path in (ROOT / "tests").rglob("test_*.py"):
        text = path.read_text()
        if gpu_parts.MAY_NEED_GPU.search(text):
            for package in ("onnx", "onnxruntime", "pandas", "polars"):
                assert f"\nimport {package}" not in text, path


# -- what is measured ---------------------------------------------------------------------------


class Reported(dict[str, Any]):
    """What a part reports."""

    def session(self, rates: Mapping[str, Any] = RATES) -> Session:
        return Session(TINY, rates, self.update)


def test_model_adds_launches_products_and_bytes() -> None:
    found = model(RATES, "tf32", multiply_adds=4e6, moved=3e6, sent=1e4, nodes=20)
    assert found is not None
    assert found["products_us"] == pytest.approx(2.0)
    assert found["bytes_us"] == pytest.approx(3.0 + 1.0)
    assert found["us"] == pytest.approx([6.0 + 12.0, 6.0 + 20.0])
    without = model(RATES, "tf32", multiply_adds=4e6, moved=3e6, sent=1e4)
    assert without is not None
    assert without["us"] == pytest.approx([6.0, 6.0])
    assert without["nodes"] is None
    assert model({}, "tf32", multiply_adds=1, moved=1) is None


@pytest.mark.parametrize("lost", ["copy", "host", "tf32"])
def test_model_is_none_without_a_rate_that_it_needs(lost: str) -> None:
    rates = {**RATES, "products": {**RATES["products"]}}
    (rates["products"] if lost == "tf32" else rates)[lost] = None
    assert model(rates, "tf32", multiply_adds=1, moved=1) is None
    other = model(rates, "float32", multiply_adds=1, moved=1)
    assert (other is None) == (lost != "tf32")


def test_a_rate_that_fails_or_is_not_finite_loses_only_itself(monkeypatch) -> None:
    def square_seconds(device: str, precision: str, n: int, *, own: bool) -> Callable[[], float]:
        if precision == "tf32":
            raise RuntimeError("no such product")
        return lambda: {"float32": 1e-6, "float16": float("nan"), "float64": 0.0}[precision]

    monkeypatch.setattr(products, "square_seconds", square_seconds)
    monkeypatch.setattr(gpu_parts, "_copy_rate", lambda size: np.float64("inf"))
    monkeypatch.setattr(gpu_parts, "_host_rate", lambda size: np.float64(size))
    reports: list[str] = []
    reported = Reported()

    def report(**more: Any) -> None:
        reported.update(more)
        reports.append(json.dumps(reported, allow_nan=False))  # as it is then

    rates, causes = gpu_parts.measure_rates(Session(TINY, {}, report))
    assert rates["products"] == {
        "float32": pytest.approx(2 * TINY.square**3 / 1e-6),
        "tf32": None, "float16": None, "float64": None,
    }  # fmt: skip
    assert rates["copy"] is None
    assert rates["host"] == TINY.copied // 8
    assert causes == {
        "tf32": "RuntimeError: no such product",
        "float16": "the rate is nan",
        "float64": "ZeroDivisionError: float division by zero",
        "copy": "the rate is inf",
    }
    assert len(reports) == 6  # each as soon as it was measured
    assert "float64" not in reports[2]
    assert reported == {"rates": rates, "failed_rates": causes}


def test_each_estimator_keeps_what_was_compiled_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    row = {
        "name": gpu_parts.OURS, "device": "cuda", "precision": "float32", "status": "timed",
        "median": 1.0, "cause": "", "share_of_ceiling": None, "speed": 2.0,
    }  # fmt: skip
    nodes = iter((11, 22))

    @contextlib.contextmanager
    def compiled() -> Iterator[list[dict[str, Any]]]:
        yield [{"nodes_per_step": next(nodes)}]

    monkeypatch.setattr(gpu_parts, "watched", compiled)
    monkeypatch.setattr(gpu_parts, "measure", lambda *_, **__: {"rows": [dict(row)]})
    monkeypatch.setattr(gpu_parts, "compare", lambda rows: None)
    reported = Reported()
    session = reported.session()
    works = [*TINY.works, *TINY.works]
    gpu_parts.fit_estimators(session._replace(sizes=TINY._replace(works=works)))
    assert reported["passed"]
    for number, count in ((1, 11), (2, 22)):
        assert reported[f"work_{number}"]["compiled"] == [{"nodes_per_step": count}]


def test_bytes_of_a_step_are_those_of_its_operations() -> None:
    problem = make_problem((784, 3, 2), 5, batches=1, warm=1)
    first = 2 * (5 * 784 + 784 * 3 + 5 * 3) + 5 * 5 * 3 + 3 * (784 * 3 + 3)
    second = 3 * (5 * 3 + 3 * 2 + 5 * 2) + 5 * 5 * 2 + 3 * (3 * 2 + 2)
    assert bytes_moved(problem) == 4 * (first + second) + 5 * 784 * (1 + 4)


def test_a_contest_has_a_model_beside_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the CPU, with the competitors that are quick to start."""
    monkeypatch.setattr(gpu_parts, "OURS", "xpmlp numpy")
    problem = make_problem((784, 12, 10), 16, batches=2, warm=2)
    alone = products.training_products("cpu", "float32")
    group = [
        xpmlp.training("numpy", "cpu"), Competitor(PRODUCTS, "cpu", "float32", "", alone),
    ]  # fmt: skip
    task = TrainingTask(problem, 4)
    contest = gpu_parts._contest(Reported().session(), task, group, problem)
    assert is_sound(contest["rows"], "xpmlp numpy")
    assert not is_sound(contest["rows"], "xpmlp cupy")
    for row in contest["rows"]:
        assert row["model"]["us"][0] > 0
        assert row["seconds_until_ready"] > 0
    said = gpu_parts._line(contest["rows"])
    assert said.startswith("xpmlp numpy ")
    assert "us (model " in said
    contest = gpu_parts._contest(Reported().session({}), task, group, problem)
    assert [row["model"] for row in contest["rows"]] == [None, None]


def test_a_peer_that_is_absent_is_no_failure() -> None:
    def rows(*pairs: tuple[str, str]) -> list[dict[str, Any]]:
        return [{"name": name, "status": status} for name, status in pairs]

    ours = ("xpmlp cupy", "timed")
    assert is_sound(rows(ours, ("thinc", "not installed"), ("JAX", "unavailable")), "xpmlp cupy")
    assert not is_sound(rows(ours, ("JAX", "WRONG")), "xpmlp cupy")
    assert not is_sound(rows(ours, ("xpmlp cupy", "failed")), "xpmlp cupy")
    assert not is_sound(rows(("JAX", "timed")), "xpmlp cupy")


def test_stages_of_a_compilation_are_watched() -> None:
    """The names that are replaced must be there: a missing one raises."""
    from xpmlp import compiler

    before = compiler.record
    with watched() as found:
        assert compiler.record is not before
    assert compiler.record is before
    assert found == []


def test_no_cpu_competitor_uses_up_the_gpus_time() -> None:
    names = ("PyTorch eager", "PyTorch graph", "JAX scan", "products in a graph")
    found = gpu_parts.peers(*names)
    assert {one.name for one in found} == set(names)
    assert {one.device for one in found} == {"cuda"}
    assert {work.epochs for work in REAL.works} == {1}
    assert {work.precisions for work in REAL.works} == {("float32",)}


# -- NVIDIA's tools, with stand-ins -------------------------------------------------------------

SUMMARY = "========= ERROR SUMMARY"
CSV = """==PROF== Connected to process 7
"ID","Process ID","Kernel Name","Metric Name","Metric Unit","Metric Value"
"0","7","k00_a","gpu__time_duration.sum","ns","2,000"
"1","7","k00_a","gpu__time_duration.sum","ns","4,000"
"2","7","gemm, wide","gpu__time_duration.sum","ns","1,500"
"""


@pytest.mark.parametrize(
    ("part", "output", "status", "captured", "passed", "summary"),
    [
        (time_kernels, CSV, 0, True, True, "k00_a 3.00 us"),
        (time_kernels, CSV, 1, True, False, "exit status 1: *; k00_a 3.00 us"),
        (time_kernels, CSV, 0, False, False, "the captured run did not finish: *"),
        (
            time_kernels, "==ERROR== ERR_NVGPUCTRPERM: no permission", 9, False, True,
            "not available: ==ERROR== ERR_NVGPUCTRPERM: no permission",
        ),
        (
            time_kernels, "ImportError: not supported: ERR_NVGPUCTRPERM", 1, False, False,
            "exit status 1: ImportError*; 0 kernels",
        ),
        (time_kernels, "==PROF== Disconnected", 0, True, False, "0 kernels"),
        (check_memory, f"{SUMMARY}: 0 errors", 0, True, True, "ERROR SUMMARY: 0 errors"),
        (check_memory, f"{SUMMARY}: 2 errors", 0, True, False, "ERROR SUMMARY: 2 errors"),
        (
            check_memory, f"Traceback\nOSError: gone\n{SUMMARY}: 0 errors", 1, False, False,
            "exit status 1: *; ERROR SUMMARY: 0 errors",
        ),
        (
            check_memory, f"{SUMMARY}: 0 errors", 0, False, False,
            "the captured run did not finish: *",
        ),
        (
            check_memory, "========= Device not supported", 1, False, True,
            "not available: ========= Device not supported",
        ),
        (
            check_memory, "ValueError: dtype not supported", 1, False, False,
            "exit status 1: ValueError: dtype not supported; no ERROR SUMMARY",
        ),
        (check_memory, "nothing", 0, True, False, "no ERROR SUMMARY"),
    ],
)  # fmt: skip
def test_a_tools_part_passes_only_if_the_tool_and_the_captured_run_did(
    part: Callable[[Session], None], output: str, status: int, captured: bool, passed: bool,
    summary: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """The stand-in leaves the captured run's report at its last path but one."""
    fake = tmp_path / ("ncu" if part is time_kernels else "compute-sanitizer")
    fake.write_text(
        f"#!/bin/sh\ncat {tmp_path / 'said'}\n"
        'for path in "$@"; do report=$record; record=$path; done\n'
        f"""echo '{{"passed": {json.dumps(captured)}}}' > "$report"\nexit {status}\n"""
    )
    fake.chmod(0o755)
    (tmp_path / "said").write_text(f"{output}\n")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    reported = Reported()
    part(reported.session())
    assert reported["passed"] is passed
    assert fnmatch.fnmatchcase(reported["summary"], summary)


@pytest.mark.parametrize("part", [time_kernels, check_memory])
def test_tools_that_are_absent_are_no_failure(
    part: Callable[[Session], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_parts.shutil, "which", lambda *_, **__: None)
    reported = Reported()
    part(reported.session())
    assert reported["passed"]
    assert reported["summary"].startswith("not available: no ")


# -- with a GPU ---------------------------------------------------------------------------------


@pytest.mark.gpu
def test_whole_script_passes_with_tiny_sizes(tmp_path: Path) -> None:
    gpu_backend()
    done = run_script(tmp_path, "--tiny")
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = tmp_path.iterdir()
    parts = read_strictly(path)["parts"]
    assert list(parts) == list(LIMITS)
    (first,) = parts["lecture"]["contest_1"]["compiled"]
    assert 0 < first["nodes_per_step"] <= 22
    assert all(first["seconds"][stage] > 0 for stage in ("trace", "compile", "capture"))
    for row in parts["huge"]["contest_1"]["rows"]:
        assert row["model"]["us"][0] > 0
