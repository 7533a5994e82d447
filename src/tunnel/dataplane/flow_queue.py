"""What waits because a link is slower than this machine: a queue for each stream of packets, kept short (RFC 8290).

    put --by hash--> [new streams] one quantum first --+
                     [old streams] in turn ------------+--> head dropped if it has waited too long (RFC 8289) --> take

A stream that sends little never waits behind one that sends much: a ping passes a download. Pure: time is passed in.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Hashable
from math import sqrt
from typing import Generic, TypeVar

TARGET = 0.005
"""Seconds that packets of a stream may wait for longer than INTERVAL (RFC 8289 4.2)."""
INTERVAL = 0.1
QUANTUM = 1514
"""Bytes that each stream sends in its turn (RFC 8290 5.2.2)."""
MAX_HELD = 4 * 1024 * 1024
"""Bytes of all streams together; beyond it one of the longest loses its oldest packets."""
QUEUES = 1024
"""Streams beyond it share queues, by a hash (RFC 8290 4.1)."""
SHED = 64
"""Packets that one of the longest loses at once at most; else half of its bytes."""
OVERHEAD = 256
"""Bytes that a packet takes in memory besides its own."""

_Item = TypeVar("_Item")
_SALT = secrets.token_bytes(16)
"""So that nobody can choose a stream that shares a queue with another one."""


class FlowQueue(Generic[_Item]):
    """`put` packets, `take` them in another order: in order only within a stream."""

    def __init__(self) -> None:
        self._streams: dict[int, _Stream[_Item]] = {}
        self._by_length: list[dict[_Stream[_Item], None]] = [{} for _ in range(MAX_HELD.bit_length() + 1)]
        """Those that are not empty, by the bits of the number of their bytes."""
        self._new: deque[_Stream[_Item]] = deque()
        self._old: deque[_Stream[_Item]] = deque()
        self._held = 0
        self.dropped = 0
        """Packets that waited too long, or for which there was no room."""

    def __bool__(self) -> bool:
        return self._held > 0

    def put(self, stream: Hashable, item: _Item, size: int, now: float) -> None:
        """Queue one packet of `size` bytes."""
        number = hash((_SALT, stream)) % QUEUES
        queue = self._streams.get(number)
        if queue is None:
            queue = self._streams[number] = _Stream(number)
            self._new.append(queue)
        before = queue.held
        queue.append(now, size + OVERHEAD, item)
        self._note_length(queue, before)
        while self._held > MAX_HELD:
            self._shed()

    def take(self, now: float) -> _Item | None:
        """The packet that is sent next; None: there is none."""
        while self._new or self._old:
            turns = self._new or self._old
            queue = turns[0]
            if queue.deficit <= 0:
                queue.deficit += QUANTUM
                turns.popleft()
                self._old.append(queue)
                continue
            before, count = queue.held, len(queue.waiting)
            entry = queue.take(now)
            self._note_length(queue, before)
            self.dropped += count - len(queue.waiting) - (entry is not None)
            if entry is not None:
                queue.deficit -= entry[1]
                return entry[2]
            turns.popleft()
            if turns is self._new and self._old:
                self._old.append(queue)  # so that it does not come first again at once (RFC 8290 4.2)
            else:
                del self._streams[queue.number]
        return None

    def clear(self) -> None:
        """Drop everything."""
        self.dropped += sum([len(queue.waiting) for queue in self._streams.values()])
        self._streams.clear()
        for queues in self._by_length:
            queues.clear()
        self._new.clear()
        self._old.clear()
        self._held = 0

    def _note_length(self, queue: _Stream[_Item], before: int) -> None:
        """A queue held `before` bytes."""
        self._held += queue.held - before
        was, bits = before.bit_length(), queue.held.bit_length()
        if was != bits:
            self._by_length[was].pop(queue, None)
            if bits:
                self._by_length[bits][queue] = None

    def _shed(self) -> None:
        """Make room at the expense of one at least half as long as the longest: to look at all takes long."""
        queue = next(iter(next(filter(None, reversed(self._by_length)))))
        before = queue.held
        self.dropped += queue.shed()
        self._note_length(queue, before)


class _Stream(Generic[_Item]):
    """The queue of one stream, or of some, with the control law of RFC 8289 5."""

    __slots__ = (
        "_count",
        "_drop_next",
        "_first_above",
        "_is_dropping",
        "_last_count",
        "deficit",
        "held",
        "number",
        "waiting",
    )

    def __init__(self, number: int) -> None:
        self.number = number
        self.waiting: deque[tuple[float, int, _Item]] = deque()
        self.held = 0
        self.deficit = QUANTUM
        self._first_above = 0.0
        self._is_dropping = False
        self._drop_next = 0.0
        self._count = self._last_count = 0

    def append(self, now: float, size: int, item: _Item) -> None:
        self.waiting.append((now, size, item))
        self.held += size

    def pop(self) -> tuple[float, int, _Item]:
        head = self.waiting.popleft()
        self.held -= head[1]
        return head

    def shed(self) -> int:
        """Drop the oldest, so many packets or half of the bytes at once (RFC 8290 4.1); how many."""
        waiting, held, half, count = self.waiting, self.held, self.held // 2, 0
        while count < SHED and held > half:
            held -= waiting.popleft()[1]
            count += 1
        self.held = held
        return count

    def take(self, now: float) -> tuple[float, int, _Item] | None:
        head, may_drop = self._next(now)
        if not self._is_dropping:
            if may_drop:
                head, _ = self._next(now)
                self._is_dropping = True
                dropped = self._count - self._last_count
                self._count = dropped if dropped > 1 and now - self._drop_next < 16 * INTERVAL else 1
                self._last_count = self._count
                self._drop_next = now + INTERVAL / sqrt(self._count)
            return head
        self._is_dropping = may_drop
        while self._is_dropping and now >= self._drop_next:
            self._count += 1
            head, self._is_dropping = self._next(now)
            if self._is_dropping:
                self._drop_next += INTERVAL / sqrt(self._count)
        return head

    def _next(self, now: float) -> tuple[tuple[float, int, _Item] | None, bool]:
        """The head, and whether it may be dropped: its stream has waited too long for an interval."""
        if not self.waiting:
            self._first_above = 0.0
            return None, False
        head = self.pop()
        if now - head[0] < TARGET or not self.waiting:
            self._first_above = 0.0
        elif not self._first_above:
            self._first_above = now + INTERVAL
        else:
            return head, now >= self._first_above
        return head, False
