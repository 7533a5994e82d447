"""Finds out that this machine slept, or that its memory may be running a second time.

Asleep, Trio's clock stands still and the boot clock (CLOCK_BOOTTIME) does not. A machine that was started from a
snapshot goes on with the clocks of that time, until somebody sets its wall clock forward; a process that was restored
elsewhere finds another boot id. Both may have been done twice, from one memory.
"""

from __future__ import annotations

from collections.abc import Callable

import trio

LOOK_GAP = 2.0
LEAST_SLEEP = 2.0
"""Seconds: less is a busy machine, and what a path notices by itself."""
LEAST_STEP = 5.0
"""Seconds that a wall clock is set forward by at once; less is how clocks are kept right."""
_EARLIEST = 1_577_836_800.0
"""Unix time of 2020: a wall clock that shows less has not been set since the machine started."""


def is_sign_of_a_copy(before: float, step: float) -> bool:
    """Whether a wall clock that showed `before` (Unix time) and is set forward by `step` seconds is such a sign."""
    return step >= LEAST_STEP and before >= _EARLIEST


async def wait_copied(wall: Callable[[], float], boot: Callable[[], float], boot_id: Callable[[], str]) -> str:
    """Return when this process may be running from a copy of its memory, within LOOK_GAP of the sign: which it was."""
    lead, began_in = wall() - boot(), boot_id()
    while True:
        await trio.sleep(LOOK_GAP)
        before, lead = lead, wall() - boot()
        if boot_id() != began_in:
            return "the kernel is another one"
        if is_sign_of_a_copy(before + boot(), lead - before):
            return f"the wall clock was set forward by {lead - before:.0f} s"


async def wait_slept(boot: Callable[[], float]) -> float:
    """Return after the next sleep, within LOOK_GAP: how many seconds it lasted. `boot` reads the boot clock."""
    lead = boot() - trio.current_time()
    while True:
        await trio.sleep(LOOK_GAP)
        before, lead = lead, boot() - trio.current_time()
        if lead - before >= LEAST_SLEEP:
            return lead - before
