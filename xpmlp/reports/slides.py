"""The lecture's two slides as a figure, forward pass beside expanded Jacobians; and as LaTeX."""

import re
from collections.abc import Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from xpmlp.errors import InputError
from xpmlp.files import write_atomically
from xpmlp.reports.explain import Explanation, Operation, Shape
from xpmlp.reports.flow import LayerFlow
from xpmlp.reports.numbers import short
from xpmlp.reports.plot import any_letters

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIZE, SMALL = 12, 9
"""Points of a formula and of what stands beside it."""
ROW, GAP, HEAD = 0.36, 0.42, 0.34
"""Inches: a row, between two boxes, a box's title."""
MOST_LAYERS = 50
"""In a figure: these take ten seconds and are 2 m high."""

INK, FAINT, FORWARD, BACKWARD = "#1a1a2e", "#5a6072", "#e8effc", "#fdeee3"


class Box(NamedTuple):
    """What belongs to one layer: its title, its steps forward and its Jacobians."""

    title: str
    forward: list[Operation]
    backward: list[Operation]


def boxes(explanation: Explanation) -> list[Box]:
    """The loss, then the layers from the last to the first, then what becomes of the input."""
    widths = explanation.model.layer_sizes
    last = len(widths) - 1
    titles = {last + 1: "Loss", 0: "Input"}
    titles |= {k: f"Layer {k}: {widths[k - 1]} → {widths[k]}" for k in range(1, last + 1)}

    def of(number: int, operations: Sequence[Operation]) -> list[Operation]:
        return [one for one in operations if _place(one, last) == number]

    found = (
        Box(titles[number], of(number, explanation.forward), of(number, explanation.backward))
        for number in range(last + 1, -1, -1)
    )
    return [box for box in found if box.forward or box.backward]


def _place(operation: Operation, last: int) -> int:
    is_loss = operation.part in ("loss", "smoothing") or operation.shape == ()
    return last + 1 if is_loss else operation.layer


def draw_slides(
    explanation: Explanation, path: Path, *, flow: Sequence[LayerFlow] = (), title: str = ""
) -> None:
    """Draw the two slides side by side, as SVG or PNG by the name's ending.

    Bottom to top as in the lecture: the input below, the loss above. `flow` adds the sizes of
    activations and gradients to the layers' titles. Raises `InputError` for more layers than it
    has room for, and for a place that cannot be written.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    if (layers := len(explanation.model.layer_sizes) - 1) > MOST_LAYERS:
        raise InputError(
            f"{path}: {layers} layers, a figure has room for {MOST_LAYERS}; read the table, or "
            "write it with --latex"
        )
    title = title or str(explanation.model)
    # The same bytes for the same network; shapes in place of fonts, which a reader may not have.
    with mpl.rc_context(
        {"svg.fonttype": "path", "svg.hashsalt": "xpmlp", "mathtext.fontset": "cm"}
    ):
        stack = boxes(explanation)
        lefts, rights = (
            _columns([_cells(one, explanation) for box in stack for one in side(box)])
            for side in (attrgetter("forward"), attrgetter("backward"))
        )
        heights = [HEAD + ROW * max(len(box.forward), len(box.backward)) + 0.12 for box in stack]
        left, right, between = sum(lefts) + 0.3, sum(rights) + 0.3, 0.6
        width = left + right + between + 0.6
        height = sum(heights) + GAP * (len(stack) - 1) + 1.9
        figure = Figure(figsize=(width, height), facecolor="white")
        FigureCanvasAgg(figure)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_xlim(0, width)
        axes.set_ylim(0, height)
        axes.axis("off")
        axes.text(0.3, height - 0.4, title, size=17, color=INK, va="center", parse_math=False)
        axes.text(0.3, height - 0.75, _summary(explanation), size=10, color=FAINT, va="center")
        heads = (("Forward pass", 0.3), ("Expanded Jacobians", 0.3 + left + between))
        for name, x in heads:
            axes.text(x, height - 1.18, name, size=14, color="darkblue", va="center")
        sizes = {f"Layer {one.layer}:": one for one in flow}
        top = height - 1.45
        for number, (box, tall) in enumerate(zip(stack, heights, strict=True)):
            for x, w, colour, operations, columns in (
                (0.3, left, FORWARD, box.forward, lefts),
                (0.3 + left + between, right, BACKWARD, box.backward, rights),
            ):
                if operations:
                    _box(axes, x, top, w, tall, colour)
                    _rows(axes, x + 0.15, top - HEAD, operations, columns, explanation)
            axes.text(0.45, top - 0.2, box.title, size=10, weight="bold", color=INK, va="center")
            if found := sizes.get(box.title.split(":")[0] + ":"):
                for x, said in (
                    (0.3 + left - 0.15, f"rms A {found.activations:.2g}"),
                    (0.3 + left + between + right - 0.15, f"rms dW {found.gradients:.2g}"),
                ):
                    axes.text(x, top - 0.2, said, size=10, color=INK, va="center", ha="right")
            if number + 1 < len(stack):
                _arrow(axes, 0.3 + left / 2, top - tall - GAP, top - tall)
                if box.backward and stack[number + 1].backward:
                    x = 0.3 + left + between + right / 2
                    _arrow(axes, x, top - tall, top - tall - GAP)
            top -= tall + GAP
        is_svg = path.suffix.lower() == ".svg"
        metadata: dict[str, str | None] = {"Title": title}
        if is_svg:
            metadata |= {"Date": None, "Description": description(explanation)}
        with any_letters():
            write_atomically(
                path,
                lambda file: figure.savefig(
                    file, format="svg" if is_svg else "png", dpi=120, metadata=metadata
                ),
            )


def description(explanation: Explanation) -> str:
    """The figure in words: every formula with its shape."""
    return "; ".join(
        f"{one.text}, {one.shapes}" for one in (*explanation.forward, *explanation.backward)
    )


def _summary(explanation: Explanation) -> str:
    forward, backward = (
        sum(one.flops for one in side) for side in (explanation.forward, explanation.backward)
    )
    learned = explanation.model.parameter_count
    return (
        f"{explanation.rows} rows, {explanation.dtype}; {learned:,} parameters "
        f"({short(learned * explanation.itemsize, 'B')}); products: {short(forward)}FLOP forward, "
        f"{short(backward)}FLOP backward; matrices: "
        f"{short(explanation.bytes_of(explanation.forward), 'B')} and "
        f"{short(explanation.bytes_of(explanation.backward), 'B')}"
    )


def _cells(operation: Operation, explanation: Explanation) -> tuple[str, ...]:
    """Formula, shapes, FLOPs and bytes of a step."""
    flops = f"{short(operation.flops)}FLOP" if operation.flops else ""
    return (
        f"${operation.latex}$",
        operation.shapes,
        flops,
        short(operation.size * explanation.itemsize, "B"),
    )


def _columns(rows: Sequence[tuple[str, ...]]) -> list[float]:
    """The width of each column in inches, as wide as its widest cell."""
    from matplotlib.textpath import TextPath

    widths = [0.0] * 4
    for cells in rows:
        for column, cell in enumerate(cells):
            if cell:
                extents = TextPath((0, 0), cell, size=SMALL if column else SIZE).get_extents()
                widths[column] = max(widths[column], extents.width / 72 + 0.3)
    return widths


def _box(axes: "Axes", x: float, top: float, width: float, height: float, colour: str) -> None:
    from matplotlib.patches import FancyBboxPatch

    patch = FancyBboxPatch(
        (x, top - height), width, height, boxstyle="round,pad=0,rounding_size=0.1",
        facecolor=colour, edgecolor="#b9c0d0", linewidth=0.8,
    )  # fmt: skip
    axes.add_patch(patch)


def _rows(
    axes: "Axes",
    x: float,
    top: float,
    operations: Sequence[Operation],
    columns: Sequence[float],
    explanation: Explanation,
) -> None:
    """A line for each operation, its cells in columns."""
    for number, operation in enumerate(operations):
        y, place = top - ROW * (number + 0.5), x
        for column, (cell, width) in enumerate(
            zip(_cells(operation, explanation), columns, strict=True)
        ):
            is_number = column > 1
            axes.text(
                place + (width - 0.1 if is_number else 0.0), y, cell,
                size=SMALL if column else SIZE, color=FAINT if column else INK,
                va="center", ha="right" if is_number else "left",
            )  # fmt: skip
            place += width


def _arrow(axes: "Axes", x: float, start: float, end: float) -> None:
    axes.annotate(
        "", (x, end), (x, start), arrowprops={"arrowstyle": "-|>", "color": FAINT, "lw": 1.2}
    )


def as_latex_document(explanation: Explanation, *, title: str = "") -> str:
    """The two slides as a LaTeX document: a table forward, a table of Jacobians."""
    tables = (
        ("Forward pass", explanation.forward),
        ("Expanded Jacobians", explanation.backward),
    )
    lines = [
        r"\documentclass{article}",
        r"\usepackage[a4paper,landscape,margin=1.5cm]{geometry}",
        r"\usepackage{amsmath,amssymb,longtable}",
        r"\begin{document}",
        rf"\section*{{{tex_text(title or str(explanation.model))}}}",
        tex_text(_summary(explanation)) + ".",
    ]
    for name, operations in tables:
        lines += [
            rf"\subsection*{{{name}}}",
            r"\begin{longtable}{r l l r r}",
            r"layer & matrix & shape & FLOPs & bytes \\ \hline \endhead",
        ]
        lines += [
            rf"{one.layer} & ${one.latex}$ & ${_tex_shapes(one)}$ & "
            rf"{f'{one.flops:,}' if one.flops else ''} & {one.size * explanation.itemsize:,} \\"
            for one in operations
        ]
        lines.append(r"\end{longtable}")
    letters = "; ".join(f"{letter}: {said}" for letter, said in explanation.constants.items())
    lines += [tex_text(letters) + ".", r"\end{document}"]
    return "\n".join(lines) + "\n"


def _tex_shapes(operation: Operation) -> str:
    def real(shape: Shape) -> str:
        sizes = r" \times ".join(map(str, shape)) or "1"
        return rf"\mathbb{{R}}^{{{sizes}}}"

    factors = r" \times ".join(map(real, operation.operands[:2]))
    return rf"{factors} \to {real(operation.shape)}" if factors else real(operation.shape)


TEX: Mapping[str, str] = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "_": r"\_", "&": r"\&", "%": r"\%",
    "$": r"\$", "#": r"\#", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "→": r"$\to$", "λ₁": r"$\lambda_1$", "λ₂": r"$\lambda_2$", "λα": r"$\lambda\alpha$",
    "ε": r"$\epsilon$", "σ": r"$\sigma$", "μ": r"$\mu$", "λ": r"$\lambda$", "δ": r"$\delta$",
    "Φ": r"$\Phi$", "φ": r"$\phi$", "²": "$^2$", "<": r"\textless{}", ">": r"\textgreater{}",
}  # fmt: skip


def tex_text(text: str) -> str:
    """Text that TeX prints as it is; a file's name may hold anything."""
    pattern = "|".join(map(re.escape, sorted(TEX, key=len, reverse=True)))
    return re.sub(pattern, lambda match: TEX[match[0]], text)
