"""Keeps the tunnel from running through itself: an overlay inside the tunnel must not become one of its paths.

    our datagram -> overlay (VXLAN, another VPN) -> our TUN interface -> sealed again -> our datagram -> ...

Two observations (docs/design/no-way-through-itself.md). A packet from our interface that ends in the same bytes as a
datagram that we sent a moment ago is that datagram, wrapped: it is dropped. An overlay that encrypts hides this. But a
probe that travels inside the tunnel cannot be answered before the tunnel has carried as many bytes as it has. So an
answer proves a path only if less was carried meanwhile. If applications always send, `hush` delays them for a moment.

A record leaves in up to 64 datagrams; the end of the last is remembered, which comes back last. The first that comes
back makes an alert: for a while the ends of all are remembered, and what is read is looked at packet by packet.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import trio

from tunnel.model.buffers import Buffer
from tunnel.model.rates import TokenBucket

log = logging.getLogger(__name__)

TAIL = 16
"""The last bytes of a datagram: its seal's tag, or a STUN transaction. A wrapper in the clear ends with them."""
GENERATION = 512
"""Datagrams in a generation; the current one and the one before are remembered."""
ALERT = 10.0
"""Seconds for which all datagrams are remembered after one came back."""
GAP = 10.0
"""After a hush, applications may send for at least this many times its length."""
HUSH_SHARE, HUSH_BURST = 0.02, 6.0
"""The share of the time, and the seconds at once, that applications may be kept waiting for all peers together."""
_KEPT = HUSH_BURST / 2
"""Seconds reserved for peers that somebody here sends to."""


class LoopGuard:
    """One for each node. Senders tell it what they send, the TUN plane what it read."""

    def __init__(self) -> None:
        self.carried = 0
        """Bytes of the packets that the tunnel took from its interface."""
        self.looped = 0
        """How many of our datagrams came back as packets from the interface."""
        self._recent: set[bytes] = set()
        self._older: set[bytes] = set()
        self._alert_until = float("-inf")
        self._hushed_until = self._free_from = float("-inf")
        self._hushes = TokenBucket(HUSH_SHARE, HUSH_BURST, 0.0)

    @property
    def is_alert(self) -> bool:
        """Whether a datagram of ours came back not long ago."""
        return trio.current_time() < self._alert_until

    def note_sent(self, datagram: Buffer) -> None:
        """This datagram goes into the outer network."""
        self._remember([bytes(datagram[-TAIL:])])

    def note_record(self, sealed: memoryview, piece: int) -> None:
        """The fragments of a record do, each with `piece` bytes of it but the last."""
        if self._alert_until != float("-inf") and self.is_alert:
            ends = (*range(piece, len(sealed), piece), len(sealed))
            self._remember([bytes(sealed[max(0, end - TAIL) : end]) for end in ends])
        else:
            end = len(sealed)
            if 0 < end % piece < TAIL:
                end -= end % piece  # the last fragment ends in part of its header and those few bytes
            self._recent.add(bytes(sealed[end - TAIL : end]))
            if len(self._recent) >= GENERATION:
                self._older, self._recent = self._recent, set()

    def take(self, frame: Buffer) -> bool:
        """Count a frame from the interface. False: it is one of our own datagrams, wrapped."""
        tail = bytes(frame[-TAIL:])
        if tail in self._recent or tail in self._older:
            self.looped += 1
            self._alert_until = trio.current_time() + ALERT
            if self.looped & (self.looped - 1) == 0:
                log.warning(
                    "packets that end like one of our own datagrams are dropped: an overlay runs in the tunnel, "
                    "or a peer had a program here send that back times=%d",
                    self.looped,
                )
            return False
        self.carried += len(frame)
        return True

    def _remember(self, tails: Sequence[bytes]) -> None:
        if len(self._recent) >= GENERATION:
            self._older, self._recent = self._recent, set()
        self._recent.update(tails)

    def hush(self, seconds: float, *, is_wanted: bool = True) -> bool:
        """Keep packets of applications out of the tunnel for `seconds`. False: they have waited enough already.

        A member may make any number of keys, so all peers share one bound. `is_wanted`: we send to this one.
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

    @property
    def is_hushed(self) -> bool:
        """Whether applications may not send now."""
        return trio.current_time() < self._hushed_until

    async def wait_audible(self) -> None:
        """Return when applications may send: at once, unless there is a hush."""
        if self.is_hushed:
            await trio.sleep_until(self._hushed_until)
