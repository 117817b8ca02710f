"""The two slides as a figure and as LaTeX."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from PIL import Image

from xpmlp.errors import InputError
from xpmlp.network import MLP, Objective
from xpmlp.reports.explain import Explanation, explain
from xpmlp.reports.flow import LayerFlow
from xpmlp.reports.notation import as_latex, tex_text
from xpmlp.reports.slides import STYLE, as_latex_document, draw_slides, slides

LECTURE = explain(MLP((784, 64, 32, 10)))
EVERYTHING = explain(
    MLP((6, 5, 5, 3), "mish", normalization="layer", residual=True),
    Objective(dropout=0.1, input_dropout=0.1, l1=0.1, l2=0.1, label_smoothing=0.1),
)
FLOW = [LayerFlow(number, 0.5, 0.5, 0.001) for number in (1, 2, 3)]
SHOWN = {
    "lecture": LECTURE,
    "everything": EVERYTHING,
    "modern": explain(
        MLP((784, 512, 512, 10), "gelu", normalization="batch", residual=True),
        Objective(dropout=0.3, input_dropout=0.2, mixup=0.4),
        rows=256,
    ),
    "one layer": explain(MLP((4, 1), output="identity"), Objective("huber"), rows=1),
    "wide and narrow": explain(MLP((10_000, 1, 1000, 10), "gelu_tanh"), rows=8),
    "deep": explain(MLP((64,) * 13, "selu"), rows=10**6),
}


def drawn(explanation: Explanation, title: str = "a title") -> tuple[Figure, Axes, list[Text]]:
    with mpl.rc_context(STYLE):
        figure = slides(explanation, title=title, flow=FLOW)
    (axes,) = figure.axes
    return figure, axes, [text for text in axes.texts if text.get_text()]


def rectangles(axes: Axes) -> list[Rectangle]:
    return [one for one in axes.patches if isinstance(one, Rectangle)]


def test_stack_is_the_lectures_the_loss_above_and_the_input_below() -> None:
    for shown, above in ((LECTURE, []), (EVERYTHING, ["Input"])):
        _, axes, texts = drawn(shown)
        titles = [one for one in texts if one.get_weight() == "bold"]
        assert axes.yaxis_inverted()
        forward = [one for one in titles if one.get_position()[0] < 1.0]
        assert [one.get_text().partition(":")[0] for one in forward] == [
            "Loss", "Layer 3", "Layer 2", "Layer 1", *above
        ]  # fmt: skip
        heights = [one.get_position()[1] for one in forward]
        assert heights == sorted(heights)


@pytest.mark.extended(keep=2)
@pytest.mark.parametrize("name", SHOWN)
def test_rectangles_are_all_matrices_in_one_scale(name: str) -> None:
    explanation = SHOWN[name]
    _, axes, _ = drawn(explanation)
    wanted = []
    for side in (explanation.forward, explanation.backward):
        # A box holds what belongs to one layer; the loss stands first.
        for one in sorted(side, key=lambda one: -one.layer):
            for shape in (*one.factors, one.shape):
                rows, columns = (1, 1, *shape)[-2:]
                wanted.append((rows, columns))
    drawn_as = [(one.get_height(), one.get_width()) for one in rectangles(axes)]
    assert len(drawn_as) == len(wanted)
    scale = np.array(drawn_as) ** 2 / np.array(wanted)
    np.testing.assert_allclose(scale, scale[0, 0])
    assert any("square roots" in text.get_text() for text in axes.texts)


def test_a_product_has_its_factors_and_its_result() -> None:
    _, axes, _ = drawn(explain(MLP((9, 4)), rows=16))
    sides = [(one.get_height(), one.get_width()) for one in rectangles(axes)]
    unit = sides[2][0] / 4  # Ŷ and J of the loss, then X (16, 9)
    np.testing.assert_allclose(np.array(sides[2:6]) / unit, [(4, 3), (3, 2), (1, 2), (4, 2)])
    dW = np.array(sides[7:10]) / unit  # after dL
    np.testing.assert_allclose(dW, [(3, 4), (4, 2), (3, 2)])


@pytest.mark.extended(keep=1)
@pytest.mark.parametrize("name", SHOWN)
def test_nothing_overlaps_or_leaves_the_figure(name: str) -> None:
    figure, axes, texts = drawn(SHOWN[name], title="runs/" + "a long name of a run" * 20)
    artists = [*texts, *rectangles(axes)]
    with mpl.rc_context(STYLE):
        figure.draw_without_rendering()
    boxes = np.array([one.get_window_extent().extents for one in artists])
    inside = (boxes >= 0).all(1) & (boxes[:, 2:] <= figure.bbox.extents[2:]).all(1)
    assert inside.all(), [str(one) for one, is_in in zip(artists, inside, strict=True) if not is_in]
    order = np.argsort(boxes[:, 1])
    for number, place in enumerate(order):
        box = boxes[place]
        for other in order[number + 1 :]:
            if boxes[other, 1] >= box[3]:
                break
            apart = boxes[other, 0] >= box[2] or box[0] >= boxes[other, 2]
            assert apart, (str(artists[place]), str(artists[other]))


@pytest.mark.extended
def test_an_svg_says_in_words_what_it_shows_and_is_the_same_every_time(tmp_path: Path) -> None:
    for name in ("a.svg", "b.svg"):
        draw_slides(LECTURE, tmp_path / name, title="100 % & $x <b>")
    text = (tmp_path / "a.svg").read_text("utf-8")
    assert text == (tmp_path / "b.svg").read_text("utf-8")
    words = " ".join(ElementTree.fromstring(text).itertext())  # noqa: S314, our own
    assert "100 % & $x <b>" in words
    for one in (*LECTURE.forward, *LECTURE.backward):
        assert f"{one.text}, {one.shapes}" in words


@pytest.mark.extended
def test_a_png_has_the_sizes_of_a_run_in_it(tmp_path: Path) -> None:
    draw_slides(LECTURE, tmp_path / "plain.png", title="a")
    draw_slides(LECTURE, tmp_path / "run.png", title="a", flow=FLOW)
    with Image.open(tmp_path / "plain.png") as plain, Image.open(tmp_path / "run.png") as run:
        assert plain.size == run.size
        assert plain.tobytes() != run.tobytes()


def test_a_network_that_no_figure_has_room_for_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"deep.png: 401 layers, a figure has room for 50; read"):
        draw_slides(explain(MLP((4, *[4] * 400, 2))), tmp_path / "deep.png", title="deep")


@pytest.mark.extended
def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no/slides.svg"):
        draw_slides(LECTURE, tmp_path / "no" / "slides.svg", title="a")


def test_latex_has_a_row_for_every_matrix() -> None:
    text = as_latex_document(EVERYTHING, title="50 % of {x}_1")
    rows = [line for line in text.splitlines() if line.endswith(r"\\") and "&" in line]
    assert len(rows) == len(EVERYTHING.forward) + len(EVERYTHING.backward)
    assert all(row.count("&") == 4 for row in rows)
    assert r"\section*{50 \% of \{x\}\_1}" in text
    assert text.count("{") == text.count("}")
    for symbol, meaning in EVERYTHING.symbols.items():
        assert rf"\item[${as_latex(symbol)}$] {tex_text(meaning)}" in text
    # LaTeX's own characters alone: no compiler but the oldest need be had.
    assert text.isascii()


def test_text_for_tex_is_printed_as_it_is() -> None:
    assert tex_text(r"a\b_c{d}~^&%$#") == (
        r"a\textbackslash{}b\_c\{d\}\textasciitilde{}\textasciicircum{}\&\%\$\#"
    )
