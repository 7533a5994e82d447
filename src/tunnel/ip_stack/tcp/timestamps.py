"""The timestamps option (RFC 7323): our clock, the peer's latest value, and PAWS."""

from __future__ import annotations

from tunnel.ip_stack.tcp.sequence import MASK, is_before

_TICKS = 1000
"""A second."""
_OUTDATED = 24 * 86_400.0
"""Section 5.5: after so long without a segment the peer's value says nothing."""


class Timestamps:
    """One connection's. `offset` is added to our clock."""

    __slots__ = ("_heard_at", "_offset", "recent")

    def __init__(self, offset: int) -> None:
        self._offset = offset
        self.recent = 0
        """TS.Recent, which we echo."""
        self._heard_at = 0.0

    def value(self, now: float) -> int:
        """TSval of a segment that is sent now."""
        return (int(now * _TICKS) + self._offset) & MASK

    def sent_at(self, echo: int, now: float) -> float | None:
        """When the segment was sent that the peer echoes; None if it cannot be ours."""
        age = (self.value(now) - echo) & MASK
        return now - age / _TICKS if age < 1 << 31 else None

    def is_old(self, value: int, now: float) -> bool:
        """PAWS (section 5.3): whether a segment with this TSval is a duplicate of long ago."""
        return is_before(value, self.recent) and now - self._heard_at < _OUTDATED

    def see(self, value: int, now: float) -> None:
        """A segment came with this TSval that is acceptable and begins at or before what we acknowledged last."""
        if not is_before(value, self.recent) or now - self._heard_at >= _OUTDATED:
            self.recent, self._heard_at = value, now
