"""Tests of what waits for keys or a route."""

from __future__ import annotations

from tunnel.dataplane.waiting_packets import MAX_WAITING, WaitingPackets
from tunnel.wire.frames import Kind


def test_packets_come_out_in_their_order_and_once() -> None:
    waiting = WaitingPackets(10.0)
    waiting.hold(Kind.DATA, (b"one", b"two"), 0.0)
    waiting.hold(Kind.CONTROL, (b"three",), 1.0)
    assert not waiting.is_empty(1.0)
    assert list(waiting.take_all(1.0)) == [(Kind.DATA, b"one"), (Kind.DATA, b"two"), (Kind.CONTROL, b"three")]
    assert waiting.is_empty(1.0)
    assert waiting.dropped == 0


def test_the_oldest_make_room() -> None:
    waiting = WaitingPackets(10.0)
    waiting.hold(Kind.DATA, [bytes([number]) for number in range(MAX_WAITING + 6)], 0.0)
    assert [packet[0] for _, packet in waiting.take_all(0.0)] == list(range(6, MAX_WAITING + 6))
    assert waiting.dropped == 6


def test_what_waited_for_too_long_is_not_sent() -> None:
    waiting = WaitingPackets(10.0)
    waiting.hold(Kind.DATA, (b"old",), 0.0)
    waiting.hold(Kind.DATA, (b"new",), 5.0)
    assert list(waiting.take_all(10.1)) == [(Kind.DATA, b"new")]
    assert waiting.dropped == 1
    waiting.hold(Kind.DATA, (b"old",), 20.0)
    assert waiting.is_empty(30.1)
