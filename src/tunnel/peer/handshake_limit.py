"""How many handshake messages are processed: each costs half a millisecond of curves, and any member can send them.

All bounds are checked before anything is computed, and a message that is refused costs its peer nothing. A peer
has two of its own: a rate far above what an honest one needs (six tries in ten seconds, then one each ten), and a
*credit* of two messages, one each 90 seconds. The node has a bucket for each kind of message:

    known   of a peer that has a session, or with which we shake hands ourselves, and that has its whole credit
    first   of any other that has its whole credit: a newcomer, or one that was silent for a while
    again   of a peer with some credit left
    spent   of a peer with none

Keys cost a member nothing, so many keys that each keep within a peer's bounds must not keep a bucket empty. The credit
of all peers that a node knows comes back more slowly than each of the first three fills. What remains: a thousand keys
that all speak at once delay the others by some ten seconds, every 90 seconds.
"""

from __future__ import annotations

from tunnel.model.rates import TokenBucket

PEER_BURST, PEER_RATE = 12.0, 0.5
CREDIT, CREDIT_RATE = 2.0, 1 / 90
KNOWN_BURST, KNOWN_RATE = 400.0, 46.0
FIRST_BURST, FIRST_RATE = 400.0, 46.0
"""Hundreds may come back at once when a node starts again."""
AGAIN_BURST, AGAIN_RATE = 100.0, 46.0
SPENT_BURST, SPENT_RATE = 40.0, 10.0


class PeerAllowance:
    """What one peer may have processed; it should live as long as the node knows the peer."""

    __slots__ = ("credit", "tokens")

    def __init__(self) -> None:
        self.tokens = TokenBucket(PEER_RATE, PEER_BURST, 0.0)
        self.credit = TokenBucket(CREDIT_RATE, CREDIT, 0.0)


class HandshakeLimit:
    """The node's part. Each peer brings an allowance of its own."""

    def __init__(self) -> None:
        self._known = TokenBucket(KNOWN_RATE, KNOWN_BURST, 0.0)
        self._first = TokenBucket(FIRST_RATE, FIRST_BURST, 0.0)
        self._again = TokenBucket(AGAIN_RATE, AGAIN_BURST, 0.0)
        self._spent = TokenBucket(SPENT_RATE, SPENT_BURST, 0.0)
        self.refused = 0
        """Messages of all peers that were refused."""

    def take(self, peer: PeerAllowance, now: float, *, is_known: bool = False) -> bool:
        """Whether one more message of this peer may be processed. `now`: seconds of Trio's clock."""
        is_allowed = peer.tokens.left(now) >= 1.0 and self._bucket(peer, now, is_known).take(now)
        if is_allowed:
            peer.tokens.take(now)
            peer.credit.take(now)
        self.refused += not is_allowed
        return is_allowed

    def take_request(self, peer: PeerAllowance, now: float) -> bool:
        """Whether one more "please begin" is heeded: it costs no curves, and no credit of what follows it."""
        is_allowed = peer.tokens.take(now)
        self.refused += not is_allowed
        return is_allowed

    def _bucket(self, peer: PeerAllowance, now: float, is_known: bool) -> TokenBucket:
        credit = peer.credit.left(now)
        if credit < 1.0:
            return self._spent
        if credit < CREDIT:
            return self._again
        return self._known if is_known else self._first
