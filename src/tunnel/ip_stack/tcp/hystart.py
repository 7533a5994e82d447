"""Ends slow start before the path's queue overflows: HyStart++ (RFC 9406)."""

from __future__ import annotations

import math

_LEAST_RISE, _MOST_RISE = 0.004, 0.016
_SAMPLES = 8
_GROWTH_DIVISOR = 4
_MOST_ROUNDS = 5


class HyStart:
    """Tell it each acknowledgment in slow start; `divisor` says how slowly to grow, `is_over` that it ends."""

    __slots__ = ("_baseline", "_current", "_last", "_round_end", "_rounds", "_samples", "divisor", "is_over")

    def __init__(self) -> None:
        self.divisor = 1
        """By what the growth is divided: 4 in conservative slow start."""
        self.is_over = False
        self._round_end = 0
        self._last = self._current = self._baseline = math.inf
        self._samples = self._rounds = 0

    def see(self, rtt: float, una: int, nxt: int) -> None:
        """A round trip of `rtt` seconds was measured while `una` to `nxt` is in flight."""
        if una >= self._round_end:
            self._begin_round(nxt)
        self._current = min(self._current, rtt)
        self._samples += 1
        if self._samples < _SAMPLES or math.isinf(self._current):
            return
        if self.divisor == 1:
            if self._last < math.inf:
                rise = max(_LEAST_RISE, min(self._last / 8, _MOST_RISE))
                if self._current >= self._last + rise:
                    self._baseline, self.divisor, self._rounds = self._current, _GROWTH_DIVISOR, 0
        elif self._current < self._baseline:
            self._baseline, self.divisor = math.inf, 1

    def _begin_round(self, end: int) -> None:
        self._round_end = end
        self._last, self._current, self._samples = self._current, math.inf, 0
        if self.divisor != 1:
            self._rounds += 1
            self.is_over = self._rounds > _MOST_ROUNDS
