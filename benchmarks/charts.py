"""The README's charts, drawn from records alone.

    step-time.png   a bar for each competitor's step, and a line at the bare matrix products
    scaling.png     a step's time against width, depth, batch and members

Colours are Okabe and Ito's, which people tell apart whatever their colour vision; lines have
markers of their own as well.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.competitors.competitor import CEILING, PRODUCTS

BLUE, ORANGE, GREEN, PURPLE, BLACK, GREY = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#B3B3B3",
)  # fmt: skip

LINES = {
    "xpmlp numpy": (BLUE, "o", "-"),
    "xpmlp cupy": (BLUE, "o", "-"),
    "xpmlp jax": (GREEN, "s", "-"),
    "JAX scan": (PURPLE, "D", "-"),
    "PyTorch eager": (ORANGE, "^", "-"),
    PRODUCTS: (BLACK, "", "--"),
}
"""Colour, marker and style of each line of the scaling chart."""

STYLE: Any = {
    "font.size": 11.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "figure.dpi": 100,
    "savefig.dpi": 150,
    "savefig.facecolor": "white",
}


def draw(records: Sequence[Mapping[str, Any]], directory: Path) -> list[Path]:
    """Draw the chart of each record that has one, and return the figures' paths.

    Raises `ValueError` for a record of which there is no chart.
    """
    paths = []
    for record in records:
        if "sweeps" in record:
            path, picture = directory / "scaling.png", draw_scaling
        elif "warm_up_steps" in record and "busy_processes" not in record:
            path, picture = directory / "step-time.png", draw_step_time
        else:
            raise ValueError("there are charts of training and of scaling: give such a record")
        directory.mkdir(parents=True, exist_ok=True)
        picture(record, path)
        paths.append(path)
    return paths


def draw_step_time(record: Mapping[str, Any], path: Path) -> None:
    """A horizontal bar for each float32 median, quickest on top, whiskers at the quartiles."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    timed = [
        row for row in record["rows"] if row["median"] is not None and row["precision"] == "float32"
    ]
    bars = sorted(
        (row for row in timed if row["name"] not in (PRODUCTS, CEILING)),
        key=lambda row: -row["median"],
    )
    products = [
        ("NumPy" if row["device"] == "cpu" else "CuPy", row["median"])
        for row in timed
        if row["name"] == PRODUCTS
    ]
    scale, unit = (1.0, "µs") if max(row["median"] for row in timed) < 10_000 else (1e-3, "ms")
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.0, 1.6 + 0.36 * len(bars)), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        medians = [row["median"] * scale for row in bars]
        axes.barh(
            [label(row, bars) for row in bars],
            medians,
            height=0.66,
            color=[BLUE if row["name"].startswith("xpmlp") else GREY for row in bars],
            xerr=[
                [(row["median"] - _quartiles(row)[0]) * scale for row in bars],
                [(_quartiles(row)[1] - row["median"]) * scale for row in bars],
            ],
            error_kw={"ecolor": BLACK, "elinewidth": 1.0, "capsize": 2.5, "capthick": 1.0},
        )
        right = max(_quartiles(row)[1] for row in bars) * scale
        for place, (row, median) in enumerate(zip(bars, medians, strict=True)):
            digits = 0 if median >= 100 else 1
            axes.text(
                _quartiles(row)[1] * scale + 0.015 * right, place, f"{median:.{digits}f}",
                va="center", fontsize=10,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0},
            )  # fmt: skip
        for library, median in products:
            axes.axvline(median * scale, color=BLACK, linestyle="--", linewidth=1.2, zorder=0)
            axes.annotate(
                f"the matrix products alone, in {library}",
                (median * scale, 1.0), xycoords=("data", "axes fraction"),
                xytext=(4, 3), textcoords="offset points", fontsize=10,
            )  # fmt: skip
        axes.set_xlim(0.0, right * 1.1)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel(f"{unit} per training step: median of {record['rounds']} rounds, quartiles")
        figure.suptitle(title(record), x=0.01, ha="left", fontsize=12)
        figure.savefig(path)


def draw_scaling(record: Mapping[str, Any], path: Path) -> None:
    """A panel for each sweep, both axes logarithmic, the same scale of time in all."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, NullLocator

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9.0, 6.6), layout="constrained")
        FigureCanvasAgg(figure)
        panels = figure.subplots(2, 2, sharey=True).flat
        for axes, sweep in zip(panels, record["sweeps"], strict=False):
            for name, values, medians in series(sweep):
                colour, marker, style = LINES[name]
                axes.plot(
                    values, medians, color=colour, marker=marker, linestyle=style,
                    linewidth=1.6, markersize=5, label=in_words(name),
                )  # fmt: skip
            axes.set_xscale("log", base=2)
            axes.set_yscale("log")
            shown = [point["value"] for point in sweep["points"]]
            axes.set_xticks(shown, [f"{value:,}" for value in shown])
            axes.xaxis.set_minor_locator(NullLocator())
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: duration(value)))
            axes.grid(axis="y", color="#E5E5E5", linewidth=0.8)
            axes.set_title(sweep["quantity"], loc="left", fontsize=12, fontweight="bold")
            axes.set_xlabel(sweep["network"])
        figure.supylabel("time per training step", fontsize=11)
        handles, names = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=len(names), frameon=False)
        where = "one GPU" if record["device"] == "cuda" else cores(record["threads"])
        figure.suptitle(f"Cost of a step as the problem grows: float32, {where}", fontsize=12)
        figure.savefig(path)


def series(sweep: Mapping[str, Any]) -> list[tuple[str, list[int], list[float]]]:
    """(name, values, medians in microseconds) of each line; without those never timed."""
    found = []
    for name in LINES:
        points = [
            (point["value"], row["median"])
            for point in sweep["points"]
            for row in point["rows"]
            if row["name"] == name and row["median"] is not None
        ]
        if points:
            values, medians = zip(*points, strict=True)
            found.append((name, list(values), list(medians)))
    return found


def title(record: Mapping[str, Any]) -> str:
    """The network and what it ran on."""
    problem = record["problem"]
    network = "-".join(map(str, problem["layer_sizes"]))
    devices = {row["device"] for row in record["rows"] if row["status"] == "timed"}
    where = cores(record["threads"]) if devices == {"cpu"} else "GPU"
    if len(devices) > 1:
        where = f"GPU, and {cores(record['threads'])}"
    return f"A training step of {network}, batch {problem['batch_size']}, float32, {where}"


def cores(threads: Mapping[str, Any]) -> str:
    """How much of the processor took part."""
    count = threads["requested"] or threads["schedulable_cores"]
    return "one CPU core" if count == 1 else f"{count} CPU cores"


def label(row: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> str:
    """The competitor's name in words, and the device where the chart has more than one."""
    several = len({other["device"] for other in rows}) > 1
    return in_words(row["name"]) + (f" ({row['device']})" if several else "")


def in_words(name: str) -> str:
    """A competitor's name for readers."""
    libraries = {"numpy": "NumPy", "cupy": "CuPy", "jax": "JAX", "torch": "PyTorch"}
    if name == "lecture":
        return "the lecture's program"
    first, *others = name.split()
    if first == "xpmlp":
        return " ".join(["xpmlp on", *(libraries.get(word, word) for word in others)])
    return name


def duration(microseconds: float) -> str:
    """A round time in its own unit: 100 µs, 10 ms, 1 s."""
    for size, unit in ((1e6, "s"), (1e3, "ms")):
        if microseconds >= size:
            return f"{microseconds / size:g} {unit}"
    return f"{microseconds:g} µs"


def _quartiles(row: Mapping[str, Any]) -> Sequence[float]:
    """Those of the row; its median twice where there was one round."""
    return row.get("quartiles") or (row["median"], row["median"])
