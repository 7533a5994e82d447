"""Time in which this program got no turn: a busy machine, SIGSTOP, a paused virtual machine, a long pause of its own.

    tick         tick         due          (no turn)           now
     |------------|------------|===============================|----
                                `------------ stall ----------'

A deadline that passed in a stall says nothing of a peer: its answer may lie unread in a socket of ours, and what was to
be asked was not asked. So whoever judges others by a deadline takes it from `deadline`: stalls do not count.
"""

from __future__ import annotations

import logging
import math
from collections import deque

import trio

from tunnel.machines.notifier import Notifier

log = logging.getLogger(__name__)

TICK = 0.2
"""Seconds between two turns that are checked."""
LEAST = 0.1
"""Seconds that a turn may be late. Together with a tick it is less than three quarters of `path_suspect`: a stall that
is not noticed cannot make a path silent by itself."""
MOST = 5.0
"""Seconds: a longer stall counts as time that passed: the peers may have given us up, and mappings may be gone."""
WATCHED = 3.0
"""Seconds for which turns are checked after somebody asked: the deadlines that a stall matters to are as short as that.
Otherwise an idle program would be woken for nothing."""
KEPT = 32
"""How many stalls are remembered."""


class Stalls:
    """The stalls of this program. `run` it in a task for as long as something is judged; without it there are none."""

    def __init__(self) -> None:
        self._is_running = False
        self._due = math.inf
        """When the next turn is due; infinity while none is checked."""
        self._until = -math.inf
        self._asked = Notifier()
        self._stalls: deque[tuple[float, float]] = deque(maxlen=KEPT)
        """When each began and ended, in the order of time."""

    async def run(self) -> None:
        """For ever: take a turn often while somebody asks, so that a missed one is noticed."""
        self._is_running = True
        try:
            while True:
                while (now := trio.current_time()) < self._until:
                    self._due = now + TICK
                    await trio.sleep_until(self._due)
                    self._look(trio.current_time())
                self._due = math.inf
                await self._asked.wait()
        finally:
            self._is_running, self._due = False, math.inf

    def note(self, began: float, ended: float) -> None:
        """This program had no turn between these two moments."""
        log.debug("no turn", extra={"seconds": round(ended - began, 2)})
        if ended - began <= MOST:
            self._stalls.append((began, ended))

    def deadline(self, since: float, patience: float) -> float:
        """When `patience` seconds have passed after `since`, stalls not counted. Another stall makes it later."""
        return since + patience + self.lost(since)

    def lost(self, since: float) -> float:
        """Seconds without a turn after `since`."""
        self._ask()
        lost = 0.0
        for began, ended in reversed(self._stalls):
            if ended <= since:
                break
            lost += ended - max(began, since)
        return lost

    @property
    def last_ended(self) -> float:
        """When the last stall ended; minus infinity if there was none."""
        self._ask()
        return self._stalls[-1][1] if self._stalls else -math.inf

    def _ask(self) -> None:
        if not self._is_running:
            return
        now = trio.current_time()
        self._look(now)
        self._until = now + WATCHED
        if self._due == math.inf:
            self._due = now + TICK
            self._asked.notify()

    def _look(self, now: float) -> None:
        """Note a stall that has just ended. Whoever has the first turn after it does so."""
        if now - self._due >= LEAST:
            self.note(self._due, now)
            self._due = now
