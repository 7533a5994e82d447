"""A peer that shakes hands too often waits; one that keeps to the honest ladder never does."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import accumulate

import pytest

from tunnel.model.timings import DEFAULT_TIMINGS
from tunnel.node.peer_table import MAX_PEERS
from tunnel.peer.handshake_limit import (
    AGAIN_BURST,
    AGAIN_RATE,
    CREDIT_RATE,
    FIRST_BURST,
    FIRST_RATE,
    KNOWN_BURST,
    KNOWN_RATE,
    PEER_BURST,
    SPENT_BURST,
    HandshakeLimit,
    PeerAllowance,
)

KEYS = 1000
"""About as many nodes as a server lets into one network."""


@pytest.fixture
def limit() -> HandshakeLimit:
    return HandshakeLimit()


def test_one_peer_has_a_burst_and_then_a_rate(limit: HandshakeLimit) -> None:
    peer = PeerAllowance()
    taken = [limit.take(peer, 10.0 + number / 100) for number in range(1000)]
    assert PEER_BURST <= sum(taken) <= PEER_BURST + 6
    assert limit.refused == 1000 - sum(taken)


def test_every_try_of_an_honest_peer_is_looked_into_for_hours(limit: HandshakeLimit) -> None:
    """The whole ladder, also where each message arrives by two ways and is whole twice."""
    peer = PeerAllowance()
    steps = (*DEFAULT_TIMINGS.handshake_retries, *[DEFAULT_TIMINGS.handshake_slow_retry] * 1000)
    assert all(limit.take(peer, at) for at in accumulate(steps))


def test_hundreds_of_peers_may_come_back_at_once(limit: HandshakeLimit) -> None:
    assert all(limit.take(PeerAllowance(), 5.0) for _ in range(int(FIRST_BURST)))


@dataclass
class Crowd:
    """Many keys of one member; each has a message every other second, which is what one peer may for ever."""

    limit: HandshakeLimit
    is_known: bool = False
    now: float = 0.0
    keys: list[PeerAllowance] = field(default_factory=lambda: [PeerAllowance() for _ in range(KEYS)])

    def begin_handshakes(self, seconds: float) -> None:
        """All of them in turn; honest peers speak in between."""
        end = self.now + seconds
        while self.now < end:
            for number, key in enumerate(self.keys):
                self.limit.take(key, self.now + 2.0 * number / KEYS, is_known=self.is_known)
            self.now += 2.0


def test_many_keys_hold_no_newcomer_up(limit: HandshakeLimit) -> None:
    """For the first seconds the newcomers stand among as many new keys; from then on those have used their turn."""
    crowd = Crowd(limit)
    crowd.begin_handshakes(20.0)
    for _ in range(100):
        crowd.begin_handshakes(2.0)
        assert limit.take(PeerAllowance(), crowd.now)


def test_many_keys_hold_a_second_try_up_for_some_seconds_at_most(limit: HandshakeLimit) -> None:
    """The answer to the first may be lost: the ladder of tries goes on."""
    crowd = Crowd(limit)
    crowd.begin_handshakes(180.0)
    for _ in range(10):
        crowd.begin_handshakes(10.0)
        honest, began = PeerAllowance(), crowd.now
        assert limit.take(honest, crowd.now)
        while not limit.take(honest, crowd.now):
            crowd.begin_handshakes(2.0)
        assert crowd.now - began < 30.0


@pytest.mark.parametrize("have_sessions", [False, True])
def test_many_keys_hold_up_no_new_keys_of_a_session(limit: HandshakeLimit, have_sessions: bool) -> None:
    """They may have sessions as well. Where each is renewed every two minutes, old keys must not run out."""
    crowd = Crowd(limit, is_known=have_sessions)
    crowd.begin_handshakes(180.0)
    known = [PeerAllowance() for _ in range(100)]
    for _ in range(4):
        crowd.begin_handshakes(DEFAULT_TIMINGS.rekey_after)
        began, waiting = crowd.now, known
        while waiting := [peer for peer in waiting if not limit.take(peer, crowd.now, is_known=True)]:
            crowd.begin_handshakes(2.0)
        assert crowd.now - began < 30.0


def test_the_credit_of_all_peers_comes_back_more_slowly_than_the_buckets_fill() -> None:
    """Else as many keys as a node knows peers would keep them empty for ever."""
    assert min(KNOWN_RATE, FIRST_RATE, AGAIN_RATE) > MAX_PEERS * CREDIT_RATE


def test_a_message_that_the_node_has_no_turn_for_costs_its_peer_nothing(limit: HandshakeLimit) -> None:
    crowd = [PeerAllowance() for _ in range(int(FIRST_BURST))]
    assert all(limit.take(peer, 5.0) for peer in crowd)
    honest = PeerAllowance()
    assert not any(limit.take(honest, 5.0) for _ in range(100))
    assert all(limit.take(honest, 6.0) for _ in range(int(PEER_BURST)))


def test_requests_to_begin_take_no_credit_from_the_answers_that_follow(limit: HandshakeLimit) -> None:
    """A request is answered with a first message; the second one must be processed even among many keys."""
    crowd = Crowd(limit)
    crowd.begin_handshakes(180.0)
    honest = PeerAllowance()
    assert all(limit.take_request(honest, crowd.now) for _ in range(4))
    assert limit.take(honest, crowd.now)


def test_all_peers_together_have_a_bound(limit: HandshakeLimit) -> None:
    """Keys cost a member nothing."""
    peers = [PeerAllowance() for _ in range(5000)]
    taken = sum(
        limit.take(peer, 1.0, is_known=is_known) for _ in range(20) for is_known in (False, True) for peer in peers
    )
    assert taken <= FIRST_BURST + AGAIN_BURST + KNOWN_BURST + SPENT_BURST
