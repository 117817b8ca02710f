"""The lecture's figure, inspected before it becomes pixels."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from xpmlp.reports import accuracy_ticks, plot_training
from xpmlp.training import History

pytestmark = pytest.mark.extended(keep=7)


def history(iterations: int = 30, epochs: int = 3, members: int | None = None) -> History:
    shape = () if members is None else (members,)
    random = np.random.default_rng(0)
    losses = random.uniform(0.5, 2.0, (iterations, *shape)).astype(np.float32)
    return History(list(losses), list(random.uniform(0.5, 0.9, (epochs, *shape))))


def test_picture_has_20_by_10_inches_and_nothing_lies_beside_it(tmp_path: Path) -> None:
    plot_training(history(), tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size == (2000, 1000)
        assert picture.format == "PNG"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.png"]


def test_same_history_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        plot_training(history(), tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_titles_labels_colours_and_sizes_are_the_lectures(drawn, tmp_path: Path) -> None:
    plot_training(history(), tmp_path / "a.png")
    (figure,) = drawn
    assert figure.get_size_inches().tolist() == [20.0, 10.0]
    loss, accuracy = figure.axes
    titles = [axes.title for axes in (loss, accuracy)]
    assert [title.get_text() for title in titles] == ["Train Loss", "Train Accuracy"]
    assert [title.get_color() for title in titles] == ["darkblue", "darkblue"]
    assert [title.get_fontsize() for title in titles] == [40, 40]
    labels = [label for axes in (loss, accuracy) for label in (axes.xaxis.label, axes.yaxis.label)]
    texts = [label.get_text() for label in labels]
    assert texts == ["Iter Idx", "CCEE", "Epoch", "Accuracy"]
    assert {label.get_fontsize() for label in labels} == {30}
    for axes in (loss, accuracy):
        sizes = {tick.get_fontsize() for tick in axes.get_xticklabels() + axes.get_yticklabels()}
        assert sizes == {30}
    np.testing.assert_allclose(accuracy.get_yticks(), np.linspace(0.4, 1.0, 7))
    assert loss.get_facecolor() == pytest.approx((0.918, 0.918, 0.949, 1.0), abs=1e-3)  # seaborn's


def test_lines_are_the_history(drawn, tmp_path: Path) -> None:
    found = history()
    plot_training(found, tmp_path / "a.png")
    for axes, series in zip(drawn[0].axes, (found.loss, found.accuracy), strict=True):
        (line,) = axes.lines
        np.testing.assert_array_equal(line.get_ydata(), series)


def test_each_member_has_a_line(drawn, tmp_path: Path) -> None:
    plot_training(history(members=4), tmp_path / "a.png")
    assert [len(axes.lines) for axes in drawn[0].axes] == [4, 4]


def test_a_single_epoch_can_be_seen(drawn, tmp_path: Path) -> None:
    plot_training(history(epochs=1), tmp_path / "a.png")
    loss, accuracy = (axes.lines[0].get_marker() for axes in drawn[0].axes)
    assert (loss, accuracy) == ("", "o")


def test_a_run_stopped_in_its_first_epoch_can_be_drawn(tmp_path: Path) -> None:
    plot_training(history(epochs=0), tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 0


def test_drawing_leaves_matplotlib_as_it_was(tmp_path: Path) -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    plot_training(history(), tmp_path / "a.png")
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize(
    ("accuracy", "ticks"),
    [
        ([0.45, 0.9], [0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]),
        ([0.4, 1.0], [0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]),
        ([0.97, 1.0], [0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]),
        ([0.33, 0.9], [0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]),
        ([0.25, 0.9], [0.2, 0.4, 0.6, 0.8, 1.0]),
        ([0.1, 0.2], [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        ([0.0, 0.0], [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        ([], [0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]),
    ],
)
def test_accuracy_ticks_are_the_lectures_or_reach_lower(accuracy, ticks) -> None:
    assert accuracy_ticks(np.array(accuracy)).tolist() == ticks
