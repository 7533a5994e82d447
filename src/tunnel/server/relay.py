"""The WebSocket relay: sealed datagrams between two members of one network, by the first 8 bytes of their ids.

    A --[handle of B | datagram]--> server --[handle of A | datagram]--> B

A frame finds its receiver in the sender's own network only. Each sender has a token bucket; a receiver that takes
nothing loses frames in its own queue (`Mailbox.send_relay` says False) and slows nobody else. Drops are counted.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tunnel.model.rates import TokenBucket
from tunnel.server.presence import Member, Presence

BURST_SECONDS = 0.25
MIN_BURST = 1 << 20
FRAME_COST = 64
"""Bytes that a frame is charged beside its datagram: tiny ones are not free."""


@dataclass(slots=True)
class RelayStatistics:
    """Frames and bytes since the start; bytes are the datagrams'."""

    frames: int = 0
    bytes: int = 0
    dropped_no_receiver: int = 0
    dropped_over_rate: int = 0
    dropped_slow_receiver: int = 0


class Relay:
    """Forwards what members send. One for the whole server."""

    def __init__(self, presence: Presence, rate: float) -> None:
        """`rate`: bytes a second that one node may send through."""
        self._presence = presence
        self._rate = rate
        self.statistics = RelayStatistics()

    def open_allowance(self, now: float) -> TokenBucket:
        """The bucket that one member's frames are taken from. `now`: seconds of any steady clock."""
        return TokenBucket(self._rate, max(MIN_BURST, self._rate * BURST_SECONDS), now)

    def forward(
        self, sender: Member, allowance: TokenBucket, entries: Iterable[tuple[bytes, bytes]], now: float
    ) -> None:
        """Pass each (receiver's handle, datagram) on under the sender's handle, or drop and count it."""
        statistics = self.statistics
        receivers = self._presence.handles_of(sender.network)
        own = sender.node.handle
        for handle, datagram in entries:
            receiver = receivers.get(handle)
            if receiver is None or receiver is sender:
                statistics.dropped_no_receiver += 1
            elif not allowance.take(now, len(datagram) + FRAME_COST):
                statistics.dropped_over_rate += 1
            elif not receiver.mailbox.send_relay(own, datagram):
                statistics.dropped_slow_receiver += 1
            else:
                statistics.frames += 1
                statistics.bytes += len(datagram)
