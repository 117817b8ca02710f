"""How values look at a prompt and in a notebook: short, whatever they hold."""

import dataclasses
import html
import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np

LONGEST_REPR, LONGEST_VALUE = 400, 60
"""Characters of a repr, and of one value in it."""

WIDTH, HEIGHT = 320, 96
"""Pixels of a curve."""


def shortened(text: str, longest: int = LONGEST_REPR) -> str:
    """Return the text, its middle left out if it is longer than this."""
    if len(text) <= longest:
        return text
    half = (longest - 5) // 2
    return f"{text[:half]} ... {text[-half:]}"


def brief(value: object) -> str:
    """Return a value in a few words; of an array its dtype and shape."""
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        return f"{value.dtype} {tuple(value.shape)}"
    text = repr(value)
    if dataclasses.is_dataclass(value):
        return text
    if len(text) > LONGEST_VALUE and isinstance(value, (list, tuple, dict)):
        return f"{len(value):,} values" if not hasattr(value, "_fields") else type(value).__name__
    return shortened(text, LONGEST_VALUE)


def print_line(console: Any, text: str, *, style: str | None = None) -> None:
    """Print a line by rich: a terminal wraps it between words, a pipe and a file keep it whole."""
    if console.is_terminal:
        text = textwrap.fill(text, console.width, break_long_words=False, break_on_hyphens=False)
    console.print(text, style=style, markup=False, soft_wrap=True)


def print_row(console: Any, text: str) -> None:
    """Print a row by rich: a terminal cuts it at its edge, a pipe and a file keep it whole."""
    is_cut = console.is_terminal
    overflow = "ellipsis" if is_cut else "ignore"
    console.print(
        text, markup=False, no_wrap=True, overflow=overflow, crop=is_cut, soft_wrap=not is_cut
    )


class TextTable(str):
    """Text that a prompt and a notebook show as it is printed."""

    __slots__ = ()
    __repr__ = str.__str__


def short_repr(value: Any) -> str:
    """Return the fields of a named tuple, or those of a dataclass that are not at their default."""
    if hasattr(value, "_fields"):
        names = list(value._fields)
    else:
        names = [one.name for one in dataclasses.fields(value) if not _is_default(value, one)]
    shown = ", ".join(f"{name}={brief(getattr(value, name))}" for name in names)
    return shortened(f"{type(value).__name__}({shown})")


def _is_default(value: Any, field: Any) -> bool:
    own, default = getattr(value, field.name), field.default
    if field.default_factory is not dataclasses.MISSING:
        default = field.default_factory()
    return repr(own) == repr(default)


def as_html(facts: Mapping[str, object], curve: np.ndarray | None = None) -> str:
    """Return a table of facts, below the curve of a series (n,) or (n, E) if there is one."""
    cells = "".join(
        f"<tr><th>{html.escape(name)}</th><td>{html.escape(str(value))}</td></tr>"
        for name, value in facts.items()
    )
    return f"{'' if curve is None else _curve(curve)}<table>{cells}</table>"


def _curve(series: np.ndarray) -> str:
    """Return a line through the means of `WIDTH` parts of a series, as SVG."""
    heights = np.asarray(series, np.float64).reshape(len(series), -1).mean(axis=1)
    heights = heights[np.isfinite(heights)]
    if len(heights) < 2:
        return ""
    parts = np.array_split(heights, min(WIDTH, len(heights)))
    means = np.array([part.mean() for part in parts])
    x = np.linspace(2, WIDTH - 2, len(means))
    span = float(np.ptp(means)) or 1.0
    y = HEIGHT - 2 - (means - means.min()) / span * (HEIGHT - 4)
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
    said = f"{len(series):,} values, from {means[0]:.4g} to {means[-1]:.4g}"
    return (
        f'<svg width="{WIDTH}" height="{HEIGHT}" role="img" aria-label="{said}">'
        f'<polyline points="{points}" fill="none" stroke="currentColor"/></svg>'
    )
