"""The answer to a segment that belongs to no connection (RFC 9293 section 3.10.7.1)."""

from __future__ import annotations

import pytest

from tunnel.ip_stack.tcp.segments import OutgoingSegment, reset_for
from tunnel.wire.tcp import ACK, FIN, RST, SYN, TcpSegment


@pytest.mark.parametrize(
    ("segment", "answer"),
    [
        (TcpSegment(1, 2, 100, 200, ACK, 5, b"xy"), OutgoingSegment(200, 0, RST, 0, b"")),
        (TcpSegment(1, 2, 100, 0, SYN, 5, b""), OutgoingSegment(0, 101, RST | ACK, 0, b"")),
        (TcpSegment(1, 2, 0xFFFFFFFF, 0, FIN, 5, b"x"), OutgoingSegment(0, 1, RST | ACK, 0, b"")),
        (TcpSegment(1, 2, 100, 200, RST, 5, b""), None),
        (TcpSegment(1, 2, 100, 200, RST | ACK, 5, b""), None),
    ],
)
def test_the_rst_is_one_that_the_sender_accepts(segment: TcpSegment, answer: OutgoingSegment | None) -> None:
    """Its number is what was acknowledged, or it acknowledges all that was sent. A RST is never answered."""
    assert reset_for(segment) == answer
