"""Statistics of many runs: shares with their uncertainty, and percentiles. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

Z_95 = 1.959963984540054
"""The normal deviate that 95 % of all cases lie within, on both sides."""


@dataclass(frozen=True, slots=True)
class Share:
    """A share of a count, with the interval that contains the true share in 95 % of all studies."""

    count: int
    total: int

    @property
    def value(self) -> float:
        """0 to 1; not a number if there was nothing to count."""
        return self.count / self.total if self.total else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's score interval (Wilson 1927): accurate also near 0 and 1 and for small numbers."""
        return wilson_interval(self.count, self.total)


def wilson_interval(count: int, total: int, z: float = Z_95) -> tuple[float, float]:
    """Bounds of a share of which `count` in `total` were seen. Of nothing: (0, 1). Raises ValueError."""
    if not 0 <= count <= total:
        raise ValueError(f"{count} of {total} is no share")
    if total == 0:
        return 0.0, 1.0
    share, spread = count / total, z * z / total
    middle = (share + spread / 2) / (1 + spread)
    half = z / (1 + spread) * math.sqrt(share * (1 - share) / total + spread / (4 * total))
    return (0.0 if count == 0 else middle - half), (1.0 if count == total else middle + half)


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` (0 to 1) of the values lie, linear between neighbors. Raises ValueError.

    Hyndman and Fan's seventh definition: 0 is the smallest, 1 the largest.
    """
    if not values or not 0.0 <= share <= 1.0:
        raise ValueError("a percentile needs values, and a share from 0 to 1")
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


@dataclass(frozen=True, slots=True)
class Spread:
    """Percentiles of some values."""

    count: int
    p50: float
    p95: float
    p99: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread | None:
        """None where there are no values."""
        if not values:
            return None
        return cls(len(values), percentile(values, 0.5), percentile(values, 0.95), percentile(values, 0.99))
