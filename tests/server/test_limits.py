"""Rates and slots hold, and their tables have an end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnel.model.rates import RateTable, TokenBucket
from tunnel.server.limits import Slots, source_of


def test_a_bucket_gives_its_burst_at_once_and_its_rate_after_that() -> None:
    bucket = TokenBucket(rate=2.0, burst=3.0, now=100.0)
    assert [bucket.take(100.0) for _ in range(4)] == [True, True, True, False]
    assert [bucket.take(100.5), bucket.take(100.5)] == [True, False]
    assert [bucket.take(1000.0) for _ in range(4)] == [True, True, True, False]


def test_a_clock_that_runs_backwards_gives_nothing() -> None:
    bucket = TokenBucket(rate=1.0, burst=1.0, now=100.0)
    assert bucket.take(100.0)
    assert not bucket.take(50.0)
    assert not bucket.take(100.5)
    assert bucket.take(101.0)


@given(st.lists(st.tuples(st.floats(0.0, 3.0), st.floats(0.0, 20.0)), max_size=60))
def test_a_bucket_never_gives_more_than_burst_and_rate_allow(steps: list[tuple[float, float]]) -> None:
    bucket, now, given_away = TokenBucket(rate=5.0, burst=10.0, now=0.0), 0.0, 0.0
    for wait, amount in steps:
        now += wait
        if bucket.take(now, amount):
            given_away += amount
        assert given_away <= 10.0 + 5.0 * now + 1e-6


def test_each_key_has_a_bucket_of_its_own() -> None:
    table = RateTable(rate=1.0, burst=1.0)
    assert [table.take("a", 0.0), table.take("a", 0.0), table.take("b", 0.0)] == [True, False, True]


def test_a_full_table_forgets_the_key_that_was_unused_for_longest() -> None:
    table = RateTable(rate=1.0, burst=1.0, size=2)
    table.take("old", 0.0)
    table.take("used", 0.0)
    table.take("old", 0.0)
    table.take("new", 0.0)
    assert len(table) == 2
    assert not table.take("old", 0.0), "it was used after `used` was"
    assert table.take("used", 0.0), "it was forgotten"


def test_slots_are_limited_for_all_and_for_each() -> None:
    slots = Slots(total=3, each=2)
    assert [slots.take("a"), slots.take("a"), slots.take("a")] == [True, True, False]
    assert [slots.take("b"), slots.take("c")] == [True, False]
    slots.give_back("a")
    assert slots.take("c")
    assert slots.held == 3


@pytest.mark.parametrize(
    ("host", "source"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
    ],
)
def test_a_source_is_an_ipv4_address_or_an_ipv6_subnet(host: str, source: str) -> None:
    assert source_of(host) == source
