"""What waits because a link is slower than this machine: a queue for each stream of packets, kept short (RFC 8290).

    put --by stream--> [new streams] one quantum first --+
                       [old streams] in turn ------------+--> head dropped if it has waited too long (RFC 8289) --> take

A stream that sends little never waits behind one that sends much: a ping passes a download. Pure: time is passed in.
"""

from __future__ import annotations

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
"""Bytes of all streams together; beyond it the longest loses its oldest packets."""
OVERHEAD = 256
"""Bytes that a packet takes in memory besides its own."""

_Item = TypeVar("_Item")


class FlowQueue(Generic[_Item]):
    """`put` packets, `take` them in another order: in order only within a stream."""

    def __init__(self) -> None:
        self._streams: dict[Hashable, _Stream[_Item]] = {}
        self._new: deque[_Stream[_Item]] = deque()
        self._old: deque[_Stream[_Item]] = deque()
        self._held = 0
        self.dropped = 0
        """Packets that waited too long, or for which there was no room."""

    def __bool__(self) -> bool:
        return self._held > 0

    def put(self, stream: Hashable, item: _Item, size: int, now: float) -> None:
        """Queue one packet of `size` bytes."""
        queue = self._streams.get(stream)
        if queue is None:
            queue = self._streams[stream] = _Stream(stream)
            self._new.append(queue)
        queue.append(now, size + OVERHEAD, item)
        self._held += size + OVERHEAD
        while self._held > MAX_HELD:
            longest = max(self._streams.values(), key=lambda each: each.held)
            self._held -= longest.pop()[1]
            self.dropped += 1

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
            self._held -= before - queue.held
            self.dropped += count - len(queue.waiting) - (entry is not None)
            if entry is not None:
                queue.deficit -= entry[1]
                return entry[2]
            turns.popleft()
            if turns is self._new and self._old:
                self._old.append(queue)  # so that it does not come first again at once (RFC 8290 4.2)
            else:
                del self._streams[queue.stream]
        return None

    def clear(self) -> None:
        """Forget everything."""
        self._streams.clear()
        self._new.clear()
        self._old.clear()
        self._held = 0


class _Stream(Generic[_Item]):
    """One stream, with the control law of RFC 8289 5."""

    __slots__ = (
        "_count",
        "_drop_next",
        "_first_above",
        "_is_dropping",
        "_last_count",
        "deficit",
        "held",
        "stream",
        "waiting",
    )

    def __init__(self, stream: Hashable) -> None:
        self.stream = stream
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
