"""A limit on how often one kind of line is logged, so that nobody outside can fill a disk or hide a line in a flood.

A kind is a place in the code. Each may log sixty lines at once, then one a second. Of the lines left out the latest is
logged as soon as the limit allows, with `left_out`, the number of the others. Lines at debug are never left out.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from tunnel.model.rates import TokenBucket

LINES_AT_ONCE = 60.0
LINES_RATE = 1.0


class _Kind:
    """What one place in the code may still log."""

    __slots__ = ("allowance", "last", "left_out")

    def __init__(self, now: float) -> None:
        self.allowance = TokenBucket(LINES_RATE, LINES_AT_ONCE, now)
        self.last: logging.LogRecord | None = None
        """The latest that was left out, which may still be logged."""
        self.left_out = 0
        """How many were left out before it."""


class LogRateLimit(logging.Handler):
    """Stands before the handler that writes the lines."""

    def __init__(self, behind: logging.Handler, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._behind = behind
        self._clock = clock
        self._kinds: dict[tuple[str, int, int], _Kind] = {}
        self._suppressed: dict[tuple[str, int, int], _Kind] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Pass a line on, or keep it as the latest that was left out."""
        if record.levelno < logging.INFO:
            self._behind.handle(record)
            return
        now = self._clock()
        self._catch_up(now)
        key = (record.pathname, record.lineno, record.levelno)
        kind = self._kinds.get(key)
        if kind is None:
            kind = self._kinds[key] = _Kind(now)
        if kind.allowance.take(now):
            self._behind.handle(record)
            return
        kind.left_out += kind.last is not None
        kind.last = record
        self._suppressed[key] = kind

    def flush(self) -> None:
        """Log what was left out so far: the process may end."""
        for key, kind in tuple(self._suppressed.items()):
            self._log_last(key, kind)
        self._behind.flush()

    def close(self) -> None:
        """Flush, then close the handler too."""
        self.flush()
        self._behind.close()
        super().close()

    def _catch_up(self, now: float) -> None:
        for key, kind in tuple(self._suppressed.items()):
            if kind.allowance.take(now):
                self._log_last(key, kind)

    def _log_last(self, key: tuple[str, int, int], kind: _Kind) -> None:
        del self._suppressed[key]
        last, left_out = kind.last, kind.left_out
        kind.last, kind.left_out = None, 0
        if last is not None:
            if left_out:
                last.__dict__["left_out"] = left_out
            self._behind.handle(last)
