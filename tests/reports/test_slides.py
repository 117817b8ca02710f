"""The two slides as a figure and as LaTeX."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from PIL import Image

from xpmlp.errors import InputError
from xpmlp.network import MLP, Objective
from xpmlp.reports.explain import explain
from xpmlp.reports.flow import LayerFlow
from xpmlp.reports.slides import as_latex_document, boxes, draw_slides, tex_text

LECTURE = explain(MLP((784, 64, 32, 10)))
EVERYTHING = explain(
    MLP((6, 5, 5, 3), "mish", normalization="layer", residual=True),
    Objective(dropout=0.1, input_dropout=0.1, l1=0.1, l2=0.1, label_smoothing=0.1),
)


def test_the_stack_is_the_lectures_the_loss_above_and_the_input_below() -> None:
    assert [box.title for box in boxes(LECTURE)] == [
        "Loss", "Layer 3: 32 → 10", "Layer 2: 64 → 32", "Layer 1: 784 → 64"
    ]  # fmt: skip
    shown = [one.result for box in boxes(LECTURE) for one in (*box.forward, *box.backward)]
    assert shown[:3] == ["Ŷ", "J", "dL"]
    assert boxes(EVERYTHING)[-1].title == "Input"


@pytest.mark.parametrize("explanation", [LECTURE, EVERYTHING], ids=["lecture", "everything"])
def test_no_operation_is_left_out(explanation) -> None:
    drawn = [one for box in boxes(explanation) for one in (*box.forward, *box.backward)]
    assert len(drawn) == len(explanation.forward) + len(explanation.backward)


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
    flow = [LayerFlow(number, 0.5, 0.5, 0.001) for number in (1, 2, 3)]
    draw_slides(LECTURE, tmp_path / "plain.png")
    draw_slides(LECTURE, tmp_path / "run.png", flow=flow)
    with Image.open(tmp_path / "plain.png") as plain, Image.open(tmp_path / "run.png") as run:
        assert plain.size == run.size
        assert plain.tobytes() != run.tobytes()


def test_a_network_that_no_figure_has_room_for_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"deep.png: 401 layers, a figure has room for 50; read"):
        draw_slides(explain(MLP((4, *[4] * 400, 2))), tmp_path / "deep.png")


@pytest.mark.extended
def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no/slides.svg"):
        draw_slides(LECTURE, tmp_path / "no" / "slides.svg")


def test_latex_has_a_row_for_every_matrix() -> None:
    text = as_latex_document(EVERYTHING, title="50 % of {x}_1")
    rows = [line for line in text.splitlines() if line.endswith(r"\\") and "&" in line]
    assert len(rows) == len(EVERYTHING.forward) + len(EVERYTHING.backward)
    assert all(row.count("&") == 4 for row in rows)
    assert r"\section*{50 \% of \{x\}\_1}" in text
    assert text.count("{") == text.count("}")
    # LaTeX's own characters alone: no compiler but the oldest need be had.
    assert text.isascii()


def test_text_for_tex_is_printed_as_it_is() -> None:
    assert tex_text(r"a\b_c{d}~^&%$#") == (
        r"a\textbackslash{}b\_c\{d\}\textasciitilde{}\textasciicircum{}\&\%\$\#"
    )
