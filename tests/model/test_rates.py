"""Token buckets: a rate, a burst, and a table that cannot grow without bound."""

from __future__ import annotations

import pytest

from tunnel.model.rates import RateTable, TokenBucket


def test_a_burst_goes_at_once_and_the_rest_at_the_rate() -> None:
    bucket = TokenBucket(rate=2.0, burst=3.0, now=10.0)
    assert [bucket.take(10.0) for _ in range(4)] == [True, True, True, False]
    assert [bucket.take(10.5), bucket.take(10.5)] == [True, False]


def test_rest_fills_no_more_than_the_burst() -> None:
    bucket = TokenBucket(rate=2.0, burst=3.0, now=0.0)
    assert bucket.left(1e9) == 3.0


def test_what_is_refused_takes_nothing() -> None:
    bucket = TokenBucket(rate=1.0, burst=3.0, now=0.0)
    assert not bucket.take(0.0, 4.0)
    assert bucket.take(0.0, 3.0)
    assert bucket.level == 0.0


def test_a_clock_that_steps_back_gives_nothing() -> None:
    """The time that passes after it would else count twice."""
    bucket = TokenBucket(rate=1.0, burst=5.0, now=10.0)
    assert bucket.take(10.0, 5.0)
    assert bucket.left(0.0) == 0.0
    assert bucket.left(11.0) == pytest.approx(1.0)


def test_keys_do_not_share_a_bucket() -> None:
    table = RateTable(rate=1.0, burst=1.0)
    assert [table.take("one", 0.0), table.take("one", 0.0), table.take("other", 0.0)] == [True, False, True]


def test_of_too_many_keys_the_one_unused_for_longest_is_forgotten() -> None:
    table = RateTable(rate=0.0, burst=1.0, size=2)
    for key in ("first", "second", "first", "third"):  # "second" is now the least recently used
        table.take(key, 0.0)
    assert len(table) == 2
    assert table.left("first", 0.0) == 0.0
    assert table.left("second", 0.0) == 1.0
