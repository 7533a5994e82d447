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

log = logging.getLogger(__name__)

TICK = 0.2
"""Seconds between two turns that are checked."""
LEAST = 0.1
"""Seconds that a turn may be late. Together with a tick it is less than three quarters of `path_suspect`: a stall that
is not noticed cannot make a path silent by itself."""
MOST = 5.0
"""Seconds: a longer stall counts as time that passed: the peers may have given us up, and mappings may be gone."""
KEPT = 32
"""How many stalls are remembered."""


class Stalls:
    """The stalls of this program. `run` it in a task for as long as something is judged; without it there are none."""

    def __init__(self) -> None:
        self._due = math.inf
        self._stalls: deque[tuple[float, float]] = deque(maxlen=KEPT)
        """When each began and ended, in the order of time."""

    async def run(self) -> None:
        """For ever: take a turn often, so that a missed one is noticed."""
        try:
            while True:
                self._due = trio.current_time() + TICK
                await trio.sleep_until(self._due)
                self._look()
        finally:
            self._due = math.inf

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
        self._look()
        lost = 0.0
        for began, ended in reversed(self._stalls):
            if ended <= since:
                break
            lost += ended - max(began, since)
        return lost

    @property
    def last_ended(self) -> float:
        """When the last stall ended; minus infinity if there was none."""
        self._look()
        return self._stalls[-1][1] if self._stalls else -math.inf

    def _look(self) -> None:
        """Note a stall that has just ended. Whoever has the first turn after it does so."""
        if self._due == math.inf:
            return
        now = trio.current_time()
        if now - self._due >= LEAST:
            self.note(self._due, now)
            self._due = now
