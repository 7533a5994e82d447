"""Trio with virtual time and a seeded order of tasks: each seed is one legal schedule, always the same.

Trio shuffles the tasks of each tick. With the switch that it keeps for property tests it sorts them first, and shuffles
them by a generator that can be seeded. Both names are private: trio is pinned, and the tests of this file watch them.
"""

from __future__ import annotations

import gc
import math
from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio
from trio._core import _run

from tunnel.verify.memory.internet import Agenda

_Result = TypeVar("_Result")
_SWITCH = "_ALLOW_DETERMINISTIC_SCHEDULING"


class VirtualClock(trio.abc.Clock):
    """Stands still while any task can run, and then jumps to the next deadline.

    Trio asks how long it may sleep only when no task can run: that is the moment to jump. `trio.testing.MockClock` does
    the same by waiting until all are blocked, which takes three turns of the loop where this takes one.
    """

    def __init__(self) -> None:
        self._now = 0.0
        self.agenda: Agenda | None = None
        """Events that happen on the way; those at the moment of a deadline come before it."""

    def start_clock(self) -> None:
        """Called by Trio once, at the start."""

    def current_time(self) -> float:
        """Seconds since the start."""
        return self._now

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Jump to the deadline, or to an event before it; no time is slept.

        If no task waits for a deadline, Trio itself has something to wake for.
        """
        if self.agenda is not None and (due := self.agenda.next_due) <= deadline and due != math.inf:
            self._now = max(self._now, due)
            self.agenda.act_without_task()
            return 0.0
        if deadline == math.inf:
            return deadline
        self._now = max(self._now, deadline)
        return 0.0


def run_seeded(main: Callable[[], Awaitable[_Result]], seed: int) -> _Result:
    """Run to the end, skipping all waiting. Two runs with one seed take the same steps in the same order."""
    before, state = getattr(_run, _SWITCH), _run._r.getstate()
    was_collecting = gc.isenabled()
    gc.disable()  # else finalizers would run at moments that depend on the allocator
    setattr(_run, _SWITCH, True)
    _run._r.seed(seed)
    try:
        return trio.run(main, clock=VirtualClock())
    finally:
        setattr(_run, _SWITCH, before)
        _run._r.setstate(state)
        if was_collecting:
            gc.enable()
