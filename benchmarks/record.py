"""Records: what was measured, as JSON."""

import datetime
import json
from pathlib import Path
from typing import Any


def write_record(record: dict[str, Any], directory: Path, stem: str) -> Path:
    """Write the record as `STEM-<date>.json` and return its path."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{stem}-{datetime.datetime.now(datetime.UTC):%Y-%m-%d}.json"
    path.write_text(json.dumps(record, indent=1, allow_nan=False) + "\n")
    return path


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
