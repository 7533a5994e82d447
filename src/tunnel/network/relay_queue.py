"""The datagrams that wait for one WebSocket link: fair between lanes, bounded, and never old.

A relay that queues is worse than one that drops: the TCP streams inside the tunnel slow down only when packets are
lost. So each lane (one for each handle) has its own queue, and one datagram of each is taken in turn. In a lane that
queues, a datagram that waited too long is dropped when its turn comes. A lane may hold at most as much as is still free
in the whole queue, so the more lanes compete, the less each can hold (Choudhury and Hahne's dynamic thresholds). An
empty lane always has room for one full-size datagram, however many others there are.

Queues may share a budget. By the same rule a queue holds at most as much as is still free in the budget, and a
`RESERVE` beyond it, so that links which take nothing leave room for those that do.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import trio

from tunnel.wire.relay_batch import ENTRY, MAX_ENTRIES

ENTRY_COST = 96
"""Bytes that an entry takes in memory besides its datagram: a flood of tiny ones must not escape the bound."""

LANES_WORTH = 4
"""The whole queue holds this many times what one lane may hold, and a `RESERVE` for each lane."""

QUEUING = 16 * 1024
"""Bytes behind a datagram above which its lane queues. With less it is only delayed, by a busy machine or a stall: to
drop a few datagrams (a handshake, a ping) or the only record would slow no sender down."""

HELD_UP = 1.0
"""Seconds after which a datagram is dropped, however little its lane holds."""

WRITES_SHARE = 16
"""One write may hold this part of what is free for all."""

STALLED = 2.0
"""Seconds after which a write gives way to others when all together hold too much: its link ends."""

RESERVE = 1500 + ENTRY_COST
"""Bytes reserved for each lane: one full-size datagram."""


class QueueBudget:
    """Bytes that many relay queues may hold together, and a quarter as many in what their links are writing.

    When that quarter is used up each link still writes a little: LEAST_WRITE of link.py, or one longer entry. For that
    the writes that have stalled end, the oldest first. So only writes of the last STALLED seconds exceed the quarter.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._waiters = trio.lowlevel.ParkingLot()
        self.held = 0
        self._written = 0
        self._writes: dict[trio.CancelScope, tuple[float, int]] = {}
        """When each began and what it holds; the oldest first."""

    @property
    def free(self) -> int:
        """Bytes that no queue holds."""
        return self._total - self.held

    @property
    def free_share(self) -> int:
        """Bytes that one more write may hold: a part of what others leave, so that those who stall leave some."""
        return max(self._total // 4 - self._written, 0) // WRITES_SHARE

    @contextmanager
    def writing(self, size: int, scope: trio.CancelScope) -> Iterator[None]:
        """A link holds so many bytes while it writes. Cancelling the scope ends the link."""
        self._written += size
        now = trio.current_time()
        self._writes[scope] = now, size
        excess = self._written - self._total // 4
        if excess > 0:
            for stalled, (begun, held) in self._writes.items():
                if excess <= 0 or now - begun <= STALLED:
                    break
                stalled.cancel()
                excess -= held
        try:
            yield
        finally:
            self._written -= size
            del self._writes[scope]

    def begin_write(self, size: int) -> None:
        """A link holds so many bytes more, which its writer is about to write."""
        self._written += size

    def end_write(self, size: int) -> None:
        """It writes them, or has given up."""
        self._written -= size

    def take(self, size: int) -> None:
        """A queue holds this many bytes more."""
        self.held += size
        if self._waiters:
            self._waiters.unpark_all()

    def give_back(self, size: int) -> None:
        """A queue holds this many bytes less."""
        self.held -= size

    async def wait_held(self) -> None:
        """Return when anything is held."""
        if self.held:
            await trio.lowlevel.checkpoint()
        else:
            await self._waiters.park()


@dataclass(slots=True)
class _Lane:
    waiting: deque[tuple[float, bytes]]
    size: int = 0


class RelayQueue:
    """`put` datagrams, `take_batch` what goes into the next message. Times are Trio's; sizes are bytes."""

    def __init__(self, *, per_lane: int, max_wait: float, budget: QueueBudget | None = None) -> None:
        self._budget = budget or QueueBudget(sys.maxsize)
        self._per_lane = per_lane
        self._whole = LANES_WORTH * per_lane
        self._max_wait = max_wait
        self._lanes: dict[bytes, _Lane] = {}
        self._turns: deque[bytes] = deque()
        self.size = 0
        self.dropped_full = 0
        self.dropped_old = 0

    def __bool__(self) -> bool:
        return bool(self._turns)

    def put(self, handle: bytes, datagram: bytes, now: float) -> bool:
        """Queue a datagram. False: its lane is full, and it was dropped."""
        cost = len(datagram) + ENTRY_COST
        lane = self._lanes.get(handle)
        held = 0 if lane is None else lane.size
        room = min(self._per_lane, max(self._whole - self.size, 0 if held else RESERVE))
        if held + cost > room or self.size + cost > max(self._budget.free, RESERVE):
            self.dropped_full += 1
            return False
        if lane is None:
            lane = self._lanes[handle] = _Lane(deque())
            self._turns.append(handle)
        lane.waiting.append((now, datagram))
        lane.size += cost
        self.size += cost
        self._budget.take(cost)
        return True

    def take_batch(self, now: float, max_bytes: int) -> list[tuple[bytes, bytes]]:
        """(handle, datagram) pairs, one of each lane in turn, until the encoded message has `max_bytes`.

        Empty if everything was too old. The first pair is returned whatever its size.
        """
        batch: list[tuple[bytes, bytes]] = []
        room = max_bytes - 1
        while self._turns and len(batch) < MAX_ENTRIES:
            handle = self._turns[0]
            lane = self._lanes[handle]
            self._drop_old(lane, now)
            if lane.waiting:
                needed = ENTRY.size + len(lane.waiting[0][1])
                if batch and needed > room:
                    break
                room -= needed
                batch.append((handle, self._pop(lane)))
            self._turns.popleft()
            if lane.waiting:
                self._turns.append(handle)
            else:
                del self._lanes[handle]
        return batch

    def forget_old(self, now: float) -> None:
        """Drop what waited too long now, not when its turn comes."""
        for lane in self._lanes.values():
            self._drop_old(lane, now)

    def clear(self) -> None:
        """Forget everything: the link has ended."""
        self._budget.give_back(self.size)
        self.size = 0
        self._lanes.clear()
        self._turns.clear()

    def _drop_old(self, lane: _Lane, now: float) -> None:
        while lane.waiting:
            since, datagram = lane.waiting[0]
            behind = lane.size - len(datagram) - ENTRY_COST
            if now - since <= (self._max_wait if behind > QUEUING else HELD_UP):
                return
            self._pop(lane)
            self.dropped_old += 1

    def _pop(self, lane: _Lane) -> bytes:
        datagram = lane.waiting.popleft()[1]
        cost = len(datagram) + ENTRY_COST
        lane.size -= cost
        self.size -= cost
        self._budget.give_back(cost)
        return datagram
