"""How many handshake messages are looked into: each costs half a millisecond of curves, and any member can make them.

Two bounds, both asked before anything is computed. A peer has its own, far above what an honest one needs: six tries in
ten seconds, then one each ten. The node has two for all peers together, one for those that have said little lately and
one for the others: who shakes hands without end takes no turn but that of his like.
"""

from __future__ import annotations

from tunnel.model.rates import TokenBucket

PEER_BURST, PEER_RATE = 12.0, 0.5
QUIET_BURST, QUIET_RATE = 400.0, 80.0
"""Of peers that have more than half of their burst: hundreds may come back at once when a node starts again."""
BUSY_BURST, BUSY_RATE = 40.0, 20.0


class HandshakeLimit:
    """The node's part. Each peer brings a bucket of its own, which `open_peer` makes."""

    def __init__(self) -> None:
        self._quiet = TokenBucket(QUIET_RATE, QUIET_BURST, 0.0)
        self._busy = TokenBucket(BUSY_RATE, BUSY_BURST, 0.0)
        self.refused = 0
        """Messages that were not looked into, of all peers."""

    @staticmethod
    def open_peer() -> TokenBucket:
        """What one peer may have looked into."""
        return TokenBucket(PEER_RATE, PEER_BURST, 0.0)

    def take(self, peer: TokenBucket, now: float) -> bool:
        """Whether one more message of this peer is looked into. `now`: seconds of Trio's clock."""
        is_allowed = peer.take(now) and (self._quiet if peer.level > PEER_BURST / 2 else self._busy).take(now)
        self.refused += not is_allowed
        return is_allowed
