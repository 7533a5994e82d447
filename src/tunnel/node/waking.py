"""Finds out that this machine slept: Trio's clock stands still then, the boot clock does not (CLOCK_BOOTTIME)."""

from __future__ import annotations

from collections.abc import Callable

import trio

from tunnel.network.ports import Clock

LOOK_GAP = 2.0
LEAST_SLEEP = 2.0
"""Seconds: less is a busy machine, and what a path notices by itself."""


async def watch_sleep(clock: Clock, woke: Callable[[float], None]) -> None:
    """Call `woke(seconds)` after each sleep, for ever: mappings and connections may be gone, and nobody has said so."""
    lead = clock.boot() - trio.current_time()
    while True:
        await trio.sleep(LOOK_GAP)
        before, lead = lead, clock.boot() - trio.current_time()
        if lead - before >= LEAST_SLEEP:
            woke(lead - before)
