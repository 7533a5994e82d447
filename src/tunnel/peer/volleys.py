"""The simultaneous tactic: volleys of probes on all ways of a plan, while the relay carries."""

from __future__ import annotations

from collections.abc import Callable

import trio

from tunnel.model.endpoint import Scope, scope_of
from tunnel.model.timings import Timings
from tunnel.model.way import Way
from tunnel.peer.tactics import OPENING_TTL, PunchPlan

Ask = Callable[[Way, int | None], None]
"""ask(way, ttl): send one probe."""


async def send_volleys(plan: Callable[[], PunchPlan], ask: Ask, timings: Timings, *, opening: bool) -> None:
    """Volleys at 0, 50, 100, 200, 400, 800 ms, then each second, until cancelled.

    The plan is asked for each volley, so late candidates join. With `opening` the first volleys
    toward the wide area have a low TTL: they open our NAT and never reach theirs.
    """
    began = trio.current_time()
    volley = 0
    while True:
        is_opening = opening and volley < timings.punch_low_ttl_shots
        for way in plan().ways:
            ask(way, OPENING_TTL if is_opening and _is_far(way) else None)
        volley += 1
        await trio.sleep_until(began + _offset(volley, timings))


def _offset(volley: int, timings: Timings) -> float:
    ladder = timings.punch_ladder
    if volley < len(ladder):
        return ladder[volley]
    return ladder[-1] + (volley - len(ladder) + 1) * timings.punch_interval


def _is_far(way: Way) -> bool:
    return way.is_direct and way.remote is not None and scope_of(way.remote.host) in (Scope.GLOBAL, Scope.CARRIER)
