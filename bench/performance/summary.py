"""Numbers out of numbers: medians, ratios, Jain's index, times out of a series. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from bench.performance.results import Results


def median_of(results: Results, peer: str, figure: str, value: str) -> float | None:
    """The median of a value over the rounds; None if it was not measured."""
    values = results.values(peer, figure, value)
    return median(values) if values else None


def ratio_of(results: Results, peer: str, base: str, figure: str, value: str) -> float | None:
    """The median of a peer through the median of another; None if one of them is missing or zero."""
    one, other = median_of(results, peer, figure, value), median_of(results, base, figure, value)
    return None if one is None or not other else one / other


def jain_index(shares: Sequence[float]) -> float:
    """How fair some shares are (Jain, Chiu, Hawe 1984): 1 if all are equal, 1/n if one has everything.

    Raises ValueError if there are none.
    """
    if not shares:
        raise ValueError("no shares")
    squares = sum(share * share for share in shares)
    return sum(shares) ** 2 / (len(shares) * squares) if squares else 0.0


def first_reaching(series: Sequence[tuple[float, float]], level: float) -> float | None:
    """The end of the first interval of a series (end in seconds, value) that reaches a level; None if none does."""
    return next((end for end, value in series if value >= level), None)
