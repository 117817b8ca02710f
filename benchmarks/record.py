"""Records: what was measured, as JSON."""

import contextlib
import datetime
import itertools
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np


def write_record(record: dict[str, Any], directory: Path, stem: str) -> Path:
    """Write the record as `STEM-<date>.json` and return its path."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{stem}-{datetime.datetime.now(datetime.UTC):%Y-%m-%d}.json"
    path.write_text(json.dumps(record, indent=1, allow_nan=False) + "\n")
    return path


def claim_record(directory: Path, stem: str) -> Path:
    """Create the first of `STEM-<date>-1.json`, `-2`, ... that is not there; return its path."""
    directory.mkdir(parents=True, exist_ok=True)
    today = f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}"
    for number in itertools.count(1):
        path = directory / f"{stem}-{today}-{number}.json"
        with contextlib.suppress(FileExistsError):
            path.touch(exist_ok=False)
            return path
    raise AssertionError("unreachable")


def replace_record(record: Mapping[str, Any], path: Path) -> None:
    """Write a record at once: readers find the old file or the new one, never half a file.

    Non-finite numbers become the texts "nan", "inf" and "-inf", which JSON can hold.
    """
    part = path.with_name(f"{path.name}.part")
    part.write_text(json.dumps(_plain(record), indent=1, allow_nan=False) + "\n")
    part.replace(path)


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if value is None or isinstance(value, bool | int | float | str) else repr(value)


def read_record(path: Path) -> dict[str, Any]:
    """The record in a file; `ValueError` for a file that has none."""
    try:
        record = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: is no record ({error})") from error
    if not isinstance(record, dict):
        raise ValueError(f"{path}: is no record")
    return record


def failures(record: dict[str, Any]) -> list[str]:
    """Who was wrong or failed, and why; those who are not installed have done nothing wrong."""
    return [
        f"{row['name']} ({row['device']} {row['precision']}) {row['status']}: {row['cause']}"
        for row in record["rows"]
        if row["status"] in ("WRONG", "failed")
    ]
