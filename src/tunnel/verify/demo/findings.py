"""What a demo found out: measurements, and expectations that hold or fail."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from statistics import median

import trio

DIRECT_PATIENCE = 15.0
"""Seconds until a direct path carries, on a machine that has other work too. A second is usual."""
LONGEST_HOLE = 2.5
LOSS_PATIENCE = 15.0
RECOVERY_PATIENCE = 20.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the summary."""

    what: str
    measured: str
    expected: str = ""
    holds: bool | None = None
    """None: a measurement, of which nothing was expected."""


class Findings:
    """Collects the lines of the summary in the order in which they come."""

    def __init__(self) -> None:
        self.lines: list[Finding] = []

    def note(self, what: str, measured: str) -> None:
        """A measurement."""
        self.lines.append(Finding(what, measured))

    def expect_within(self, what: str, seconds: float | None, limit: float) -> bool:
        """Expect something to take at most `limit` seconds. None says that it never came. Returns whether it holds."""
        holds = seconds is not None and seconds <= limit
        measured = "never" if seconds is None else duration(seconds)
        self.lines.append(Finding(what, measured, f"at most {limit:g} s", holds))
        return holds

    async def expect_soon(self, what: str, wait: Callable[[], Awaitable[float]], since: float, limit: float) -> bool:
        """Wait for something: `wait` returns when it came, by the clock of `since`. Returns whether it holds."""
        came = None
        with trio.move_on_after(limit):
            came = await wait()
        return self.expect_within(what, None if came is None else max(0.0, came - since), limit)

    @property
    def failures(self) -> list[Finding]:
        """The expectations that did not hold."""
        return [line for line in self.lines if line.holds is False]


def duration(seconds: float) -> str:
    """Seconds, or milliseconds below one."""
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"


def round_trips(seconds: list[float]) -> str:
    """The median of some round trips, and their range."""
    if not seconds:
        return "none answered"
    low, middle, high = (f"{value * 1000:.1f}" for value in (min(seconds), median(seconds), max(seconds)))
    return f"{middle} ms (from {low} to {high})"


def throughput(count: int, seconds: float) -> str:
    """Bytes in seconds as a bit rate."""
    return f"{count * 8 / seconds / 1e6:.1f} Mbit/s"


class Arrivals:
    """Finds the longest gap in a steady stream. Times are any one clock's, in seconds."""

    def __init__(self) -> None:
        self.count = 0
        self._last: float | None = None
        self._longest = 0.0

    def note(self, now: float) -> None:
        """One arrived."""
        self.count += 1
        self._longest = self.longest(now)
        self._last = now

    def longest(self, now: float) -> float:
        """The longest gap so far. One that is still open counts."""
        return self._longest if self._last is None else max(self._longest, now - self._last)

    def begin(self, now: float) -> None:
        """Forget all gaps: those that count begin now."""
        self._last = now
        self._longest = 0.0
