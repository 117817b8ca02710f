"""`xpmlp data`."""

import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from xpmlp.cli.console import echo, print_table, say_verbatim
from xpmlp.cli.next_command import echo_next
from xpmlp.cli.options import JsonOption
from xpmlp.data import Column, class_count, load_data
from xpmlp.data.hints import hints
from xpmlp.data.schema import Reading, Schema
from xpmlp.data.table_files import has_tables
from xpmlp.data.tables import fit_table, table_files_of

SHOWN_COLUMNS, SHOWN_CLASSES, SHOWN_CATEGORIES = 40, 20, 4


def data(
    source: Annotated[str, typer.Argument(metavar="DATA", help="A data set's name or path.")],
    target: Annotated[
        str, typer.Option(metavar="COLUMN", help="The column to predict, or several: a,b.")
    ] = "",
    drop: Annotated[str, typer.Option(metavar="COLUMN", help="Columns to leave out: a,b.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Show what a data set is: columns, their kinds, missing values, target and classes.

    Example: xpmlp data penguins.csv --target species
    """
    dropped = tuple(name.strip() for name in drop.split(",")) if drop else ()
    reading = Reading(target, dropped, holds_out=False, scaling="robust")
    facts = _of_table(source, reading) if has_tables(Path(source)) else _of_arrays(source)
    if as_json:
        say_verbatim(json.dumps(facts))
        return
    shape = " x ".join(map(str, facts["shape"]))
    echo(f"{source}: {facts['rows']:,} rows of {shape} values", style="bold")
    if columns := facts["columns"]:
        cells = [(one["name"], one["kind"], f"{one['missing']:,}", one["about"]) for one in columns]
        print_table(("column", "kind", "missing", "about"), cells[:SHOWN_COLUMNS], left=4)
        _echo_more(len(cells) - SHOWN_COLUMNS)
        echo(f"Target: column {facts['target']!r}, {facts['reason']}; --target chooses another")
    if classes := facts["classes"]:
        echo(f"{len(classes)} classes:")
        for name, count in list(classes.items())[:SHOWN_CLASSES]:
            echo(f"  {name}: {count:,} rows, {count / sum(classes.values()):.1%}")
        _echo_more(len(classes) - SHOWN_CLASSES)
    else:
        echo(f"Targets are numbers, {facts['lowest']:g} to {facts['highest']:g}")
    for hint in facts["hints"]:
        echo(f"Hint: {hint}")
    words = [("--target", target), ("--drop", drop)]
    options = [word for option, value in words if value for word in (option, value)]
    echo_next("xpmlp", "train", "--data", source, *options)


def _echo_more(count: int) -> None:
    if count > 0:
        echo(f"  and {count:,} more (--json has all)")


def _of_table(source: str, reading: Reading) -> dict[str, Any]:
    """What is known of a table; its rows are read, and not kept."""
    path = Path(source)
    found = fit_table(source, table_files_of(path) if path.is_dir() else [path], reading)
    missing = {} if found.fit is None else found.fit.missing
    columns = [
        {"name": one.name, "kind": one.kind, "missing": missing[one.name], "about": _about(one)}
        for one in found.schema.columns
    ]
    labels = np.concatenate([one.values for one in found.labels])
    return {
        "rows": sum(len(one.is_present) for one in found.labels),
        "shape": [len(found.schema.encoded_names)],
        "columns": columns,
        "target": found.schema.target,
        "reason": found.reason,
        **_of_labels(labels, found.schema),
        "hints": hints(found.labels[0].values, found.schema, *found.sample),
    }


def _of_arrays(source: str) -> dict[str, Any]:
    """What is known of images and other rows without columns."""
    dataset = load_data(source)
    labels = np.concatenate([dataset.train.labels, dataset.test.labels])
    nothing = np.empty((0, 0)), np.empty(0, np.int64)
    return {
        "rows": len(labels),
        "shape": list(dataset.image_shape),
        "columns": [],
        **_of_labels(labels, dataset.schema),
        "hints": hints(dataset.train.labels, dataset.schema, *nothing),
    }


def _of_labels(labels: np.ndarray, schema: Schema) -> dict[str, Any]:
    """The classes with the number of rows, or the range of numbers."""
    found: dict[str, Any] = {"lowest": float(labels.min()), "highest": float(labels.max())}
    if class_count(labels, schema) is None:
        return {"classes": {}, **found}
    numbers, counts = np.unique(labels, return_counts=True)
    names = [str(schema.class_name(number)) for number in numbers.tolist()]
    return {"classes": dict(zip(names, counts.tolist(), strict=True)), **found}


def _about(column: Column) -> str:
    """What a column's values are like, in a few words."""
    if column.kind == "category":
        shown = ", ".join(one[:40] for one in column.categories[:SHOWN_CATEGORIES])
        more = len(column.categories) - SHOWN_CATEGORIES
        return shown + (f" and {more:,} more" if more > 0 else "")
    if column.kind == "date":
        return f"from {np.datetime64(column.first_day, 'D')}"
    return f"median {column.medians[0]:g}" if column.medians else ""
