"""When silence means loss: the retransmission timeout (RFC 6298), tail loss probes (RFC 8985 section 7), and the rest.

Each deadline is a time, infinity where it does not run.
"""

from __future__ import annotations

from math import inf

from tunnel.ip_stack.tcp.rtt import RttEstimator

_DELAYED_ACK = 0.2
"""Seconds for which a peer may keep the acknowledgment of a single segment."""
_LEAST_PROBE = 0.02


class LossTimers:
    """One sender's. `nearest` is when the first of them ends."""

    __slots__ = ("is_window_probed", "persist_at", "probe_at", "reordering_at", "retransmit_at", "since")

    def __init__(self) -> None:
        self.retransmit_at = inf
        """Nothing was acknowledged for so long that the window is lost."""
        self.probe_at = inf
        """The last segments of a flight may be lost: one more makes the peer acknowledge."""
        self.reordering_at = inf
        """What may only have been reordered is lost by then."""
        self.persist_at = inf
        """The peer's window is closed: it is asked whether it still is."""
        self.is_window_probed = False
        """Whether the peer owes an answer to a probe of its window."""
        self.since = 0.0
        """When the peer last acknowledged something new, or something was sent while nothing was in flight."""

    @property
    def nearest(self) -> float:
        """The first deadline."""
        return min(self.retransmit_at, self.probe_at, self.reordering_at, self.persist_at)

    def stop(self) -> None:
        """Nothing is in flight any more."""
        self.retransmit_at = self.probe_at = self.reordering_at = self.persist_at = inf

    def run(self, rtt: RttEstimator, now: float, in_flight: int, mss: int, *, is_probed: bool) -> None:
        """Data was sent, or something acknowledged while more is in flight. `is_probed`: a probe may be of use."""
        self.persist_at = inf
        if self.retransmit_at == inf:
            self.retransmit_at = now + rtt.rto
            self.since = now
        if is_probed and rtt.srtt:
            wait = max(2 * rtt.srtt, _LEAST_PROBE)
            if in_flight <= mss:
                wait += _DELAYED_ACK
            self.probe_at = now + wait if now + wait < self.retransmit_at else inf
        else:
            self.probe_at = inf

    def progressed(self, rtt: RttEstimator, now: float) -> None:
        """Something new was acknowledged, and more is in flight."""
        self.retransmit_at = now + rtt.rto
        self.since = now
