from __future__ import annotations

import math
import random
import statistics

import pytest
from bench.studies.statistics import Share, Spread, percentile, wilson_interval
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("count", "total", "bounds"),
    [
        (81, 263, (0.2553, 0.3662)),  # Newcombe 1998, table I, method 3
        (15, 148, (0.0624, 0.1605)),
        (0, 20, (0.0, 0.1611)),
        (1, 29, (0.0061, 0.1718)),
        (20, 20, (0.8389, 1.0)),
        (0, 0, (0.0, 1.0)),
    ],
)
def test_the_interval_is_that_of_the_published_tables(count: int, total: int, bounds: tuple[float, float]) -> None:
    assert wilson_interval(count, total) == pytest.approx(bounds, abs=5e-5)


def test_the_interval_holds_the_truth_in_about_95_of_100_studies() -> None:
    chance = random.Random(7)
    held = 0
    for _ in range(2000):
        seen = sum(chance.random() < 0.9 for _ in range(60))
        low, high = wilson_interval(seen, 60)
        held += low <= 0.9 <= high
    assert 0.92 <= held / 2000 <= 0.98


@pytest.mark.parametrize(("count", "total"), [(-1, 5), (6, 5)])
def test_what_is_no_share_is_refused(count: int, total: int) -> None:
    with pytest.raises(ValueError, match="no share"):
        wilson_interval(count, total)


@given(st.integers(0, 500), st.integers(0, 500))
def test_the_share_lies_within_its_interval(count: int, more: int) -> None:
    share = Share(count, count + more)
    low, high = share.interval
    assert 0.0 <= low <= high <= 1.0
    assert math.isnan(share.value) or low <= share.value <= high


def test_percentiles_are_those_of_the_textbook() -> None:
    values = [15.0, 20.0, 35.0, 40.0, 50.0]
    assert [percentile(values, share) for share in (0.0, 0.25, 0.4, 0.5, 1.0)] == pytest.approx([15, 20, 29, 35, 50])
    assert percentile([3.0], 0.99) == 3.0


@given(st.lists(st.floats(0, 1000), min_size=2, max_size=50))
def test_percentiles_are_those_of_the_standard_library(values: list[float]) -> None:
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    assert [percentile(values, (place + 1) / 100) for place in range(99)] == pytest.approx(cuts)


@pytest.mark.parametrize(("values", "share"), [([], 0.5), ([1.0], 1.1), ([1.0], -0.1)])
def test_a_percentile_of_nothing_or_beyond_all_is_refused(values: list[float], share: float) -> None:
    with pytest.raises(ValueError, match="percentile"):
        percentile(values, share)


def test_a_spread_of_nothing_is_none() -> None:
    assert Spread.of([]) is None
    spread = Spread.of([3.0, 1.0, 2.0])
    assert spread is not None
    assert (spread.count, spread.p50, spread.p95, spread.p99) == pytest.approx((3, 2.0, 2.9, 2.98))
