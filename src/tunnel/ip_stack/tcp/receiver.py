"""The receiving half of a connection: its window, what arrived, and when to acknowledge."""

from __future__ import annotations

from math import inf

from tunnel.ip_stack.tcp.config import TcpConfig
from tunnel.ip_stack.tcp.flight import Acknowledgment
from tunnel.ip_stack.tcp.receive_buffer import ReceiveBuffer
from tunnel.ip_stack.tcp.sequence import MASK
from tunnel.ip_stack.tcp.timestamps import Timestamps
from tunnel.model.buffers import Buffer
from tunnel.wire.tcp import MAX_SACK_BLOCKS, MAX_WINDOW_SCALE, encode_sack, encode_timestamps


class Receiver:
    """Offsets count from the peer's initial sequence number. `next` is RCV.NXT, `edge` the end of what we offered."""

    __slots__ = (
        "_capacity",
        "_config",
        "_duplicate",
        "_fin",
        "_largest",
        "_mss",
        "_offered",
        "_taken",
        "_unacknowledged",
        "ack_at",
        "acknowledged",
        "buffer",
        "edge",
        "has_sack",
        "initial",
        "is_ack_due",
        "next",
        "scale",
        "timestamps",
    )

    def __init__(self, config: TcpConfig, mss: int) -> None:
        """`mss`: the most payload that the peer puts into a segment."""
        self._config, self._mss = config, mss
        self.buffer = ReceiveBuffer(1)
        self.initial = 0
        self.next = 1
        self.scale = 0
        """How many bits of our window are not sent."""
        self.has_sack = False
        self.timestamps: Timestamps | None = None
        """None: not agreed."""
        self._capacity = min(config.least_buffer, config.receive_buffer)
        self.edge = self._offered = 1 + min(self._capacity, 0xFFFF)
        self.acknowledged = 1
        """Last.ACK.sent of RFC 7323."""
        self.ack_at = inf
        """When a delayed acknowledgment is due."""
        self.is_ack_due = False
        self._unacknowledged = 0
        self._largest = 1
        self._taken = 0
        self._fin: int | None = None
        self._duplicate: tuple[int, int] | None = None

    @property
    def has_fin(self) -> bool:
        """Whether the peer's FIN and all before it have arrived."""
        return self._fin is not None and self.next > self._fin

    def is_acceptable(self, start: int, length: int) -> bool:
        """The test of RFC 9293 section 3.10.7.4, step 1: whether a segment lies in the window, at least in part."""
        if not length:
            return self.next <= start < self.edge or start == self.next
        if self.edge == self.next:
            return False
        return start < self.edge and start + length > self.next

    def store(self, start: int, payload: Buffer, has_fin: bool, now: float) -> None:
        """An acceptable segment with payload or FIN arrived."""
        size = len(payload)
        end = start + size
        buffer, before = self.buffer, self.next
        if has_fin and end <= self.edge and self._fin is None and end >= self.next:
            self._fin = end
        if size > self._largest:
            self._largest = min(size, self._mss)
        limit = self.edge if self._fin is None else min(self.edge, self._fin)
        if size and buffer.covers(start, end):
            self.note_duplicate(start, end)
            if self._fin != before:
                return
            start, end, payload = before, before, b""
        if start < before or end > limit:
            first = max(start, before)
            payload, start = payload[first - start : max(limit - start, 0)], first
        if start > before:
            self.is_ack_due = True
            if payload:
                buffer.store(start, payload)
            return
        had_gap = buffer.has_gap
        if payload:
            buffer.store(start, payload)
        self.next = buffer.next
        if self._fin == buffer.next:
            self.next += 1
            self.is_ack_due = True
        self._unacknowledged += self.next - before
        if had_gap or self._unacknowledged >= 2 * self._largest:
            self.is_ack_due = True
        elif self.ack_at == inf:
            self.ack_at = now + self._config.delayed_ack

    def note_duplicate(self, start: int, end: int) -> None:
        """A segment with data arrived again that lies before the window: a DSACK block tells the peer (RFC 2883)."""
        self._duplicate = start, end
        self.is_ack_due = True

    def take(self, most: int) -> bytes:
        """What the user receives. The window grows while the user keeps up, and is told when that is of use."""
        data = self.buffer.take(most)
        if data:
            self._taken += len(data)
            if self._taken >= self._capacity:
                self._taken = 0
                self._capacity = min(2 * self._capacity, self._config.receive_buffer)
            offered = self.edge - self.next
            if self._offer() - self.edge >= min(max(offered, 2 * self._mss), self._capacity // 2):
                self.is_ack_due = True
        return data

    def acknowledgment(self, now: float) -> Acknowledgment:
        """What every segment says that leaves now. If one does, `acknowledge`."""
        offer, edge = self._offer(), self.edge
        if offer - edge >= min(self._capacity // 2, self._mss):  # no silly windows (RFC 9293 section 3.8.6.2.2)
            edge = offer
        self._offered = edge
        window = (edge - self.next) >> self.scale
        timestamps = self.timestamps
        options = b"" if timestamps is None else encode_timestamps(timestamps.value(now), timestamps.recent)
        return Acknowledgment((self.initial + self.next) & MASK, window, options)

    def acknowledge(self) -> None:
        """What `acknowledgment` said leaves."""
        self.edge = max(self.edge, self._offered)
        self.acknowledged = self.next
        self.is_ack_due = False
        self.ack_at = inf
        self._unacknowledged = 0

    def selective_blocks(self) -> bytes:
        """The SACK option of a segment without data, the DSACK block first."""
        if not self.has_sack or (self._duplicate is None and not self.buffer.has_gap):
            return b""
        most = MAX_SACK_BLOCKS if self.timestamps is None else MAX_SACK_BLOCKS - 1
        blocks = [] if self._duplicate is None else [self._duplicate]
        blocks += self.buffer.sack_blocks(most - len(blocks)) if self.buffer.has_gap else []
        self._duplicate = None
        initial = self.initial
        return encode_sack([((initial + start) & MASK, (initial + end) & MASK) for start, end in blocks])

    def _offer(self) -> int:
        """The end of the window that the buffer has room for, and that can be told."""
        return self.next + max(0, min(self._capacity - self.buffer.readable, 0xFFFF << self.scale))


def window_scale_for(capacity: int) -> int:
    """The least shift by which a window of so many bytes fits into 16 bits (RFC 7323 section 2.3)."""
    return min(max(0, (capacity >> 16).bit_length()), MAX_WINDOW_SCALE)
