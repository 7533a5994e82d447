"""Trio with virtual time and a seeded order of tasks: every seed is another legal schedule, and always the same one.

Trio shuffles the tasks of each tick; with the switch that it keeps for property tests it sorts them first and shuffles
by a generator that can be seeded. Both names are private: trio is pinned, and tests/simulation/test_schedule.py watches
them.
"""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio
from trio._core import _run
from trio.testing import MockClock

_Result = TypeVar("_Result")
_SWITCH = "_ALLOW_DETERMINISTIC_SCHEDULING"


def run_seeded(main: Callable[[], Awaitable[_Result]], seed: int) -> _Result:
    """Run to the end, jumping over all waiting. Two runs with one seed take the same steps in the same order."""
    before, state = getattr(_run, _SWITCH), _run._r.getstate()
    was_collecting = gc.isenabled()
    gc.disable()  # else finalizers run when it pleases the allocator
    setattr(_run, _SWITCH, True)
    _run._r.seed(seed)
    try:
        return trio.run(main, clock=MockClock(autojump_threshold=0))
    finally:
        setattr(_run, _SWITCH, before)
        _run._r.setstate(state)
        if was_collecting:
            gc.enable()
