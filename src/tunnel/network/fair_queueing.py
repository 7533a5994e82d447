"""Fair shares of the event loop among connections, however much each of them sends or is told.

    light: has used little lately           goes at once, while all who are light use little together
    heavy: the others                       one of them a round of the loop, who has used least first

A flood on any number of connections then delays the others by one small piece of work a round, not by one of each
connection. The connections of one source are a crowd: they are light together, or not, and have one place in the line,
so that many connections of one source get no more turns than one.

Who is next is found by start-time fair queueing, among the crowds and then within the crowd: each has a virtual time up
to which it was served, and the line serves the earliest. Who rests saves up no more than `CREDIT`, which puts it before
those who are served in turn.

Knows no stream and no signal.
"""

from __future__ import annotations

import math
from heapq import heapify, heappop, heappush
from weakref import WeakValueDictionary

import trio

LIGHT_RATE = 10.0
"""Pieces of work a second that a share may use without standing in line. A piece takes some 50 to 150 us."""
LIGHT_BURST = 10.0
CROWD_RATE = 4 * LIGHT_RATE
"""What a crowd may use so."""
CROWD_BURST = 4 * LIGHT_BURST
LIGHTS_RATE = 40 * LIGHT_RATE
"""What all may use so together: some 4 % of the loop."""
LIGHTS_BURST = 4 * LIGHT_BURST
"""Some 4 ms of work, which others may find before them."""
LIGHTS_MEMORY = 0.2
CREDIT = 8.0
"""Pieces of work that one may be behind its line's own time."""
DEBT = 64.0
"""Pieces of work that one may be ahead of its line's own time: what others had it sent starves nobody."""
MEMORY = 2.0
"""Seconds after which who rests is light again, however much it has used."""


class _Meter:
    """What was used lately: more than `burst` and `rate` a second is much."""

    __slots__ = ("_memory", "_most", "_rate", "_until")

    def __init__(self, rate: float, burst: float, memory: float = MEMORY) -> None:
        """`memory`: seconds after which nothing is left of it, however much it was."""
        self._rate = rate
        self._most = burst / rate
        self._memory = memory
        self._until = -math.inf
        """When the work so far would be paid for, at `rate`."""

    def is_over(self, now: float) -> bool:
        return self._until - now > self._most

    def charge(self, pieces: float, now: float) -> None:
        self._until = min(max(self._until, now) + pieces / self._rate, now + self._memory)


class Turns:
    """The one line in which all who are heavy wait."""

    def __init__(self) -> None:
        self.time = 0.0
        """Virtual, in pieces of work: where the crowd that has the turn began."""
        self.lights = _Meter(LIGHTS_RATE, LIGHTS_BURST, LIGHTS_MEMORY)
        """What all used who did not stand in line."""
        self._line: list[tuple[float, int, Crowd]] = []
        """Crowds, each once, with the place that it had when it was put there."""
        self._number = 0
        self._is_taken = False
        self._crowds: WeakValueDictionary[str, Crowd] = WeakValueDictionary()

    @property
    def is_contended(self) -> bool:
        """Whether somebody waits."""
        return bool(self._line)

    def crowd_of(self, source: str) -> Crowd:
        """The crowd of all shares of this source that there are now."""
        crowd = self._crowds.get(source)
        if crowd is None:
            crowd = self._crowds[source] = Crowd()
        return crowd

    async def take(self, crowd: Crowd, place: float) -> None:
        """Return when it is the turn of the caller, whose share was served up to `place` within its crowd.

        The next one's turn comes a round of the loop later.
        """
        if self._is_taken:
            waiting = (place, self._count(), trio.Event())
            heappush(crowd.waiting, waiting)
            if not crowd.is_in_line:
                self._line_up(crowd)
            try:
                await waiting[2].wait()
            except BaseException:
                if waiting[2].is_set():  # it was given the turn as it was cancelled
                    self._pass_on()
                else:
                    crowd.waiting.remove(waiting)
                    heapify(crowd.waiting)
                raise
        self._is_taken = True
        crowd.time = max(crowd.time, place)
        self.time = max(self.time, crowd.place)
        try:
            await trio.lowlevel.checkpoint()
        finally:
            self._pass_on()

    def _count(self) -> int:
        self._number += 1
        return self._number

    def _line_up(self, crowd: Crowd) -> None:
        crowd.is_in_line = True
        crowd.place = max(crowd.place, self.time - CREDIT)
        heappush(self._line, (crowd.place, self._count(), crowd))

    def _pass_on(self) -> None:
        while self._line:
            place, _, crowd = heappop(self._line)
            crowd.is_in_line = False
            if not crowd.waiting:  # all were cancelled
                continue
            if crowd.place > place:  # it used more since it was put there
                self._line_up(crowd)
                continue
            heappop(crowd.waiting)[2].set()
            if crowd.waiting:
                self._line_up(crowd)
            return
        self._is_taken = False


class Crowd:
    """The shares of one source, and where they are in the line together."""

    __slots__ = ("__weakref__", "is_in_line", "meter", "place", "time", "waiting")

    def __init__(self) -> None:
        self.meter = _Meter(CROWD_RATE, CROWD_BURST)
        self.place = 0.0
        """In the time of all crowds."""
        self.time = 0.0
        """Virtual: where whoever of the crowd had the last turn began."""
        self.waiting: list[tuple[float, int, trio.Event]] = []
        self.is_in_line = False


class Share:
    """What one connection uses. Await `wait_turn` before a small piece of work, and `charge` it."""

    __slots__ = ("_crowd", "_meter", "_place", "_turns")

    def __init__(self, turns: Turns, crowd: Crowd | None = None) -> None:
        """Without a crowd it is one of its own."""
        self._turns = turns
        self._crowd = crowd or Crowd()
        self._meter = _Meter(LIGHT_RATE, LIGHT_BURST)
        self._place = 0.0

    @property
    def is_heavy(self) -> bool:
        """Whether more was used lately, by it, its crowd or all who are light, than goes without standing in line."""
        now = trio.current_time()
        return self._meter.is_over(now) or self._crowd.meter.is_over(now) or self._turns.lights.is_over(now)

    async def wait_turn(self) -> None:
        """Return at once if the share is light, without a checkpoint; else when its turn has come."""
        if self.is_heavy:
            await self.stand_in_line()

    async def stand_in_line(self) -> None:
        """Return when the turn of this share has come: for larger pieces, and what has time."""
        await self._turns.take(self._crowd, max(self._place, self._crowd.time - CREDIT))

    def charge(self, pieces: float) -> None:
        """Note so much work."""
        now, line, crowd = trio.current_time(), self._turns, self._crowd
        self._place = _charged(self._place, pieces, crowd.time, is_contended=bool(crowd.waiting))
        crowd.place = _charged(crowd.place, pieces, line.time, is_contended=line.is_contended)
        if not self.is_heavy:
            line.lights.charge(pieces, now)
        self._meter.charge(pieces, now)
        crowd.meter.charge(pieces, now)


def _charged(place: float, pieces: float, time: float, *, is_contended: bool) -> float:
    """The place after so much work, in a line that is at `time`.

    While nobody waits for the work, nobody goes before us for it later.
    """
    return min(max(place, time - CREDIT) + pieces, time + DEBT) if is_contended else time
