"""What `benchmarks/gpu.py` measures, one part a process.

    python -m benchmarks.gpu_parts PART [--tiny] REPORT RECORD

A part leaves its findings in REPORT as it goes, so that they outlive it. RECORD has the findings
of earlier parts: the rates of `machine` are behind the model beside each time,

    launches x 0.6 to 1.0 us + products / (measured rate) + bytes / (measured bandwidth),

in microseconds. Where the number of launches is unknown, the model leaves them out.
"""

import contextlib
import csv
import functools
import math
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from benchmarks import competitors
from benchmarks.competitors import for_inference, for_training, products, pytorch, xpmlp
from benchmarks.competitors.competitor import CEILING, PRODUCTS, Competitor
from benchmarks.estimators import WORKS, EstimatorTask, Work, compare, contestants
from benchmarks.inference import CALLS, measure_inference
from benchmarks.machine import describe_machine
from benchmarks.problems import NETWORKS, Network, Problem, make_problem
from benchmarks.record import read_record, replace_record
from benchmarks.timing import measure
from benchmarks.training import TrainingTask

ROOT = Path(__file__).resolve().parents[1]
OURS = "xpmlp cupy"
PRECISIONS = ("float32", "tf32", "float16")
LAUNCH_MICROSECONDS = (0.6, 1.0)
"""What a node of a CUDA graph costs."""


class Sizes(NamedTuple):
    """How large everything is; `square` is a width, `copied` bytes, `calls` a turn's, by rows."""

    networks: Mapping[str, Network]
    works: Sequence[Work]
    members: Sequence[int] = (1, 8, 32)
    calls: Mapping[int, int] = CALLS
    square: int = products.SQUARE["cuda"]
    copied: int = 2**31
    rounds: int = 5
    member_steps: int = 128
    tests: Sequence[str] = ()


REAL = Sizes(
    # A float64 step of the huge one takes a CPU seconds, while the GPU waits.
    {**NETWORKS, "huge": NETWORKS["huge"]._replace(checked=3),
     "lecture": NETWORKS["lecture"]._replace(steps=832)},
    [work._replace(precisions=("float32",), epochs=1) for work in WORKS
     if work.name in ("fit (64, 32) adam", "fit (512, 512) adam")],
)  # fmt: skip

_SMALL = Network((784, 16, 16, 10), 16, 8, 8, 8, 8, 1, 1)
TINY = Sizes(
    {"lecture": _SMALL._replace(layer_sizes=(784, 64, 32, 10)), "deep": _SMALL, "huge": _SMALL},
    [work._replace(rows=320) for work in REAL.works[:1]],
    members=(1, 2, 3), calls={1: 2, 16: 2}, square=64, copied=2**20, rounds=1, member_steps=8,
    tests=("-k", "few_nodes or all_layouts"),
)  # fmt: skip


class Session(NamedTuple):
    """A part's sizes, the rates measured before, and what adds findings to its report."""

    sizes: Sizes
    rates: Mapping[str, Any]
    report: Callable[..., None]


def main(name: str, *arguments: str) -> None:
    """Run one part."""
    *options, report, record = arguments
    found: dict[str, Any] = {"passed": False}

    def add(**more: Any) -> None:
        found.update(more)
        replace_record(found, Path(report))

    add()
    machine = read_record(Path(record)).get("parts", {}).get("machine", {})
    PARTS[name](Session(TINY if "--tiny" in options else REAL, machine.get("rates", {}), add))


# -- the machine and its rates ------------------------------------------------------------------


def describe(session: Session) -> None:
    """Report the machine as nvidia-smi and CuPy describe it, and its rates."""
    session.report(host=describe_machine())
    session.report(cupy=_cupy())
    rates, causes = measure_rates(session)
    session.report(
        units="products in FLOP/s of our own square product; copy (read + written) and host in B/s",
        passed=not causes,
    )
    smi = _nvidia_smi()

    def scaled(rate: float | None, unit: float) -> str:
        return "unknown" if rate is None else f"{rate / unit:.3g}"

    tera = ", ".join(f"{name} {scaled(rate, 1e12)}" for name, rate in rates["products"].items())
    summary = (
        f"{smi['name']}, driver {smi.get('driver_version', 'unknown')}; {tera} TFLOP/s; "
        f"copy {scaled(rates['copy'], 1e12)} TB/s, from the host {scaled(rates['host'], 1e9)} GB/s"
    )
    failures = (f"{name} failed: {cause}" for name, cause in causes.items())
    session.report(nvidia_smi=smi, summary="; ".join([summary, *failures]))


def measure_rates(session: Session) -> tuple[dict[str, Any], dict[str, str]]:
    """Measure each rate, report it at once, and return all rates and the causes of failures.

    A rate that fails, or is not positive and finite, is None; the others are still measured.
    """
    square, copied = session.sizes.square, session.sizes.copied
    of_products: dict[str, float | None] = {}
    rates: dict[str, Any] = {"products": of_products}
    causes: dict[str, str] = {}

    def add(into: dict[str, Any], name: str, measure_rate: Callable[[], float]) -> None:
        into[name] = None
        try:
            rate = float(measure_rate())
        except Exception as error:
            causes[name] = f"{type(error).__name__}: {error}"
        else:
            if math.isfinite(rate) and rate > 0:
                into[name] = rate
            else:
                causes[name] = f"the rate is {rate}"
        session.report(rates=rates, failed_rates=causes)

    def flops(precision: str) -> float:
        return 2 * square**3 / products.square_seconds("cuda", precision, square, own=True)()

    for precision in (*PRECISIONS, "float64"):
        add(of_products, precision, functools.partial(flops, precision))
    add(rates, "copy", lambda: _copy_rate(copied))
    add(rates, "host", lambda: _host_rate(copied // 8))
    return rates, causes


def _nvidia_smi() -> dict[str, str]:
    fields = (
        "name", "driver_version", "memory.total", "compute_cap", "pstate", "clocks.sm",
        "clocks.max.sm", "temperature.gpu", "power.draw", "power.limit", "mig.mode.current",
    )  # fmt: skip
    try:
        said = subprocess.run(
            ["nvidia-smi", "--id=0", f"--query-gpu={','.join(fields)}", "--format=csv,noheader"],
            capture_output=True, text=True, timeout=20, check=True,
        )  # fmt: skip
        values = (value.strip() for value in said.stdout.splitlines()[0].split(","))
        return dict(zip(fields, values, strict=True))
    except (OSError, subprocess.SubprocessError, ValueError, IndexError) as error:
        return {"name": f"nvidia-smi does not say ({type(error).__name__})"}


def _cupy() -> dict[str, Any]:
    import cupy

    runtime = cupy.cuda.runtime
    properties = runtime.getDeviceProperties(0)
    return {
        "version": cupy.__version__,
        "gpu": properties["name"].decode(),
        "multiprocessors": properties["multiProcessorCount"],
        "memory": properties["totalGlobalMem"],
        "driver_supports_cuda": runtime.driverGetVersion(),
        "cuda_runtime": runtime.runtimeGetVersion(),
        "nvrtc": list(cupy.cuda.nvrtc.getVersion()),
    }


def _copy_rate(size: int) -> float:
    """Return the B/s of a copy on the device, bytes read plus bytes written."""
    import cupy

    source, target = cupy.zeros(size, "uint8"), cupy.empty(size, "uint8")
    return 2 * size / _median_seconds(lambda: cupy.copyto(target, source))


def _host_rate(size: int) -> float:
    """Return the B/s of a copy from the host to the device."""
    import cupy
    import numpy as np

    source, target = np.zeros(size, "uint8"), cupy.empty(size, "uint8")
    return size / _median_seconds(lambda: target.set(source))


def _median_seconds(call: Callable[[], object]) -> float:
    import cupy

    found = []
    for _ in range(4):  # the first warms up
        cupy.cuda.get_current_stream().synchronize()
        started = time.perf_counter()
        call()
        cupy.cuda.get_current_stream().synchronize()
        found.append(time.perf_counter() - started)
    return statistics.median(found[1:])


# -- the model ----------------------------------------------------------------------------------


def model(
    rates: Mapping[str, Any],
    precision: str,
    *,
    multiply_adds: float,
    moved: float,
    sent: float = 0.0,
    nodes: float | None = None,
) -> dict[str, Any] | None:
    """Return the microseconds to expect, from and to, and what they are made of.

    `moved` are bytes read and written on the device, `sent` those between host and device,
    `nodes` launches. None where a rate that it needs was not measured.
    """
    flops = rates.get("products", {}).get(precision)
    copy, host = rates.get("copy"), rates.get("host")
    if flops is None or copy is None or host is None:
        return None
    times = {
        "products": 2e6 * multiply_adds / flops,
        "bytes": 1e6 * moved / copy + 1e6 * sent / host,
    }
    us = [sum(times.values()) + (nodes or 0.0) * each for each in LAUNCH_MICROSECONDS]
    return {"us": us, "nodes": nodes, **{f"{name}_us": time for name, time in times.items()}}


def bytes_moved(problem: Problem) -> int:
    """Bytes of a training step, if each operation reads its inputs and writes its result once.

    Products, activations forward and backward, and the update, all in float32; a row of bytes is
    read and written as float32.
    """
    sizes, N = problem.layer_sizes, problem.batch_size
    numbers = 0
    for number, (l_in, l_out) in enumerate(pairwise(sizes)):
        numbers += (3 if number else 2) * (N * (l_in + l_out) + l_in * l_out)
        numbers += 5 * N * l_out + 3 * (l_in + 1) * l_out
    return problem.members * 4 * numbers + 5 * N * sizes[0]


@contextlib.contextmanager
def watched() -> Iterator[list[dict[str, Any]]]:
    """Yield a list that gets each step compiled meanwhile: nodes, launches, seconds by stage."""
    from xpmlp import compiler
    from xpmlp.backends.cupy import CuPyBackend
    from xpmlp.backends.cupy.graph import CapturedProgram
    from xpmlp.compiler import emit

    stages = {
        "trace": (compiler, "record"),
        "emit": (emit, "kernel_plan"),
        "compile": (CapturedProgram, "_compile"),
        "capture": (CapturedProgram, "_capture"),
        "total": (CuPyBackend, "compile"),
    }
    found: list[dict[str, Any]] = []
    seconds = dict.fromkeys(stages, 0.0)

    def clocked(stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **keywords: Any) -> Any:
            if stage == "total":
                seconds.update(dict.fromkeys(stages, 0.0))
            started = time.perf_counter()
            result = function(*arguments, **keywords)
            seconds[stage] += time.perf_counter() - started
            if stage == "total":
                program = result.__self__
                found.append(
                    {
                        "precision": keywords["precision"],
                        "nodes_per_step": program.nodes_per_step,
                        "launches_and_products": len(program.kernel_plan.nodes),
                        "seconds": dict(seconds),
                    }
                )
            return result

        return call

    with contextlib.ExitStack() as stack:
        for stage, (owner, name) in stages.items():
            stack.enter_context(
                mock.patch.object(owner, name, clocked(stage, getattr(owner, name)))
            )
        yield found


# -- tests and gradients ------------------------------------------------------------------------


LEFT_OUT = ("backends/test_cupy_gpu.py", "benchmarks")
"""Tests that `all-tests` leaves out, since other parts run them."""

MAY_NEED_GPU = re.compile(r"mark\.gpu\b|\bbackend[,:)]|\bBACKENDS\b")
"""Matches test files with the mark `gpu`, or with the fixture `backend`, which has it too.

Only these are imported: the others may need packages that a GPU's image lacks.
"""


def run_tests(session: Session) -> None:
    """The tests of compiled steps on a GPU."""
    run_pytest(session, ["tests/backends/test_cupy_gpu.py", *session.sizes.tests])


def run_all_tests(session: Session) -> None:
    """All others with the mark."""
    tests = ["tests/backends/test_select.py"] if session.sizes is TINY else ["tests"]
    run_pytest(session, [*tests, *(f"--ignore=tests/{name}" for name in LEFT_OUT)])


def run_pytest(session: Session, arguments: Sequence[str]) -> None:
    """Run tests in this process and report each; a test skipped without a GPU is a failure."""
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # warnings of others' plugins are errors
    import pytest

    results = Results(session.report)
    options = ["-m", "gpu", "-q", "-p", "no:cacheprovider", "--continue-on-collection-errors"]
    status = pytest.main([*options, *arguments], plugins=[results])
    counts = results.counts()
    passed = status == 0 and counts.get("passed", 0) > 0 and not results.without_gpu
    session.report(passed=passed, running="", status=int(status), without_gpu=results.without_gpu)


class Results:
    """A pytest plugin that reports every test as soon as it has ended."""

    def __init__(self, report: Callable[..., None]) -> None:
        self.report = report
        self.tests: dict[str, dict[str, Any]] = {}
        self.without_gpu: list[str] = []
        self.not_collected: list[str] = []

    def counts(self) -> dict[str, int]:
        """How many tests passed, failed and were skipped."""
        outcomes = [test["outcome"] for test in self.tests.values()]
        return {outcome: outcomes.count(outcome) for outcome in sorted(set(outcomes))}

    def pytest_ignore_collect(self, collection_path: Path) -> bool | None:
        is_test = collection_path.is_file() and collection_path.name.startswith("test_")
        if is_test and not MAY_NEED_GPU.search(collection_path.read_text(encoding="utf-8")):
            return True
        return None

    def pytest_runtest_logstart(self, nodeid: str, location: object) -> None:
        self._tell(nodeid)

    def pytest_runtest_logreport(self, report: Any) -> None:
        self._add(report)

    def pytest_collectreport(self, report: Any) -> None:
        if report.outcome != "passed":
            self._add(report)
        if report.outcome == "failed":
            self.not_collected.append(report.nodeid)

    def _add(self, report: Any) -> None:
        test = self.tests.setdefault(report.nodeid, {"outcome": "passed", "seconds": 0.0})
        test["seconds"] += getattr(report, "duration", 0.0)
        if report.outcome != "passed":
            test["outcome"] = report.outcome
            test["cause"] = report.longreprtext.splitlines()[-20:]
            if report.outcome == "skipped":
                *_, reason = report.longrepr
                test["cause"] = [reason]
                if "no GPU" in reason:
                    self.without_gpu.append(report.nodeid)

    def _tell(self, running: str) -> None:
        counts = self.counts()
        said = ", ".join(f"{count} {outcome}" for outcome, count in counts.items())
        failed = [name for name, test in self.tests.items() if test["outcome"] == "failed"]
        summary = said + (f"; first failure: {failed[0]}" if failed else "")
        if self.not_collected:
            summary += f"; not collected: {', '.join(self.not_collected)}"
        self.report(
            tests=self.tests, counts=counts, not_collected=self.not_collected, running=running,
            summary=summary,
        )  # fmt: skip

    def pytest_sessionfinish(self) -> None:
        self._tell("")


def check_gradients(session: Session) -> None:
    """The gradient check of CuPy beside NumPy and derivatives by differences."""
    from xpmlp import MLP, select_backend
    from xpmlp.gradcheck import gradcheck

    sizes = session.sizes.networks["lecture"].layer_sizes
    backends = [select_backend(name) for name in ("numpy", "cupy")]
    rows = gradcheck(MLP(sizes), backends=backends, autodiff=())
    disagreeing = [f"{row.parameter} {row.method}" for row in rows if not row.agrees]
    methods = sorted({row.method for row in rows})
    session.report(
        passed=any(method.startswith("cupy") for method in methods) and not disagreeing,
        rows=[row._asdict() for row in rows],
        summary=f"{', '.join(methods)}; disagreeing: {', '.join(disagreeing) or 'none'}",
    )


# -- contests -----------------------------------------------------------------------------------


def ours(precision: str = "float32") -> Competitor:
    """xpmlp's captured step; one that cannot be captured fails."""
    return xpmlp.training("cupy", "cuda", precision, compile="require")


def peers(*names: str) -> list[Competitor]:
    """The competitors of these names, but those that are ours, in float32 and TF32."""
    found = for_training(("cuda",), ceiling=True)
    return [one for one in found if one.name in names and one.name != OURS]


def own_products(session: Session, *precisions: str) -> list[Competitor]:
    """A step's products by our cuBLAS handle, and one large square product, by precision."""
    found = []
    for precision in precisions:
        alone = products.training_products("cuda", precision, own=True)
        square = products.square_product("cuda", precision, own=True, width=session.sizes.square)
        found += [
            Competitor(PRODUCTS, "cuda", precision, f"our handle: {competitors.ALONE}", alone),
            Competitor(CEILING, "cuda", precision, f"our handle: {competitors.SQUARE}", square),
        ]
    return found


def train_lecture(session: Session) -> None:
    """A step of the lecture's network: captured and eager, then beside the peers."""
    with tempfile.TemporaryDirectory() as cache:
        os.environ["CUPY_CACHE_DIR"] = cache  # else earlier parts have compiled the kernels
        _train(
            session, "lecture",
            [ours(), *peers("xpmlp cupy eager")],
            [ours(), *peers("PyTorch eager", "PyTorch graph", "JAX scan", "products in a graph")],
        )  # fmt: skip


def train_huge(session: Session) -> None:
    """784-4096x2-10, batch 8192: each precision beside its products and the square product."""
    squares = [
        Competitor(
            "PyTorch square", "cuda", precision, competitors.SQUARE,
            pytorch.square_product("cuda", precision, session.sizes.square),
        )
        for precision in PRECISIONS
    ]  # fmt: skip
    _train(
        session, "huge",
        [*map(ours, PRECISIONS), *own_products(session, *PRECISIONS)],
        [ours(), *squares, *peers("PyTorch eager", "JAX scan")],
    )  # fmt: skip


def train_deep(session: Session) -> None:
    """784-1024x3-10, batch 512."""
    _train(
        session, "deep",
        [ours(), *own_products(session, "float32")],
        [ours(), *peers("PyTorch eager", "PyTorch graph", "JAX scan")],
    )  # fmt: skip


def train_precisions(session: Session) -> None:
    """The lecture's step with products in TF32 and float16."""
    chosen = [*map(ours, PRECISIONS), *(one for one in peers("JAX scan") if one[2] == "tf32")]
    _train(session, "lecture", chosen)


def train_members(session: Session) -> None:
    """1, 8 and 32 of the lecture's networks at once."""
    network = session.sizes.networks["lecture"]
    steps = session.sizes.member_steps
    sound, said, first = True, [], 0.0
    for members in session.sizes.members:
        problem = make_problem(
            network.layer_sizes, network.batch_size, batches=steps, warm=steps, members=members
        )
        chosen = [ours(), *(one for one in peers("JAX scan") if one.precision == "float32")]
        contest = _contest(session, TrainingTask(problem, steps), chosen, problem)
        session.report(**{f"members_{members}": contest})
        sound = sound and is_sound(contest["rows"], OURS)
        median = contest["rows"][0]["median"] or float("nan")
        first = first or median
        said.append(f"{members}: {_line(contest['rows'])} ({median / first:.2f} x one)")
        session.report(summary="; ".join(said))
    session.report(passed=sound)


def _train(session: Session, name: str, *groups: Sequence[Competitor]) -> None:
    """A contest of each group; what the first has found outlives a fault of the second."""
    network = session.sizes.networks[name]
    problem = make_problem(
        network.layer_sizes, network.batch_size, batches=network.batches, warm=network.warm,
        checked=network.checked, lecture_weights=network.lecture_weights,
    )  # fmt: skip
    task = TrainingTask(problem, network.steps)
    sound, said = True, []
    for number, group in enumerate(groups, 1):
        contest = _contest(session, task, group, problem)
        sound = sound and is_sound(contest["rows"], OURS)
        if number == 1 and contest["compiled"]:
            cold = contest["compiled"][0]
            stages = ", ".join(f"{stage} {s:.2f}" for stage, s in cold["seconds"].items())
            said.append(f"{cold['nodes_per_step']} nodes a step; seconds: {stages}")
        said.append(_line(contest["rows"]))
        session.report(**{f"contest_{number}": contest}, summary="; ".join(said))
    session.report(passed=sound)


def _contest(
    session: Session, task: TrainingTask, group: Sequence[Competitor], problem: Problem
) -> dict[str, Any]:
    """The record of a contest, with a model beside each time and what was compiled for it."""
    with watched() as compiled:
        record = measure(task, group, rounds=session.sizes.rounds, threads=1)
    nodes = {one["precision"]: one["nodes_per_step"] for one in compiled}
    for row in record["rows"]:
        row["model"] = model(
            session.rates, row["precision"],
            multiply_adds=problem.multiply_adds, moved=bytes_moved(problem),
            nodes=nodes.get(row["precision"]) if row["name"] == OURS else None,
        )  # fmt: skip
    firsts = {one["precision"]: one for one in reversed(compiled)}  # later ones are warm
    return {**record, "compiled": list(firsts.values())}


def infer(session: Session) -> None:
    """A call on 1 row and on 10,000, from host to host, by the lecture's network."""
    network = session.sizes.networks["lecture"]
    problem = make_problem(
        network.layer_sizes, network.batch_size, batches=network.batches, warm=network.warm
    )
    names = (OURS, "PyTorch eager", "JAX jit")
    chosen = [one for one in for_inference(("cuda",)) if one.name in names]
    sound, said = True, []
    for rows, calls in session.sizes.calls.items():
        contest = measure_inference(
            problem, chosen, rows=rows, calls=calls, rounds=session.sizes.rounds, threads=1
        )
        widths = sum(l_in + 3 * l_out for l_in, l_out in pairwise(problem.layer_sizes))
        weights = sum(l_in * l_out for l_in, l_out in pairwise(problem.layer_sizes))
        for row in contest["rows"]:
            row["model"] = model(
                session.rates, row["precision"],
                multiply_adds=rows * weights, moved=4 * (rows * widths + weights),
                sent=4 * rows * (problem.layer_sizes[0] + problem.layer_sizes[-1]),
            )  # fmt: skip
        sound = sound and is_sound(contest["rows"], OURS)
        said.append(f"{rows} rows: {_line(contest['rows'])}")
        session.report(**{f"rows_{rows}": contest}, summary="; ".join(said))
    session.report(passed=sound)


def fit_estimators(session: Session) -> None:
    """MLPClassifier on the GPU beside scikit-learn's on all cores of the CPU, two rounds."""
    sound, said = True, []
    for number, work in enumerate(session.sizes.works, 1):
        chosen = [one for one in contestants("cuda", work.precisions) if one.name != "xpmlp jax"]
        with watched() as compiled:
            contest = measure(EstimatorTask(work), chosen, rounds=2, threads=None)
        compare(contest["rows"])
        batch = int(work.batch_size)
        steps = work.epochs * -(-work.rows // batch)
        problem = make_problem((784, *work.hidden, 10), batch, batches=1, warm=0)
        for row in contest["rows"]:
            nodes = compiled[-1]["nodes_per_step"] if compiled and row["name"] == OURS else 0
            row["model"] = model(
                session.rates, row["precision"],
                multiply_adds=steps * problem.multiply_adds, moved=steps * bytes_moved(problem),
                sent=4 * work.rows * 784, nodes=steps * (nodes or 0),
            ) if row["device"] == "cuda" else None  # fmt: skip
        sound = sound and is_sound(contest["rows"], OURS)
        speed = next(row["speed"] for row in contest["rows"] if row["name"] == OURS)
        said.append(
            f"{work.name}: {_line(contest['rows'])}"
            + (f", {speed:.1f} times scikit-learn's speed" if speed else "")
        )
        session.report(
            **{f"work_{number}": {**contest, "compiled": compiled[:1]}}, summary="; ".join(said)
        )
    session.report(passed=sound)


def is_sound(rows: Sequence[Mapping[str, Any]], needed: str) -> bool:
    """Whether nobody was wrong or failed, and all rows of the name that is needed were timed."""
    own = [row["status"] for row in rows if row["name"] == needed]
    others = {row["status"] for row in rows}
    return bool(own) and set(own) == {"timed"} and not others & {"WRONG", "failed"}


def _line(rows: Sequence[Mapping[str, Any]]) -> str:
    """The medians of a contest in microseconds, ours with its model, or why there is none."""
    said: list[str] = []
    without: dict[str, list[str]] = {}
    for row in rows:
        name = row["name"] + (f" {row['precision']}" if row["precision"] != "float32" else "")
        if row["median"] is None:
            cause = row["cause"].partition("\n")[0]
            without.setdefault(row["status"], []).append(
                f"{name} ({cause})" if row["status"] in ("WRONG", "failed") else name
            )
            continue
        text = f"{name} {row['median']:.1f} us"
        if row["name"] == OURS and row["model"]:
            low, high = row["model"]["us"]
            text += f" (model {low:.1f}..{high:.1f})"
        if row["name"] == OURS and (share := row["share_of_ceiling"]):
            text += f" = {share:.0%} of the square product's rate"
        said.append(text)
    said += [f"{status}: {', '.join(names)}" for status, names in without.items()]
    return ", ".join(said)


# -- NVIDIA's tools -----------------------------------------------------------------------------


def run_captured(session: Session) -> None:
    """Two epochs of 32 captured steps, for the tools to look at."""
    problem = make_problem((784, 64, 32, 10), 64, batches=32, warm=32, lecture_weights=True)
    turn = ours().start(problem)(32)
    assert turn.answer is not None
    session.report(passed=True, last_loss=float(turn.answer[-1]))


def time_kernels(session: Session) -> None:
    """Each kernel's time by Nsight Compute; graphs are taken apart for it."""
    done = _run_tool(
        session, "ncu",
        "--csv", "--print-units", "base", "--clock-control", "none", "--launch-count", "1000",
        "--metrics", "gpu__time_duration.sum",
        refusal=r"==ERROR==.*ERR_NVGPUCTRPERM",
    )  # fmt: skip
    if done is None:
        return
    lines, failure = done
    kernels: dict[str, list[float]] = {}
    start = next((number for number, line in enumerate(lines) if line.startswith('"ID"')), None)
    for row in csv.DictReader(lines[start:] if start is not None else []):
        if row.get("Metric Name") == "gpu__time_duration.sum":
            nanoseconds = float(row["Metric Value"].replace(",", ""))
            kernels.setdefault(row["Kernel Name"], []).append(nanoseconds)
    found = {
        name: {"launches": len(times), "median_us": statistics.median(times) / 1e3}
        for name, times in sorted(kernels.items(), key=lambda item: -sum(item[1]))
    }
    own = [f"{name} {one['median_us']:.2f} us" for name, one in found.items() if name[:1] == "k"]
    summary = ", ".join(own) or f"{len(found)} kernels"
    session.report(
        passed=bool(found) and not failure,
        kernels=found,
        summary="; ".join(filter(None, (failure, summary))),
    )


def check_memory(session: Session) -> None:
    """One captured run under compute-sanitizer's memcheck."""
    done = _run_tool(
        session, "compute-sanitizer", "--report-api-errors", "no",
        refusal=r"={5,}.*not supported",
    )  # fmt: skip
    if done is None:
        return
    lines, failure = done
    closing = [line.strip("= ") for line in lines if "ERROR SUMMARY" in line]
    summary = closing[-1] if closing else "no ERROR SUMMARY"
    session.report(
        passed=re.match(r"ERROR SUMMARY: 0 errors?\b", summary) is not None and not failure,
        summary="; ".join(filter(None, (failure, summary))),
        lines=lines[:200],
    )


def _run_tool(
    session: Session, tool: str, *options: str, refusal: str
) -> tuple[list[str], str] | None:
    """Return a tool's lines over `run_captured`, and what failed, or "" if nothing did.

    Return None, and report why, if there is no such tool or if it refuses this machine: if one of
    its lines begins with the pattern `refusal`. The tool has no time limit of its own: it belongs
    to this part's process group and ends with it.
    """
    path = shutil.which(tool) or shutil.which(tool, path="/usr/local/cuda/bin")
    if path is None:
        session.report(passed=True, summary=f"not available: no {tool} on PATH")
        return None
    with tempfile.TemporaryDirectory() as directory:
        report, record, log = (Path(directory) / name for name in ("report", "record", "log"))
        record.write_text("{}")
        program = (sys.executable, "-m", "benchmarks.gpu_parts", "captured", report, record)
        with log.open("wb") as output:
            done = subprocess.run(
                [path, *options, *program], cwd=ROOT, stdout=output, stderr=subprocess.STDOUT,
                check=False,
            )  # fmt: skip
        lines = log.read_text(errors="replace").splitlines()
        captured = read_record(report) if report.exists() else {}
    session.report(tool=path, status=done.returncode, captured=captured, last_lines=lines[-20:])
    for line in lines:
        if re.match(refusal, line):
            session.report(passed=True, summary=f"not available: {line}")
            return None
    last = next((line for line in reversed(lines) if line.strip()), "no output")
    if done.returncode != 0:
        return lines, f"exit status {done.returncode}: {last}"
    if captured.get("passed") is not True:
        return lines, f"the captured run did not finish: {last}"
    return lines, ""


PARTS: dict[str, Callable[[Session], None]] = {
    "machine": describe,
    "tests": run_tests,
    "gradcheck": check_gradients,
    "lecture": train_lecture,
    "huge": train_huge,
    "members": train_members,
    "deep": train_deep,
    "inference": infer,
    "precisions": train_precisions,
    "estimators": fit_estimators,
    "kernels": time_kernels,
    "sanitizer": check_memory,
    "all-tests": run_all_tests,
    "captured": run_captured,
}
"""By name; `captured` is what the tools run."""


if __name__ == "__main__":
    main(*sys.argv[1:])
