"""Fair shares of the event loop among connections, however much each of them sends or is told.

    light: has used little lately           goes at once
    heavy: the others                       one of them a round of the loop, who has used least first

A flood on any number of connections then delays the others by one small piece of work a round, not by one of each
connection. Who is next is found by start-time fair queueing: each share has a virtual time up to which it was served,
and the line serves the earliest. Who rests saves up no more than `CREDIT`, which puts it before those who are served
in turn.

Knows no stream and no signal.
"""

from __future__ import annotations

import math
from heapq import heapify, heappop, heappush

import trio

LIGHT_RATE = 10.0
"""Pieces of work a second that a share may use without standing in line. A piece takes some 50 to 150 us."""
LIGHT_BURST = 10.0
CREDIT = 8.0
"""Pieces of work that a share may be behind the line's own time."""
DEBT = 64.0
"""Pieces of work that a share may be ahead of the line's own time: what others had it sent starves nobody."""
MEMORY = 2.0
"""Seconds after which a share that rests is light again, however much it has used."""


class Turns:
    """The one line in which all who are heavy wait."""

    def __init__(self) -> None:
        self.time = 0.0
        """Virtual, in pieces of work: where whoever has the turn began."""
        self._line: list[tuple[float, int, trio.Event]] = []
        self._number = 0
        self._is_taken = False

    @property
    def is_contended(self) -> bool:
        """Whether somebody waits."""
        return bool(self._line)

    async def take(self, place: float) -> None:
        """Return when it is the turn of the caller, whose share was served up to `place`.

        The next one's turn comes a round of the loop later.
        """
        if self._is_taken:
            self._number += 1
            waiting = (place, self._number, trio.Event())
            heappush(self._line, waiting)
            try:
                await waiting[2].wait()
            except BaseException:
                if waiting[2].is_set():  # it was given the turn as it was cancelled
                    self._pass_on()
                else:
                    self._line.remove(waiting)
                    heapify(self._line)
                raise
        self._is_taken = True
        self.time = max(self.time, place)
        try:
            await trio.lowlevel.checkpoint()
        finally:
            self._pass_on()

    def _pass_on(self) -> None:
        if self._line:
            heappop(self._line)[2].set()
        else:
            self._is_taken = False


class Share:
    """What one connection uses. Await `wait_turn` before a small piece of work, and `charge` it."""

    __slots__ = ("_place", "_turns", "_used_until")

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._place = 0.0
        self._used_until = -math.inf
        """When the work so far would be paid for, at `LIGHT_RATE`."""

    @property
    def is_heavy(self) -> bool:
        """Whether more was used lately than goes without standing in line."""
        return self._used_until - trio.current_time() > LIGHT_BURST / LIGHT_RATE

    async def wait_turn(self) -> None:
        """Return at once if the share is light, without a checkpoint; else when its turn has come."""
        if self.is_heavy:
            await self.stand_in_line()

    async def stand_in_line(self) -> None:
        """Return when the turn of this share has come: for larger pieces, and what has time."""
        await self._turns.take(max(self._place, self._turns.time - CREDIT))

    def charge(self, pieces: float) -> None:
        """Note so much work."""
        now, line = trio.current_time(), self._turns
        if line.is_contended:
            self._place = min(max(self._place, line.time - CREDIT) + pieces, line.time + DEBT)
        else:  # nobody waited for this work, so nobody goes before us for it later
            self._place = line.time
        self._used_until = min(max(self._used_until, now) + pieces / LIGHT_RATE, now + MEMORY)
