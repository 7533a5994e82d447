"""What a connection hands to the stack, and the answer to a segment that belongs to no connection."""

from __future__ import annotations

from typing import NamedTuple

from tunnel.model.buffers import Buffer
from tunnel.wire.tcp import ACK, RST, TcpSegment


class OutgoingSegment(NamedTuple):
    """A segment to be sent, or a superpacket of several.

    The stack puts `encode_tcp(local port, remote port, sequence, acknowledgment, flags, window, options)` in front of
    the payload. With `segment_size` not 0 the payload is longer than that: it is the virtio header's `gso_size`.
    """

    sequence: int
    acknowledgment: int
    flags: int
    window: int
    options: bytes
    payload: tuple[Buffer, ...] = ()
    """To be joined. Valid as long as it is kept: nothing is written into it."""
    length: int = 0
    """Bytes of payload."""
    segment_size: int = 0


def reset_for(segment: TcpSegment) -> OutgoingSegment | None:
    """The answer to a segment that belongs to no connection (RFC 9293 section 3.10.7.1). None to a RST."""
    if segment.flags & RST:
        return None
    if segment.flags & ACK:
        return OutgoingSegment(segment.acknowledgment, 0, RST, 0, b"")
    return OutgoingSegment(0, (segment.sequence + segment.length) & 0xFFFFFFFF, RST | ACK, 0, b"")
