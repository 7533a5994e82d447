"""Round-trip times and the retransmission timeout (RFC 6298)."""

from __future__ import annotations

import math

_GRANULARITY = 0.001
_MIN_RTT_SECONDS = 30.0
"""The minimum is that of this time and the one before: a path may become longer."""


class RttEstimator:
    """Give it `sample`s; read `rto`, `srtt` and `least`. Seconds."""

    __slots__ = ("_backoff", "_bounds", "_current", "_previous", "_since", "_variance", "srtt")

    def __init__(self, least_rto: float, max_rto: float) -> None:
        self._bounds = least_rto, max_rto
        self.srtt = 0.0
        """0: no sample yet."""
        self._variance = 0.0
        self._backoff = 0
        self._current = self._previous = math.inf
        self._since = -math.inf

    @property
    def least(self) -> float:
        """The least round trip of late; infinity without a sample."""
        return min(self._current, self._previous)

    @property
    def base_rto(self) -> float:
        """The timeout without backoff; one second before the first sample."""
        if not self.srtt:
            return 1.0
        least, most = self._bounds
        return min(max(self.srtt + max(_GRANULARITY, 4 * self._variance), least), most)

    @property
    def rto(self) -> float:
        """The timeout."""
        rto = self.base_rto
        return min(rto * (1 << self._backoff), self._bounds[1]) if self._backoff else rto

    def sample(self, rtt: float, now: float) -> None:
        """A segment that was sent once took so long to be acknowledged. The backoff ends (section 5.7)."""
        self._backoff = 0
        if not self.srtt:
            self.srtt, self._variance = max(rtt, 1e-6), rtt / 2
        else:
            self._variance += (abs(self.srtt - rtt) - self._variance) / 4
            self.srtt = max(self.srtt + (rtt - self.srtt) / 8, 1e-6)
        if now - self._since > _MIN_RTT_SECONDS:
            self._since, self._previous, self._current = now, self._current, rtt
        elif rtt < self._current:
            self._current = rtt

    def back_off(self) -> None:
        """The timeout ended: the next is twice as long (section 5.5)."""
        self._backoff = min(self._backoff + 1, 16)

    def reset_backoff(self) -> None:
        """New data was acknowledged: the path carries."""
        self._backoff = 0
