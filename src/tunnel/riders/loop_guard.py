"""Keeps the tunnel from running through itself: an overlay whose packets ride in it must not become one of its ways.

    our datagram -> overlay (VXLAN, another VPN) -> our TUN interface -> sealed again -> our datagram -> ...

Two observations (docs/design/no-way-through-itself.md). What comes out of our interface and ends as a datagram that we
sent a moment ago is that datagram, wrapped: it is dropped. An overlay that encrypts hides that; but a question that
rides in the tunnel cannot be answered before the tunnel has carried at least as many bytes as it has. So an answer
proves a way only if less was carried meanwhile; where applications always send, `hush` keeps them waiting for a moment.
"""

from __future__ import annotations

import logging

import trio

from tunnel.model.rates import TokenBucket

log = logging.getLogger(__name__)

TAIL = 16
"""The last bytes of a datagram: its seal's tag, or a STUN transaction. Whoever wraps it in clear ends with them."""
GENERATION = 512
"""Datagrams; those of this generation and of the one before are known."""
GAP = 10.0
"""After a hush applications are heard for so many times its length, at least."""
HUSH_SHARE, HUSH_BURST = 0.02, 6.0
"""For how much of the time, and for how many seconds at once, they wait for all peers together."""
_KEPT = HUSH_BURST / 2
"""What peers to which nobody here sends leave to the others."""


class LoopGuard:
    """One a node. The way out tells it what it sends, the TUN plane what it read."""

    def __init__(self) -> None:
        self.carried = 0
        """Bytes of packets that the tunnel took from its interface."""
        self.looped = 0
        """Datagrams of ours that came back as packets of applications."""
        self._recent: set[bytes] = set()
        self._older: set[bytes] = set()
        self._hushed_until = self._free_from = float("-inf")
        self._hushes = TokenBucket(HUSH_SHARE, HUSH_BURST, 0.0)

    def note_sent(self, datagram: bytes) -> None:
        """We send this into the outer network."""
        if len(self._recent) >= GENERATION:
            self._older, self._recent = self._recent, set()
        self._recent.add(datagram[-TAIL:])

    def take(self, packet: bytes) -> bool:
        """An application sends this packet into the tunnel. False: it is a datagram of ours, wrapped."""
        tail = packet[-TAIL:]
        if tail in self._recent or tail in self._older:
            self.looped += 1
            if self.looped & (self.looped - 1) == 0:
                log.warning(
                    "packets that end as a datagram of ours did are dropped: an overlay rides in the tunnel, "
                    "or a peer had a program here send that back times=%d",
                    self.looped,
                )
            return False
        self.carried += len(packet)
        return True

    def hush(self, seconds: float, *, is_wanted: bool = True) -> bool:
        """Let no packet of applications into the tunnel for so long. False: it was quiet too much already.

        Keys cost a member nothing, so all peers share one bound; `is_wanted`: somebody here sends to this one.
        """
        now = trio.current_time()
        if now < self._hushed_until:
            return self._hushed_until - now >= seconds
        if now < self._free_from or self._hushes.left(now) - seconds < (0.0 if is_wanted else _KEPT):
            return False
        self._hushes.take(now, seconds)
        self._hushed_until = now + seconds
        self._free_from = self._hushed_until + GAP * seconds
        return True

    async def wait_audible(self) -> None:
        """Until applications may be heard again: at once, unless it is hushed."""
        if trio.current_time() < self._hushed_until:
            await trio.sleep_until(self._hushed_until)
