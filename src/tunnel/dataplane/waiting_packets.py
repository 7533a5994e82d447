"""Packets that wait for keys or a route: few, and none for longer than it is worth."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

from tunnel.wire.frames import Kind

MAX_WAITING = 64


class WaitingPackets:
    """One a flow. Pure: time comes in as a number."""

    __slots__ = ("_held", "_patience", "dropped")

    def __init__(self, patience: float) -> None:
        """`patience`: seconds that a packet may wait."""
        self._patience = patience
        self._held: deque[tuple[float, Kind, bytes]] = deque()
        self.dropped = 0
        """Too many waited, or they waited for too long."""

    def is_empty(self, now: float) -> bool:
        """Whether nothing waits that is still worth sending."""
        self._drop_stale(now)
        return not self._held

    def hold(self, kind: Kind, plaintexts: Sequence[bytes], now: float) -> None:
        """Keep packets until they can be sent; the oldest make room."""
        self._drop_stale(now)
        for plaintext in plaintexts:
            if len(self._held) >= MAX_WAITING:
                self._drop_oldest()
            self._held.append((now, kind, plaintext))

    def take_all(self, now: float) -> Iterator[tuple[Kind, bytes]]:
        """What waited, oldest first; none of it waits any longer."""
        self._drop_stale(now)
        held, self._held = self._held, deque()
        return ((kind, plaintext) for _, kind, plaintext in held)

    def clear(self) -> None:
        """Forget them all."""
        self._held.clear()

    def _drop_stale(self, now: float) -> None:
        oldest = now - self._patience
        while self._held and self._held[0][0] < oldest:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        self._held.popleft()
        self.dropped += 1
