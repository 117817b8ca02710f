"""Which tests are run, and the backends that those of the algebra, network and training run on."""

import contextlib
import importlib.util
from collections import Counter
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import array_api_strict
import hypothesis
import numpy as np
import pytest

from xpmlp.backends import Backend, select_backend
from xpmlp.backends.cupy import ask_driver, installed_wheels

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter  # public from pytest 9 on
    from matplotlib.figure import Figure

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)

# A busy machine is slow and an import takes a second: neither says anything about the code.
hypothesis.settings.register_profile("full", deadline=None, derandomize=True)
hypothesis.settings.register_profile(
    "default", hypothesis.settings.get_profile("full"), max_examples=30
)


class StrictBackend(Backend):
    """array-api-strict on its `device1`: whatever the standard lacks, or a mixture of devices,
    is an error there."""

    def __init__(self) -> None:
        device = array_api_strict.Device("device1")
        super().__init__("strict", array_api_strict, device, device_name="device1")

    @contextlib.contextmanager
    def activate(self) -> Iterator[None]:
        with (
            array_api_strict.ArrayAPIStrictFlags(
                boolean_indexing=False, data_dependent_shapes=False
            ),
            np.errstate(all="ignore"),
        ):
            yield


CASES = 2
"""The default run has at most this many cases of a test, unless `extended` says how many."""

ORACLES = 4
"""The default run has one of four tests with an oracle (torch, JAX)."""

BY_THEMSELVES = ("container", "browser", "documentation", "trackers")
"""Marks of tests that need programs of their own or minutes; `-m MARK` runs them."""

LEFT_OUT = pytest.StashKey[Counter[str]]()
"""How many tests are left out, by the mark that leaves them out."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--full", action="store_true", help="run all short tests, the extended ones too"
    )
    parser.addoption(
        "--no-skips",
        action="store_true",
        help="fail a test that would be skipped for any reason but a missing GPU",
    )


def pytest_configure(config: pytest.Config) -> None:
    hypothesis.settings.load_profile("full" if config.getoption("--full") else "default")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what takes long, unless `-m` chooses; a place that is named is run as a whole."""
    if config.option.markexpr:
        return
    left_out = {item: mark for mark in BY_THEMSELVES for item in _marked(items, mark)}
    if not config.getoption("--full") and config.args_source is not pytest.Config.ArgsSource.ARGS:
        left_out |= dict.fromkeys(_extended(items), "extended")
    config.stash[LEFT_OUT] = Counter(left_out.values())
    config.hook.pytest_deselected(items=list(left_out))
    items[:] = [item for item in items if item not in left_out]


def _marked(items: list[pytest.Item], mark: str) -> list[pytest.Item]:
    return [item for item in items if item.get_closest_marker(mark)]


def _extended(items: list[pytest.Item]) -> Iterator[pytest.Item]:
    """Yield what plain `pytest` leaves out: of each test all cases but `CASES`, or but `keep` where
    it or its file is marked `extended`, and most of the oracles, which take as long as all the
    rest."""
    cases: dict[str, list[pytest.Item]] = {}
    keep: dict[str, int] = {}
    for item in items:
        name, kept = item.nodeid.partition("[")[0], CASES
        for node, mark in item.iter_markers_with_node("extended"):
            name, kept = node.nodeid.partition("[")[0], mark.kwargs.get("keep", 0)
            break  # a function's own mark goes before its file's
        cases.setdefault(name, []).append(item)
        keep[name] = kept
    for name, all_of in cases.items():
        kept_of = {number * len(all_of) // keep[name] for number in range(keep[name])}
        yield from (item for number, item in enumerate(all_of) if number not in kept_of)
    oracles = _marked(items, "oracle")
    yield from (item for number, item in enumerate(oracles) if number % ORACLES)


def pytest_terminal_summary(terminalreporter: "TerminalReporter") -> None:
    """Say what the full run has besides, and what was skipped for which reason."""
    config, stats = terminalreporter.config, terminalreporter.stats
    counts = config.stash.get(LEFT_OUT, Counter())
    skipped = Counter(map(_reason, stats.get("skipped", ())))
    if not counts and not skipped:
        return
    ran = sum(len(stats.get(outcome, ())) for outcome in ("passed", "failed", "xfailed"))
    known = ran + counts.total() + skipped.total()
    terminalreporter.section(f"{ran} tests ran" + (f" of {known}" if counts else ""))
    for mark, count in counts.items():
        how = "--full" if mark == "extended" else f"-m {mark}"
        terminalreporter.line(f"{count} left out ({mark}); to run them too: pytest {how}")
    for reason, count in skipped.most_common():
        terminalreporter.line(f"{count} skipped: {reason}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    return _without_skips(item.config, (yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    return _without_skips(collector.config, (yield))


def _reason(skipped: Report) -> str:
    assert isinstance(skipped.longrepr, tuple)
    return skipped.longrepr[2].removeprefix("Skipped: ")


def _without_skips(config: pytest.Config, report: Report) -> Report:
    """The report, failed with `--no-skips` if it is of a skip; only a GPU may be missing."""
    if report.skipped and config.getoption("--no-skips") and not hasattr(report, "wasxfail"):
        reason = _reason(report)
        if not reason.startswith(("no GPU:", "there is a GPU here")):
            report.outcome = "failed"
            report.longrepr = f"skipped, which --no-skips forbids: {reason}"
    return report


def _oracle(name: str) -> None:
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed (the extra `oracles` brings it)")


def gpu_backend() -> Backend:
    """CuPy's backend; only without a GPU or CuPy is the test skipped, and the reason says so."""
    driver, gpus = ask_driver()
    if not driver or gpus == 0:
        pytest.skip("no GPU: no NVIDIA driver, or none that shows a GPU")
    if not installed_wheels():
        pytest.skip("no GPU library: CuPy is not installed")
    return select_backend("cupy")


BACKENDS = [
    "numpy",
    "strict",
    pytest.param("torch", marks=pytest.mark.oracle),
    pytest.param("jax", marks=pytest.mark.oracle),
    pytest.param("cupy", marks=pytest.mark.gpu),
]


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    """Each backend in turn, active."""
    name = request.param
    if name == "strict":
        chosen: Backend = StrictBackend()
    elif name == "cupy":
        chosen = gpu_backend()
    else:
        if name != "numpy":
            _oracle(name)
        chosen = select_backend(name)
    with chosen.activate():
        yield chosen


@pytest.fixture
def torch():
    """PyTorch as an oracle."""
    _oracle("torch")
    return importlib.import_module("torch")


@pytest.fixture
def jax():
    """JAX as an oracle."""
    _oracle("jax")
    return importlib.import_module("jax")


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list["Figure"]:
    """The figures that were saved."""
    from matplotlib.figure import Figure

    figures = []

    def save(figure: "Figure", path: Path, **_: object) -> None:
        figures.append(figure)
        Path(path).write_bytes(b"figure")

    monkeypatch.setattr(Figure, "savefig", save)
    return figures
