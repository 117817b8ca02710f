"""Numbers as people read them."""

import math

PREFIXES = ("", "k", "M", "G", "T", "P")


def short(value: float, unit: str = "") -> str:
    """Three digits and a prefix of thousands: `6.42 M`, `200 kB`; below 1,000 as it is."""
    power = min(int(math.log10(value) // 3), len(PREFIXES) - 1) if value >= 1000 else 0
    scaled = value / 1000**power
    if power and round(scaled, 2 - int(math.log10(scaled))) >= 1000 and power < len(PREFIXES) - 1:
        power, scaled = power + 1, scaled / 1000
    digits = max(0, 2 - int(math.log10(scaled))) if power else 0
    return f"{scaled:.{digits}f} {PREFIXES[power]}{unit}".strip()
