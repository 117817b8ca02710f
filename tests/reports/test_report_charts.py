"""The charts of a page, and of compared runs, inspected before they become drawings."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from xpmlp.recipes import load_recipe
from xpmlp.reports import charts
from xpmlp.reports.compare import ComparedRun, plot_comparison
from xpmlp.reports.prediction_report import calibration
from xpmlp.training import History


@pytest.fixture
def axes(monkeypatch: pytest.MonkeyPatch) -> list[Axes]:
    """Those that were drawn on."""
    seen: list[Axes] = []
    drawn = charts._drawn

    @contextlib.contextmanager
    def watched(*given: object) -> Iterator:
        with drawn(*given) as both:
            seen.append(both[0])
            yield both

    monkeypatch.setattr(charts, "_drawn", watched)
    return seen


def test_bars_of_a_calibration_are_shares_of_right_answers(axes: list[Axes]) -> None:
    confidence = np.array([0.95, 0.95, 0.55, 0.55])
    charts.calibration_chart(calibration(confidence, np.array([True, True, True, False])))
    bars = [one for one in axes[0].patches if isinstance(one, Rectangle)]
    assert [round(bar.get_x(), 9) for bar in bars] == [number / 10 for number in range(10)]
    assert [bar.get_height() for bar in bars] == [0, 0, 0, 0, 0, 0.5, 0, 0, 0, 1.0]


def test_members_are_a_mean_and_a_range(axes: list[Axes]) -> None:
    values = np.array([[1.0, 3.0], [2.0, 6.0]])
    charts.series_chart("a", {"b": (np.arange(2), values)}, x="x", y="y")
    np.testing.assert_array_equal(axes[0].lines[0].get_ydata(), [2.0, 4.0])
    corners = axes[0].collections[0].get_paths()[0].vertices
    assert {tuple(corner) for corner in corners} >= {(0, 1), (0, 3), (1, 2), (1, 6)}


def test_predictions_stand_over_targets(axes: list[Axes]) -> None:
    charts.numbers_chart(np.array([1.0, 2.0]), np.array([1.5, 1.0]), "a")
    rows, diagonal = axes[0].lines
    np.testing.assert_array_equal(rows.get_xdata(), [1.0, 2.0])
    np.testing.assert_array_equal(rows.get_ydata(), [1.5, 1.0])
    np.testing.assert_array_equal(diagonal.get_xdata(), diagonal.get_ydata())


def test_compared_runs_have_a_line_each(drawn: list, tmp_path: Path) -> None:
    recipe = load_recipe("lecture")
    losses = [np.float32(value) for value in np.linspace(3, 1, 8)]
    whole = History(losses, [0.5, 0.75], [2, 8], [1.0, 0.9], [0.4, 0.6])
    short = History(losses[:2])
    runs = [ComparedRun(name, recipe, one, {}) for name, one in (("a", whole), ("$b", short))]
    plot_comparison(runs, tmp_path / "c.png")
    loss_axes, accuracy_axes = drawn[0].axes
    first, second = loss_axes.lines
    np.testing.assert_array_equal(first.get_xdata(), np.arange(1, 9))
    assert first.get_ydata()[0] > first.get_ydata()[-1]
    assert (first.get_label(), second.get_label()) == (" a", r" \$b")
    training, held_out = accuracy_axes.lines
    np.testing.assert_array_equal(training.get_ydata(), [0.5, 0.75])
    np.testing.assert_array_equal(held_out.get_xdata(), [0.5, 2.0])  # four steps an epoch
    np.testing.assert_array_equal(held_out.get_ydata(), [0.4, 0.6])
    assert held_out.get_linestyle() == "--"
