"""The WebSocket relay: sealed datagrams between two members of one network, by the first 8 bytes of their ids.

    A --[handle of B | datagram]--> server --[handle of A | datagram]--> B

A frame reaches only members of the sender's network. Each sender has a token bucket. A receiver that takes nothing
loses frames in its own queue (`Mailbox.queue_relay` returns False) and slows no other. Drops are counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tunnel.model.rates import TokenBucket
from tunnel.server.presence import Member, Presence

BURST_SECONDS = 0.25
MIN_BURST = 1 << 20
FRAME_COST = 64
"""Bytes that a frame is charged besides its datagram: tiny ones are not free."""
NOBODY_COST = 1024
"""Bytes that a frame is charged in addition when there is no receiver."""
BATCH_COST = 256
"""Bytes that a message of frames is charged before it is read."""


@dataclass(slots=True)
class RelayStatistics:
    """Frames and bytes since the start; bytes are the datagrams'."""

    frames: int = 0
    bytes: int = 0
    dropped_no_receiver: int = 0
    dropped_over_rate: int = 0
    dropped_slow_receiver: int = 0
    dropped_batches: int = 0
    """Whole messages of members over their rate, unread; their frames are not counted elsewhere."""


class Relay:
    """Forwards what members send. One for the whole server."""

    def __init__(self, presence: Presence, rate: float) -> None:
        """`rate`: bytes a second that one node may send through."""
        self._presence = presence
        self._rate = rate
        self.statistics = RelayStatistics()

    def open_allowance(self, now: float) -> TokenBucket:
        """The token bucket of one member. `now`: seconds of any steady clock."""
        return TokenBucket(self._rate, max(MIN_BURST, self._rate * BURST_SECONDS), now)

    def admit_batch(self, sender: Member, now: float) -> bool:
        """Charge a member for a message of frames. False: it is not worth reading, since none of it would pass."""
        if sender.allowance.take(now, BATCH_COST):
            return True
        self.statistics.dropped_batches += 1
        return False

    def forward(self, sender: Member, entries: Sequence[tuple[bytes, bytes]], now: float) -> None:
        """Pass each (receiver's handle, datagram) on under the sender's handle, or drop and count it.

        A sender that is over its rate loses the rest of its entries.
        """
        statistics, allowance = self.statistics, sender.allowance
        receivers = self._presence.handles_of(sender.network)
        own = sender.node.handle
        reached: dict[Member, None] = {}
        for index, (handle, datagram) in enumerate(entries):
            receiver = receivers.get(handle)
            is_lost = receiver is None or receiver is sender
            if not allowance.take(now, len(datagram) + FRAME_COST + (NOBODY_COST if is_lost else 0)):
                statistics.dropped_over_rate += len(entries) - index
                break
            if receiver is None or receiver is sender:
                statistics.dropped_no_receiver += 1
            elif not receiver.mailbox.queue_relay(own, datagram):
                statistics.dropped_slow_receiver += 1
            else:
                statistics.frames += 1
                statistics.bytes += len(datagram)
                reached[receiver] = None
        for receiver in reached:
            receiver.mailbox.flush_relay()
