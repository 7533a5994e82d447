"""When the next data may be sent, so that a window does not leave in one burst (RFC 9438 section 5.4, RFC 9002 7.7)."""

from __future__ import annotations

_SLOW_START_GAIN, _GAIN = 2.0, 1.2
_SLACK = 0.002
"""Seconds: a wake-up that comes late by no more costs no throughput."""
_QUANTUM = 0.001
"""Seconds of data in one superpacket, at most."""


class Pacer:
    """`rate` follows the window; `next_at` is when there may be data again."""

    __slots__ = ("next_at", "rate")

    def __init__(self) -> None:
        self.rate = 0.0
        """Bytes a second; 0: not known yet, no pacing."""
        self.next_at = 0.0

    def follow(self, window: float, srtt: float, *, is_slow_starting: bool) -> None:
        """The window or the round-trip time has changed."""
        self.rate = window / srtt * (_SLOW_START_GAIN if is_slow_starting else _GAIN) if srtt else 0.0

    def quantum(self, mss: int, most: int) -> int:
        """Bytes that one superpacket should have, in whole segments, at least two if that many may be."""
        if not self.rate:
            return most
        segments = max(int(self.rate * _QUANTUM) // mss, 2)
        return min(segments * mss, most)

    def sent(self, size: int, now: float) -> None:
        """So many bytes left."""
        if self.rate:
            self.next_at = max(self.next_at, now - _SLACK) + size / self.rate
