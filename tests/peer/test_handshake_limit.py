"""Who shakes hands too often waits; whoever does so as honest nodes do, never."""

from __future__ import annotations

from itertools import accumulate

import pytest

from tunnel.model.timings import DEFAULT_TIMINGS
from tunnel.peer.handshake_limit import BUSY_BURST, PEER_BURST, QUIET_BURST, HandshakeLimit


@pytest.fixture
def limit() -> HandshakeLimit:
    return HandshakeLimit()


def test_one_peer_has_a_burst_and_then_a_rate(limit: HandshakeLimit) -> None:
    peer = limit.open_peer()
    taken = [limit.take(peer, 10.0 + number / 100) for number in range(1000)]
    assert PEER_BURST <= sum(taken) <= PEER_BURST + 6
    assert limit.refused == 1000 - sum(taken)


def test_every_try_of_an_honest_peer_is_looked_into_for_hours(limit: HandshakeLimit) -> None:
    """The whole ladder, also where each message comes by two carriers and is whole twice."""
    peer = limit.open_peer()
    steps = (*DEFAULT_TIMINGS.handshake_retries, *[DEFAULT_TIMINGS.handshake_slow_retry] * 1000)
    assert all(limit.take(peer, at) for at in accumulate(steps))


def test_hundreds_of_peers_may_come_back_at_once(limit: HandshakeLimit) -> None:
    assert all(limit.take(limit.open_peer(), 5.0) for _ in range(int(QUIET_BURST)))


def test_peers_without_end_take_no_turn_of_those_that_say_little(limit: HandshakeLimit) -> None:
    hostile = [limit.open_peer() for _ in range(40)]
    for number in range(10_000):
        limit.take(hostile[number % len(hostile)], number / 1000)
    assert limit.take(limit.open_peer(), 10.0)


def test_all_peers_together_have_a_bound(limit: HandshakeLimit) -> None:
    """Keys cost a member nothing."""
    taken = sum(limit.take(limit.open_peer(), 1.0) for _ in range(5000))
    assert taken <= QUIET_BURST + BUSY_BURST
