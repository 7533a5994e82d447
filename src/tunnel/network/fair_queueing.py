"""Fair shares of the event loop among connections, however much each of them sends or is told.

    light: has used little lately           goes at once, while all who are light use little together
    heavy: the others                       one of them a round of the loop, who has used least first

A flood on any number of connections then delays the others by one small piece of work a round, not by one of each
connection. The connections of one source are a group: they are light together, or not, and have one place in the line,
so that many connections of one source get no more turns than one.

Who is next is found by start-time fair queueing, among the groups and then within the group: each has a virtual time up
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
GROUP_RATE = 4 * LIGHT_RATE
"""What a group may use so."""
GROUP_BURST = 4 * LIGHT_BURST
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


class FairQueue:
    """The one line in which all who are heavy wait."""

    def __init__(self) -> None:
        self.time = 0.0
        """Virtual, in pieces of work: where the group that has the turn began."""
        self.lights = _Meter(LIGHTS_RATE, LIGHTS_BURST, LIGHTS_MEMORY)
        """What all used who did not stand in line."""
        self._line: list[tuple[float, int, SourceGroup]] = []
        """Crowds, each once, with the place that it had when it was put there."""
        self._number = 0
        self._is_taken = False
        self._groups: WeakValueDictionary[str, SourceGroup] = WeakValueDictionary()

    @property
    def is_contended(self) -> bool:
        """Whether somebody waits."""
        return bool(self._line)

    def group_of(self, source: str) -> SourceGroup:
        """The group of all shares of this source that there are now."""
        group = self._groups.get(source)
        if group is None:
            group = self._groups[source] = SourceGroup()
        return group

    async def take(self, group: SourceGroup, place: float) -> None:
        """Return when it is the turn of the caller, whose share was served up to `place` within its group.

        The next one's turn comes a round of the loop later.
        """
        if self._is_taken:
            waiting = (place, self._count(), trio.Event())
            heappush(group.waiting, waiting)
            if not group.is_queued:
                self._enqueue(group)
            try:
                await waiting[2].wait()
            except BaseException:
                if waiting[2].is_set():  # it was given the turn as it was cancelled
                    self._pass_on()
                else:
                    group.waiting.remove(waiting)
                    heapify(group.waiting)
                raise
        self._is_taken = True
        group.time = max(group.time, place)
        self.time = max(self.time, group.place)
        try:
            await trio.lowlevel.checkpoint()
        finally:
            self._pass_on()

    def _count(self) -> int:
        self._number += 1
        return self._number

    def _enqueue(self, group: SourceGroup) -> None:
        group.is_queued = True
        group.place = max(group.place, self.time - CREDIT)
        heappush(self._line, (group.place, self._count(), group))

    def _pass_on(self) -> None:
        while self._line:
            place, _, group = heappop(self._line)
            group.is_queued = False
            if not group.waiting:  # all were cancelled
                continue
            if group.place > place:  # it used more since it was put there
                self._enqueue(group)
                continue
            heappop(group.waiting)[2].set()
            if group.waiting:
                self._enqueue(group)
            return
        self._is_taken = False


class SourceGroup:
    """The shares of one source, and where they are in the line together."""

    __slots__ = ("__weakref__", "is_queued", "meter", "place", "time", "waiting")

    def __init__(self) -> None:
        self.meter = _Meter(GROUP_RATE, GROUP_BURST)
        self.place = 0.0
        """In the time of all groups."""
        self.time = 0.0
        """Virtual: where whoever of the group had the last turn began."""
        self.waiting: list[tuple[float, int, trio.Event]] = []
        self.is_queued = False


class Share:
    """What one connection uses. Await `wait_turn` before a small piece of work, and `charge` it."""

    __slots__ = ("_group", "_meter", "_place", "_queue")

    def __init__(self, queue: FairQueue, group: SourceGroup | None = None) -> None:
        """Without a group it is one of its own."""
        self._queue = queue
        self._group = group or SourceGroup()
        self._meter = _Meter(LIGHT_RATE, LIGHT_BURST)
        self._place = 0.0

    @property
    def is_heavy(self) -> bool:
        """Whether more was used lately, by it, its group or all who are light, than goes without standing in line."""
        now = trio.current_time()
        return self._meter.is_over(now) or self._group.meter.is_over(now) or self._queue.lights.is_over(now)

    async def wait_turn(self) -> None:
        """Return at once if the share is light, without a checkpoint; else when its turn has come."""
        if self.is_heavy:
            await self.wait_queued()

    async def wait_queued(self) -> None:
        """Return when the turn of this share has come: for larger pieces, and what has time."""
        await self._queue.take(self._group, max(self._place, self._group.time - CREDIT))

    def charge(self, pieces: float) -> None:
        """Note so much work."""
        now, line, group = trio.current_time(), self._queue, self._group
        self._place = _charged(self._place, pieces, group.time, is_contended=bool(group.waiting))
        group.place = _charged(group.place, pieces, line.time, is_contended=line.is_contended)
        if not self.is_heavy:
            line.lights.charge(pieces, now)
        self._meter.charge(pieces, now)
        group.meter.charge(pieces, now)


def _charged(place: float, pieces: float, time: float, *, is_contended: bool) -> float:
    """The place after so much work, in a line that is at `time`.

    While nobody waits for the work, nobody goes before us for it later.
    """
    return min(max(place, time - CREDIT) + pieces, time + DEBT) if is_contended else time
