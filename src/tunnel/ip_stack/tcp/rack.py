"""What is lost, by time: RACK (RFC 8985 section 6). A range is lost if one that was sent later has arrived."""

from __future__ import annotations

from collections.abc import Iterable

from tunnel.ip_stack.tcp.rtt import RttEstimator
from tunnel.ip_stack.tcp.scoreboard import Scoreboard, SentRange

_DUPLICATES = 3
"""Segments beyond a gap after which reordering is no longer waited for, as long as none was ever seen."""
_PERSISTENCE = 16
"""Recoveries after which a widened reordering window is the usual one again."""
_CLOCK = 0.001
"""Seconds: the granularity of timestamps."""


class Rack:
    """Tell it what `arrived`, then ask `detect`."""

    __slots__ = ("_dsack_round", "_end", "_highest", "_is_reordering", "_multiplier", "_persistence", "rtt", "sent_at")

    def __init__(self) -> None:
        self.rtt = 0.0
        """Of the range that was sent last among those that arrived; 0 before any did."""
        self.sent_at = float("-inf")
        self._end = 0
        self._highest = 0
        self._is_reordering = False
        self._multiplier = 1
        self._persistence = 0
        self._dsack_round: int | None = None

    def arrived(self, ranges: Iterable[SentRange], rtt: RttEstimator, echo_at: float | None, now: float) -> None:
        """These were acknowledged or sacked. `echo_at`: when the segment was sent that the timestamp echoes."""
        for found in ranges:
            if found.is_retransmitted:
                took = now - found.sent_at
                if took < rtt.least or (echo_at is not None and echo_at < found.sent_at - _CLOCK):
                    continue
            elif found.end < self._highest:
                self._is_reordering = True
            if found.end > self._highest:
                self._highest = found.end
            if (found.sent_at, found.end) > (self.sent_at, self._end):
                self.sent_at, self._end, self.rtt = found.sent_at, found.end, now - found.sent_at

    def duplicate_told(self, una: int, nxt: int) -> None:
        """A DSACK came: something was sent again for nothing, so more reordering is waited for. Once a round trip."""
        if self._dsack_round is None or una >= self._dsack_round:
            self._dsack_round = nxt
            self._multiplier = min(self._multiplier + 1, 64)
            self._persistence = _PERSISTENCE

    def recovered(self) -> None:
        """A recovery has ended."""
        self._persistence = max(0, self._persistence - 1)
        if not self._persistence:
            self._multiplier = 1

    def detect(
        self, board: Scoreboard, rtt: RttEstimator, mss: int, now: float, *, is_recovering: bool
    ) -> tuple[bool, float]:
        """Mark what is lost. Returns whether anything is, and after how many seconds to ask again; 0: never."""
        window = self._reordering_window(board, rtt, mss, is_recovering=is_recovering)
        sent_at, end, limit = self.sent_at, self._end, self.rtt + window - now + 1e-6
        is_any_lost, wait = False, 0.0
        for found in board.ranges:
            if found.is_sacked or found.is_lost or found.sent_at > sent_at:
                continue
            if found.sent_at == sent_at and found.end >= end:
                continue
            remaining = found.sent_at + limit
            if remaining <= 2e-6:
                board.mark_lost(found)
                is_any_lost = True
            elif remaining > wait:
                wait = remaining
        return is_any_lost, wait

    def mark_on_timeout(self, board: Scoreboard, rtt: RttEstimator, now: float) -> None:
        """The retransmission timeout ended (section 6.3): the first is lost, and all that is as old."""
        patience = self.rtt + (rtt.least / 4 if self.rtt else 0.0)
        is_first = True
        for found in board.unsacked():
            if is_first or found.sent_at + patience <= now:
                board.mark_lost(found)
            is_first = False

    def _reordering_window(self, board: Scoreboard, rtt: RttEstimator, mss: int, *, is_recovering: bool) -> float:
        if not self._is_reordering and (is_recovering or board.sacked >= _DUPLICATES * mss):
            return 0.0
        return min(self._multiplier * rtt.least / 4, rtt.srtt)
