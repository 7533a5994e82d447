"""Detects that this machine was suspended, or that its memory may be running a second time. Pure but for waiting.

While a machine is suspended, Trio's clock stands still and the boot clock (CLOCK_BOOTTIME) does not. A machine restored
from a snapshot goes on with the clocks of that time, until its wall clock is set forward, at once or by slewing. A
process restored elsewhere finds another boot id. Either may have been done twice, from one memory.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

import trio

LOOK_GAP = 2.0
"""Seconds between two looks at the clocks."""
LEAST_SLEEP = 2.0
"""Seconds: less is a busy machine, and paths notice it by themselves."""
LEAST_STEP = 5.0
"""Seconds that a wall clock is set forward by, at once or within SLEW_WINDOW; less is ordinary correction."""
SLEW_WINDOW = 3600.0
"""Seconds: a crystal drifts by less than 1.4 s in 3,600 s, so drift alone never looks like a sign."""
_EARLIEST = 1_577_836_800.0
"""Unix time of 2020: a wall clock that shows less has not been set since the machine started."""


def is_sign_of_a_copy(before: float, step: float) -> bool:
    """Whether it is a sign that a wall clock that showed `before` (Unix time) was set forward by `step` seconds."""
    return step >= LEAST_STEP and before >= _EARLIEST


class CopyWatch:
    """Call `wait` again and again. `steady` is the boot clock without corrections by a time service, in seconds."""

    def __init__(self, wall: Callable[[], float], steady: Callable[[], float], boot_id: Callable[[], str]) -> None:
        self._wall = wall
        self._steady = steady
        self._boot_id = boot_id
        self._began_in: str | None = None
        self._lead: float | None = None
        """Seconds by which the wall clock was ahead of the steady one at the last look."""
        self._leads: deque[tuple[float, float]] = deque()
        """When and how far it was ahead lately: rising, the least within SLEW_WINDOW first."""
        self._heeded_from = -math.inf

    async def wait(self) -> str:
        """Return, soon after a sign that this process may be running from a copy of its memory, what the sign was."""
        if self._began_in is None:
            self._began_in = self._boot_id()
            self._look()
        while True:
            await trio.sleep(LOOK_GAP)
            if (kernel := self._boot_id()) != self._began_in:
                self._began_in = kernel
                return "the kernel is another one"
            if (ahead := self._look()) > 0.0:
                return f"the wall clock was set forward by {ahead:.0f} s"

    def _look(self) -> float:
        """Seconds by which the wall clock was set forward, at once or by slewing; 0 if that is no sign."""
        now = self._steady()
        before, self._lead = self._lead, self._wall() - now
        lead = self._lead
        while self._leads and self._leads[0][0] < now - SLEW_WINDOW:
            self._leads.popleft()
        least = self._leads[0][1] if self._leads else lead
        while self._leads and self._leads[-1][1] >= lead:
            self._leads.pop()
        if lead + now >= _EARLIEST:
            self._leads.append((now, lead))
        if before is not None and is_sign_of_a_copy(before + now, lead - before):
            ahead = lead - before
        elif lead - least >= LEAST_STEP and now >= self._heeded_from:
            ahead = lead - least
        else:
            return 0.0
        # Slewing goes on for hours. The keys are new by now, and one sign an hour is enough.
        self._heeded_from = now + SLEW_WINDOW
        return ahead


async def wait_slept(boot: Callable[[], float]) -> float:
    """Return how many seconds the next suspension lasted, within LOOK_GAP of its end. `boot` reads the boot clock."""
    lead = boot() - trio.current_time()
    while True:
        await trio.sleep(LOOK_GAP)
        before, lead = lead, boot() - trio.current_time()
        if lead - before >= LEAST_SLEEP:
            return lead - before
