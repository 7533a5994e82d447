"""Packets that wait for keys or a route: a few, and for a limited time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

from tunnel.model.buffers import Buffer
from tunnel.wire.frames import Kind

MAX_WAITING = 64
MAX_WAITING_BYTES = 256 * 1024


class WaitingPackets:
    """One for each flow. Pure: time is passed in."""

    __slots__ = ("_held", "_patience", "_size", "dropped")

    def __init__(self, patience: float) -> None:
        """`patience`: how many seconds a packet may wait."""
        self._patience = patience
        self._held: deque[tuple[float, Kind, bytes]] = deque()
        self._size = 0
        self.dropped = 0
        """Packets that were dropped, because too many waited or they waited too long."""

    def is_empty(self, now: float) -> bool:
        """Whether no packet waits that may still be sent."""
        self._drop_stale(now)
        return not self._held

    def hold(self, kind: Kind, plaintexts: Sequence[Buffer], now: float) -> None:
        """Keep copies until they can be sent. If there are too many, the oldest are dropped."""
        self._drop_stale(now)
        for plaintext in plaintexts:
            self._held.append((now, kind, bytes(plaintext)))
            self._size += len(plaintext)
            while len(self._held) > MAX_WAITING or self._size > MAX_WAITING_BYTES:
                self._drop_oldest()

    def take_all(self, now: float) -> Iterator[tuple[Kind, bytes]]:
        """Remove and return what waited, oldest first."""
        self._drop_stale(now)
        held, self._held, self._size = self._held, deque(), 0
        return ((kind, plaintext) for _, kind, plaintext in held)

    def clear(self) -> None:
        """Drop all of them."""
        self._held.clear()
        self._size = 0

    def _drop_stale(self, now: float) -> None:
        oldest = now - self._patience
        while self._held and self._held[0][0] < oldest:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        self._size -= len(self._held.popleft()[2])
        self.dropped += 1
