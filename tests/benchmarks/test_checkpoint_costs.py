"""The measurement of checkpoints gives numbers that can be."""

import pytest

from benchmarks import checkpoints

pytestmark = pytest.mark.extended


def test_a_short_measurement(monkeypatch) -> None:
    monkeypatch.setattr(checkpoints, "RUNS", {"lecture": ["lecture", "--epochs", "1"]})
    record = checkpoints.measure_checkpoints(rounds=1)
    found = record["shares"]["lecture"]
    assert found["written"] >= 2
    assert 0.0 < found["checkpoints"] < found["run"]
    assert found["share"] == found["checkpoints"] / found["run"]
    assert len(record["begun"]) == len(record["gone_on"]) == 1
    assert "lecture: " in checkpoints.checkpoint_table(record)
