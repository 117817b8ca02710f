"""Two kills in each way of `kills.py`; the long form is run by hand: see benchmarks/records.md."""

import subprocess
import sys
from pathlib import Path

import pytest

KILLS = Path(__file__).with_name("kills.py")


@pytest.mark.extended
def test_killed_runs_go_on_to_the_same_bytes() -> None:
    found = subprocess.run(
        [sys.executable, KILLS, "--kills", "16", "--seed", "0"],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert found.returncode == 0, found.stdout + found.stderr
    *ways, last = found.stdout.splitlines()
    assert len(ways) == 8
    survived, of, total, *_ = last.split()
    assert of == "of"
    assert int(survived) == int(total) >= 16
