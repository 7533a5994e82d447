"""What has arrived and the user has not received: in order, and beyond gaps."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from heapq import nlargest

from tunnel.model.buffers import Buffer

MOST_RANGES = 256
"""Ranges beyond gaps. Data that would make one more is not kept: the peer sends it again."""
_SMALL = 4096
"""Bytes. Shorter pieces are joined with their neighbors, since each chunk costs some 100 bytes by itself."""


class _Range:
    """Bytes that arrived beyond a gap."""

    __slots__ = ("chunks", "end", "start", "touched")

    def __init__(self, start: int, data: bytes, touched: int) -> None:
        self.start, self.end = start, start + len(data)
        self.chunks = deque([data])
        self.touched = touched
        """Rises with each arrival: SACK names the latest first."""


class ReceiveBuffer:
    """`next` is the offset up to which all has arrived: RCV.NXT as far as data goes.

    The caller keeps what it stores within its window; so memory is bounded by the window, and by a small multiple of it
    where the peer sends tiny pieces.
    """

    __slots__ = ("_arrivals", "_chunks", "_ranges", "next", "readable", "reordered")

    def __init__(self, start: int) -> None:
        self.next = start
        self.readable = 0
        """Bytes in order that the user has not received."""
        self.reordered = 0
        """Bytes beyond gaps."""
        self._chunks: deque[bytes] = deque()
        self._ranges: list[_Range] = []
        self._arrivals = 0

    @property
    def has_gap(self) -> bool:
        """Whether something is missing before something that arrived."""
        return bool(self._ranges)

    def store(self, start: int, data: Buffer) -> None:
        """Data arrived for this offset, which is not before `next`. What is there already is kept."""
        if start > self.next:
            self._store_beyond(start, bytes(data))
            return
        self._add(bytes(data))
        while self._ranges and self._ranges[0].start <= self.next:
            self._take_first_range()

    def take(self, most: int) -> bytes:
        """At most so many bytes in order. A large chunk is given as it is."""
        chunks = self._chunks
        if not chunks or most <= 0:
            return b""
        if len(chunks[0]) > most:
            data, chunks[0] = chunks[0][:most], chunks[0][most:]
        elif len(chunks) == 1 or len(chunks[0]) >= 4 * _SMALL:
            data = chunks.popleft()
        else:
            parts, size = [], 0
            while chunks and size + len(chunks[0]) <= most:
                size += len(chunks[0])
                parts.append(chunks.popleft())
            data = b"".join(parts)
        self.readable -= len(data)
        return data

    def sack_blocks(self, most: int) -> list[tuple[int, int]]:
        """The ranges beyond gaps, the one that grew last first (RFC 2018 section 4)."""
        if len(self._ranges) == 1:
            return [(self._ranges[0].start, self._ranges[0].end)]
        latest = nlargest(most, self._ranges, key=_touched)
        return [(found.start, found.end) for found in latest]

    def covers(self, start: int, end: int) -> bool:
        """Whether all of this arrived before: beyond a gap, or in order."""
        if end <= self.next:
            return True
        place = bisect_left(self._ranges, end, key=_end_of)
        return place < len(self._ranges) and self._ranges[place].start <= start

    def clear(self) -> None:
        """Forget everything but `next`."""
        self._chunks.clear()
        self._ranges.clear()
        self.readable = self.reordered = 0

    def _add(self, data: bytes) -> None:
        self.readable += _append(self._chunks, data)
        self.next += len(data)

    def _take_first_range(self) -> None:
        found = self._ranges.pop(0)
        self.reordered -= found.end - found.start
        skip = self.next - found.start
        for chunk in found.chunks:
            if skip < len(chunk):
                self._add(chunk[skip:] if skip > 0 else chunk)
            skip = max(0, skip - len(chunk))

    def _store_beyond(self, start: int, data: bytes) -> None:
        """Only what is missing is added: piece by piece between the ranges that are there."""
        self._arrivals += 1
        end, ranges = start + len(data), self._ranges
        place = bisect_left(ranges, start, key=_end_of)
        while place < len(ranges) and start < end:
            after = ranges[place]
            if start < after.start:
                piece = data[: after.start - start]
                place += self._insert(place, start, piece)
                data, start = data[len(piece) :], start + len(piece)
            else:
                after.touched = self._arrivals
                skip = min(len(data), after.end - start)
                data, start = data[skip:], start + skip
                place += start < end
        if start < end:
            self._insert(len(ranges), start, data)

    def _insert(self, place: int, start: int, data: bytes) -> int:
        """Put data before the range at `place`, joined with its neighbors. Returns how many ranges were added."""
        ranges, end = self._ranges, start + len(data)
        before = ranges[place - 1] if place and ranges[place - 1].end == start else None
        after = ranges[place] if place < len(ranges) and ranges[place].start == end else None
        if before is None and after is None:
            if len(ranges) == MOST_RANGES:
                return 0
            ranges.insert(place, _Range(start, data, self._arrivals))
            self.reordered += len(data)
            return 1
        self.reordered += len(data)
        if before is None:
            assert after is not None
            _prepend(after.chunks, data)
            after.start, after.touched = start, self._arrivals
            return 0
        _append(before.chunks, data)
        before.end, before.touched = end, self._arrivals
        if after is None:
            return 0
        for chunk in after.chunks:
            _append(before.chunks, chunk)
        before.end = after.end
        del ranges[place]
        return -1


def _end_of(found: _Range) -> int:
    return found.end


def _touched(found: _Range) -> int:
    return found.touched


def _append(chunks: deque[bytes], data: bytes) -> int:
    size = len(data)
    if size < _SMALL and chunks and len(chunks[-1]) < _SMALL:
        chunks[-1] += data
    elif size:
        chunks.append(data)
    return size


def _prepend(chunks: deque[bytes], data: bytes) -> None:
    if len(data) < _SMALL and len(chunks[0]) < _SMALL:
        chunks[0] = data + chunks[0]
    else:
        chunks.appendleft(data)
