"""What the user has sent and the peer has not acknowledged."""

from __future__ import annotations

from bisect import bisect_right

from tunnel.model.buffers import Buffer

_SMALL = 4096
"""Bytes. Shorter writes are gathered, since each chunk costs some 200 bytes by itself."""
_MOST_DEAD = 64
"""Acknowledged chunks that may stay in the lists, so that not each acknowledgment moves them."""


class SendBuffer:
    """Bytes by offset: from `start`, where those begin that are kept, to `end`.

    Large `bytes` are kept as they are; everything else is copied once.
    """

    __slots__ = ("_chunks", "_dead", "_starts", "end", "start")

    def __init__(self, start: int) -> None:
        self.start = self.end = start
        self._chunks: list[bytes | bytearray] = []
        self._starts: list[int] = []
        self._dead = 0

    def append(self, data: Buffer) -> None:
        """Add data at the end."""
        size = len(data)
        if size < _SMALL and self._chunks and type(self._chunks[-1]) is bytearray and len(self._chunks[-1]) < _SMALL:
            self._chunks[-1] += data
        elif size:
            self._chunks.append(bytearray(data) if size < _SMALL else bytes(data))
            self._starts.append(self.end)
        self.end += size

    def release(self, offset: int) -> None:
        """Forget what is before the offset."""
        self.start = offset
        chunks, starts, dead = self._chunks, self._starts, self._dead
        last = len(chunks)
        while dead < last and starts[dead] + len(chunks[dead]) <= offset:
            chunks[dead] = b""
            dead += 1
        if dead == last:
            chunks.clear()
            starts.clear()
            dead = 0
        elif dead > _MOST_DEAD:
            del chunks[:dead], starts[:dead]
            dead = 0
        self._dead = dead

    def slices(self, offset: int, end: int) -> tuple[Buffer, ...]:
        """The bytes from `offset` to `end` as buffers, which nobody changes."""
        place = bisect_right(self._starts, offset) - 1
        found: list[Buffer] = []
        while offset < end:
            chunk, start = self._chunks[place], self._starts[place]
            stop = min(end - start, len(chunk))
            if type(chunk) is bytes:
                found.append(
                    chunk if offset == start and stop == len(chunk) else memoryview(chunk)[offset - start : stop]
                )
            else:
                found.append(bytes(chunk[offset - start : stop]))
            offset = start + stop
            place += 1
        return tuple(found)

    def clear(self) -> None:
        """Forget everything."""
        self.release(self.end)
