"""Fair shares of the event loop among connections, however much each of them sends or is sent.

    light: has used little lately      served at once, while all light ones together use little
    heavy: all others                  served one at a time, one a round of the event loop, the least used first

So a flood on any number of connections delays the others by one small piece of work a round, not by one for each
connection. The connections of one source are a group: they are light or heavy together and have one place in the queue,
so many connections of one source get no more turns than one.

The next one is chosen by start-time fair queueing (Goyal, Vin and Cheng 1996), among the groups and then within the
group: each has a virtual time up to which it was served, and the earliest is next. An idle one saves up no more than
`CREDIT`, which puts it before those that are served in turn.

Must not know streams or signals.
"""

from __future__ import annotations

import math
from heapq import heapify, heappop, heappush
from weakref import WeakValueDictionary

import trio

LIGHT_RATE = 10.0
"""Pieces of work a second that a share may use without queueing. A piece takes about 50 to 150 us."""
LIGHT_BURST = 10.0
GROUP_RATE = 4 * LIGHT_RATE
"""The same for a group."""
GROUP_BURST = 4 * LIGHT_BURST
LIGHTS_RATE = 40 * LIGHT_RATE
"""The same for all together: about 4 % of the event loop."""
LIGHTS_BURST = 4 * LIGHT_BURST
"""About 4 ms of work, by which others may be delayed."""
LIGHTS_MEMORY = 0.2
CREDIT = 8.0
"""Pieces of work by which one may be behind its queue's virtual time."""
DEBT = 64.0
"""Pieces of work by which one may be ahead of it, so that no connection starves for what others had it sent."""
MEMORY = 2.0
"""Seconds after which an idle one is light again, however much it has used."""


class _Meter:
    """Whether more than `burst`, and then `rate` a second, was used lately."""

    __slots__ = ("_memory", "_most", "_rate", "_until")

    def __init__(self, rate: float, burst: float, memory: float = MEMORY) -> None:
        """`memory`: seconds after which all use is forgotten, however much it was."""
        self._rate = rate
        self._most = burst / rate
        self._memory = memory
        self._until = -math.inf
        """When the work so far will be paid for, at `rate`."""

    def is_over(self, now: float) -> bool:
        return self._until - now > self._most

    def charge(self, pieces: float, now: float) -> None:
        self._until = min(max(self._until, now) + pieces / self._rate, now + self._memory)


class FairQueue:
    """The one queue in which all heavy shares wait."""

    def __init__(self) -> None:
        self.time = 0.0
        """Virtual, in pieces of work: the place at which the group that is being served began."""
        self.lights = _Meter(LIGHTS_RATE, LIGHTS_BURST, LIGHTS_MEMORY)
        """What all used without queueing."""
        self._waiting: list[tuple[float, int, SourceGroup]] = []
        """Groups, each once, with the place that each had when it was queued."""
        self._number = 0
        self._is_taken = False
        self._groups: WeakValueDictionary[str, SourceGroup] = WeakValueDictionary()

    @property
    def is_contended(self) -> bool:
        """Whether any share waits."""
        return bool(self._waiting)

    def group_of(self, source: str) -> SourceGroup:
        """The group of all present shares of this source."""
        group = self._groups.get(source)
        if group is None:
            group = self._groups[source] = SourceGroup()
        return group

    async def take(self, group: SourceGroup, place: float) -> None:
        """Return when it is the caller's turn. Its share was served up to `place` within its group.

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
                if waiting[2].is_set():  # its turn came as it was cancelled
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
        heappush(self._waiting, (group.place, self._count(), group))

    def _pass_on(self) -> None:
        while self._waiting:
            place, _, group = heappop(self._waiting)
            group.is_queued = False
            if not group.waiting:  # all were cancelled
                continue
            if group.place > place:  # it has used more since it was queued
                self._enqueue(group)
                continue
            heappop(group.waiting)[2].set()
            if group.waiting:
                self._enqueue(group)
            return
        self._is_taken = False


class SourceGroup:
    """The shares of one source, and their common place in the queue."""

    __slots__ = ("__weakref__", "is_queued", "meter", "place", "time", "waiting")

    def __init__(self) -> None:
        self.meter = _Meter(GROUP_RATE, GROUP_BURST)
        self.place = 0.0
        """In the virtual time of all groups."""
        self.time = 0.0
        """Virtual: the place at which the share of the group that was served last began."""
        self.waiting: list[tuple[float, int, trio.Event]] = []
        self.is_queued = False


class Share:
    """The use of one connection. Await `wait_turn` before a small piece of work, and `charge` it."""

    __slots__ = ("_group", "_meter", "_place", "_queue")

    def __init__(self, queue: FairQueue, group: SourceGroup | None = None) -> None:
        """Without a group the share gets one of its own."""
        self._queue = queue
        self._group = group or SourceGroup()
        self._meter = _Meter(LIGHT_RATE, LIGHT_BURST)
        self._place = 0.0

    @property
    def is_heavy(self) -> bool:
        """Whether it, its group or all light ones together have used more lately than they may without queueing."""
        now = trio.current_time()
        return self._meter.is_over(now) or self._group.meter.is_over(now) or self._queue.lights.is_over(now)

    @property
    def is_contended(self) -> bool:
        """Whether any share waits for its turn."""
        return self._queue.is_contended

    async def wait_turn(self) -> None:
        """Return at once if the share is light, without a checkpoint; else when its turn has come."""
        if self.is_heavy:
            await self.wait_queued()

    async def wait_queued(self) -> None:
        """Return when the turn of this share has come: for larger pieces of work, and for work that can wait."""
        await self._queue.take(self._group, max(self._place, self._group.time - CREDIT))

    def charge(self, pieces: float) -> None:
        """Record this much work."""
        now, queue, group = trio.current_time(), self._queue, self._group
        self._place = _charged(self._place, pieces, group.time, is_contended=bool(group.waiting))
        group.place = _charged(group.place, pieces, queue.time, is_contended=queue.is_contended)
        if not self.is_heavy:
            queue.lights.charge(pieces, now)
        self._meter.charge(pieces, now)
        group.meter.charge(pieces, now)


def _charged(place: float, pieces: float, time: float, *, is_contended: bool) -> float:
    """The place after this much work, in a queue whose virtual time is `time`.

    Work that delayed no other share costs no place.
    """
    return min(max(place, time - CREDIT) + pieces, time + DEBT) if is_contended else time
