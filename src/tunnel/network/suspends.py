"""Finds out that this machine slept: Trio's clock stands still then, the boot clock does not (CLOCK_BOOTTIME)."""

from __future__ import annotations

from collections.abc import Callable

import trio

LOOK_GAP = 2.0
LEAST_SLEEP = 2.0
"""Seconds: less is a busy machine, and what a path notices by itself."""


async def wait_slept(boot: Callable[[], float]) -> float:
    """Return after the next sleep, within LOOK_GAP: how many seconds it lasted. `boot` reads the boot clock."""
    lead = boot() - trio.current_time()
    while True:
        await trio.sleep(LOOK_GAP)
        before, lead = lead, boot() - trio.current_time()
        if lead - before >= LEAST_SLEEP:
            return lead - before
