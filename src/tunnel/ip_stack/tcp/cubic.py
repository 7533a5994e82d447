"""The congestion window: slow start of RFC 5681, then CUBIC (RFC 9438). Bytes and seconds."""

from __future__ import annotations

import math
from typing import NamedTuple

_BETA = 0.7
_C = 0.4
_ALPHA = 3 * (1 - _BETA) / (1 + _BETA)
"""Section 4.3: additive increase that is as fast as Reno's with a decrease by _BETA."""


class _Epoch(NamedTuple):
    """What CUBIC knows since the last congestion."""

    began: float
    cubic_root: float
    """K: seconds until the window is as large as before."""
    origin: float
    """W_max, in segments."""


class Cubic:
    """`window` and `threshold` are bytes; `grow` for each acknowledgment, `reduce` for each congestion."""

    __slots__ = ("_epoch", "_estimate", "_mss", "_origin", "_prior", "_saved", "threshold", "window")

    def __init__(self, mss: int) -> None:
        self._mss = mss
        self.window = float(min(10 * mss, max(2 * mss, 14_600)))  # RFC 6928
        self.threshold = math.inf
        self._epoch: _Epoch | None = None
        self._origin = 0.0
        self._prior = 0.0
        self._estimate = 0.0
        self._saved: tuple[float, float, float, float] | None = None

    @property
    def is_slow_starting(self) -> bool:
        """Whether the window still grows by what is acknowledged."""
        return self.window < self.threshold

    def change_mss(self, mss: int) -> None:
        """The path takes other segments. The window stays, in bytes, unless it is less than two of them."""
        self._mss = mss
        self.window = max(self.window, 2.0 * mss)

    def grow(self, acknowledged: int, srtt: float, now: float) -> None:
        """So many bytes arrived while the window was used."""
        if self.window < self.threshold:
            grown = min(self.window + acknowledged, max(self.threshold, self.window))
            acknowledged -= int(grown - self.window)
            self.window = grown
            if not acknowledged:
                return
        mss, segments = self._mss, self.window / self._mss
        if self._epoch is None:
            self._begin_epoch(segments, now)
        assert self._epoch is not None
        began, cubic_root, origin = self._epoch
        ahead = now - began + srtt - cubic_root
        target = min(max(origin + _C * ahead * ahead * ahead, segments), 1.5 * segments)
        count = acknowledged / mss
        self._estimate += (1.0 if self._estimate >= self._prior else _ALPHA) * count / segments
        behind = now - began - cubic_root
        if origin + _C * behind * behind * behind < self._estimate:
            segments = max(segments, self._estimate)
        else:
            segments += (target - segments) / segments * count
        self.window = segments * mss

    def reduce(self) -> None:
        """Data was lost: the threshold is set; the window goes there as recovery says (section 4.6)."""
        self._saved = self.window, self.threshold, self._origin, self._prior
        segments = self.window / self._mss
        self._prior = segments
        self._origin = segments * (1 + _BETA) / 2 if segments < self._origin else segments
        self.threshold = max(self.window * _BETA, 2.0 * self._mss)
        self._epoch = None

    def collapse(self) -> None:
        """The retransmission timeout ended: the window is one segment (RFC 5681 section 3.1)."""
        self.window = float(self._mss)
        self._epoch = None

    def undo(self) -> None:
        """Nothing had been lost (section 4.9)."""
        if self._saved is not None:
            window, self.threshold, self._origin, self._prior = self._saved
            self.window = max(self.window, window)
            self._saved = self._epoch = None

    def idle(self, seconds: float, rto: float) -> None:
        """Nothing was in flight for so long: the time does not count, and the window shrinks (RFC 7661, 9438 5.8)."""
        if self._epoch is not None:
            self._epoch = self._epoch._replace(began=self._epoch.began + seconds)
        if seconds > rto:
            self.threshold = max(self.threshold, 0.75 * self.window) if self.threshold < math.inf else self.threshold
            restart = min(self.window, 10.0 * self._mss)
            while seconds > rto and self.window > restart:
                self.window = max(self.window / 2, restart)
                seconds -= rto

    def _begin_epoch(self, segments: float, now: float) -> None:
        if self._origin <= segments:
            self._origin = segments
        self._epoch = _Epoch(now, ((self._origin - segments) / _C) ** (1 / 3), self._origin)
        self._estimate = segments
        self._prior = max(self._prior, segments)
