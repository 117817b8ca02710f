"""The lecture's two slides as a figure, forward pass beside expanded Jacobians; and as LaTeX."""

import math
from collections.abc import Sequence
from functools import partial
from itertools import accumulate, chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from xpmlp.errors import InputError
from xpmlp.files import write_atomically
from xpmlp.network.layers import Computation
from xpmlp.reports.explain import Explanation
from xpmlp.reports.flow import LayerFlow
from xpmlp.reports.notation import as_latex, tex_text
from xpmlp.reports.plot import any_letters, as_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLE_SIZE, TEXT_SIZE, SMALL_SIZE = 17, 12, 9
"""Points of the title, of a formula, and of what stands beside it."""
ROW, HEAD, GAP, APART, SIGN, PAD, MARGIN, TOP = 0.36, 0.34, 0.42, 0.3, 0.2, 0.15, 0.3, 1.75
"""Inches: a row, a box's title, between boxes, columns and matrices, inside a box, around the
figure, above the first box."""
LONGEST_SIDE = 0.6
"""Inches of the longest side of all matrices."""
MOST_LAYERS = 50
"""In a figure: these are 4.4 m high."""

INK, FAINT, RESULT = "#1a1a2e", "#5a6072", "#8ea6d8"
SLIDES = (
    ("#e8effc", "-|>", ", rms A {.activations:.2g}"),
    ("#fdeee3", "<|-", ", rms dW {.gradients:.2g}"),
)
"""Of each its colour, its arrows between boxes, and what it says of a layer's `LayerFlow`."""
SCALE_NOTE = "Sides of rectangles are to scale: square roots of the matrices' rows and columns."

STYLE: Any = {
    "svg.fonttype": "path", "svg.hashsalt": "xpmlp", "mathtext.fontset": "cm",
}  # fmt: skip
"""The same bytes for the same network; shapes in place of fonts, which a reader may not have."""


class Row(NamedTuple):
    """A line of the figure: a text for each column, and in the second column matrices, each as a
    sign with the width and the height of the rectangle behind it, in inches."""

    cells: tuple[str, ...]
    matrices: Sequence[tuple[str, float, float]] = ()

    @property
    def height(self) -> float:
        return max([ROW, *(height + 0.12 for *_, height in self.matrices)])

    def width(self, column: int) -> float:
        """What it takes of a column."""
        if column == 1 and self.matrices:
            return sum(width + SIGN for _, width, _ in self.matrices) - SIGN
        return _inches(self.cells[column], SMALL_SIZE if column else TEXT_SIZE)


TABLE_HEADS = Row(("", "to scale", "shapes", "FLOPs", "bytes"))


def draw_slides(
    explanation: Explanation, path: Path, *, title: str, flow: Sequence[LayerFlow] = ()
) -> None:
    """Draw the two slides side by side, as SVG or PNG by the name's ending.

    Raises `InputError` for more layers than a figure has room for, and for a place that cannot be
    written.
    """
    import matplotlib as mpl

    if (layers := len(explanation.model.layer_sizes) - 1) > MOST_LAYERS:
        raise InputError(
            f"{path}: {layers} layers, a figure has room for {MOST_LAYERS}; read the table, or "
            "write it with --latex"
        )
    kind = path.suffix.lower().removeprefix(".")
    words = (f"{one.text}, {one.shapes}" for one in chain(*explanation.slides.values()))
    metadata: dict[str, str | None] = {"Title": title, "Description": "; ".join(words)}
    if kind == "svg":
        metadata["Date"] = None
    with mpl.rc_context(STYLE), any_letters():
        figure = slides(explanation, flow=flow, title=title)
        save = partial(figure.savefig, format=kind, dpi=120, metadata=metadata)
        write_atomically(path, save)


def slides(explanation: Explanation, *, title: str, flow: Sequence[LayerFlow] = ()) -> "Figure":
    """Return the figure of both slides, laid out in inches from its upper left corner.

    Bottom to top as in the lecture: the input below, the loss above. `flow` adds the sizes of
    activations and gradients to the layers' titles.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import FancyBboxPatch

    figure = Figure(facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.axis("off")
    operations = list(chain(*explanation.slides.values()))
    layers = sorted({one.layer for one in operations}, reverse=True)
    sides = chain(*(shape for one in operations for shape in (*one.factors, one.shape)))
    unit = LONGEST_SIDE / math.sqrt(max(sides))
    tables = [
        [[_row(one, explanation, unit) for one in side if one.layer == layer] for layer in layers]
        for side in explanation.slides.values()
    ]
    heights = [
        HEAD + 0.12 + max(sum(row.height for row in rows) for rows in both)
        for both in zip(*tables, strict=True)
    ]
    flows = {one.layer: one for one in flow}
    right = 0.0
    for name, (colour, arrow, rms), table in zip(explanation.slides, SLIDES, tables, strict=True):
        left, bottom = right + MARGIN, TOP - GAP
        starts = _starts([TABLE_HEADS, *chain(*table)], left + PAD)
        right = starts[-1] - APART + PAD
        _put(axes, left, TOP - ROW, name, size=14, color="darkblue")
        _draw_row(axes, starts, TOP - 0.15, TABLE_HEADS)
        for layer, rows, height in zip(layers, table, heights, strict=True):
            top = bottom + GAP
            bottom = top + height
            if not rows:
                continue
            corner, style = (left, top), "round,pad=0,rounding_size=0.1"
            axes.add_patch(FancyBboxPatch(corner, right - left, height, style, fc=colour, ec=FAINT))
            named = explanation.title(layer) + (rms.format(flows[layer]) if layer in flows else "")
            _put(axes, left + PAD, top + HEAD / 2, named, size=10, weight="bold")
            if top > TOP:
                middle = (left + right) / 2
                head = {"arrowstyle": arrow, "color": FAINT}
                axes.annotate("", (middle, top - GAP), (middle, top), arrowprops=head)
            y = top + HEAD
            for row in rows:
                _draw_row(axes, starts, y + row.height / 2, row)
                y += row.height

    legend = [Row((f"${as_latex(one)}$", said)) for one, said in explanation.symbols.items()]
    _, meaning, end = _starts(legend, 0.0)
    width = max(right, end, MARGIN + 1.05 * _inches(as_label(title), TITLE_SIZE)) + MARGIN
    count = math.ceil(len(legend) / ((width - MARGIN) // end))
    for number, row in enumerate(legend):
        x, y = MARGIN + number // count * end, bottom + GAP + ROW * (number % count)
        _draw_row(axes, (x, x + meaning), y, row)
    bottom += GAP + ROW * count

    _put(axes, MARGIN, 0.4, title, size=TITLE_SIZE, parse_math=False)
    _put(axes, MARGIN, 0.85, f"{explanation.summary}\n{SCALE_NOTE}", size=SMALL_SIZE, color=FAINT)
    figure.set_size_inches(width, bottom)
    axes.set(xlim=(0, width), ylim=(bottom, 0))
    return figure


def _row(operation: Computation, explanation: Explanation, unit: float) -> Row:
    """Return its cells, and factors and result to scale: a side of n is sqrt(n) units long."""
    signs = (*("", "", "+")[: len(operation.factors)], "→" if operation.factors else "")
    matrices = []
    for sign, shape in zip(signs, (*operation.factors, operation.shape), strict=True):
        rows, columns = (1, 1, *shape)[-2:]
        matrices.append((sign, unit * math.sqrt(columns), unit * math.sqrt(rows)))
    return Row((f"${as_latex(operation.text)}$", "", *explanation.numbers(operation)), matrices)


def _inches(text: str, points: float) -> float:
    from matplotlib.textpath import TextPath

    return float(np.ptp(TextPath((0, 0), text, size=points).vertices[:, 0])) / 72 if text else 0.0


def _starts(rows: Sequence[Row], x: float) -> list[float]:
    """Return where each column begins, as wide as its widest cell, and where the last ends."""
    widths = (max(row.width(column) for row in rows) for column in range(len(rows[0].cells)))
    return list(accumulate((width + APART for width in widths), initial=x))


def _put(axes: "Axes", x: float, y: float, text: str, **style: Any) -> None:
    axes.text(x, y, text, **{"va": "center", "color": INK, **style})


def _draw_row(axes: "Axes", starts: Sequence[float], y: float, row: Row) -> None:
    from matplotlib.patches import Rectangle

    for column, cell in enumerate(row.cells):
        style = {"size": SMALL_SIZE, "color": FAINT} if column else {"size": TEXT_SIZE}
        if column > 2:  # numbers
            _put(axes, starts[column + 1] - APART, y, cell, ha="right", **style)
        else:
            _put(axes, starts[column], y, cell, **style)
    x, last = starts[1], len(row.matrices) - 1
    for number, (sign, width, height) in enumerate(row.matrices):
        _put(axes, x - SIGN / 2, y, sign, size=SMALL_SIZE, color=FAINT, ha="center")
        colour = RESULT if number == last else "white"
        corner = x, y - height / 2
        axes.add_patch(Rectangle(corner, width, height, fc=colour, ec=FAINT, lw=0.6))
        x += width + SIGN


def as_latex_document(explanation: Explanation, *, title: str) -> str:
    """Return the two slides as a LaTeX document: a table of each, and their symbols."""
    from jinja2 import Template

    source = Path(__file__).with_suffix(".tex").read_text("utf-8")
    template = Template(source, trim_blocks=True, keep_trailing_newline=True)
    given = {"tex": tex_text, "formula": as_latex}
    return str(template.render(explanation=explanation, title=title, **given))
