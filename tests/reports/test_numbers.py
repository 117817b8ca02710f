"""Numbers as people read them."""

import pytest

from xpmlp.reports.numbers import short


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0"), (7, "7"), (999, "999"), (1000, "1.00 k"), (2_560, "2.56 k"), (210_600, "211 k"),
        (999_600, "1.00 M"), (6_422_528, "6.42 M"), (12_300_000, "12.3 M"), (4.2e9, "4.20 G"),
    ],
)  # fmt: skip
def test_three_digits_and_a_prefix(value: float, shown: str) -> None:
    assert short(value) == shown
    assert short(value, "B") == (f"{shown}B" if " " in shown else f"{shown} B")
