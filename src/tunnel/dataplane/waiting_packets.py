"""Packets that wait for keys or a way: few, and none for longer than it is worth."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import trio

from tunnel.wire.frames import Kind

MAX_WAITING = 64


class WaitingPackets:
    """One a session. `send(kind, plaintext)` sends one, or holds it again; `patience`: seconds that one may wait."""

    def __init__(self, send: Callable[[Kind, bytes], None], patience: float) -> None:
        self._send = send
        self._patience = patience
        self._held: deque[tuple[float, Kind, bytes]] = deque()
        self.dropped = 0
        """They were too many, or waited for too long."""

    def __bool__(self) -> bool:
        self._drop_stale()
        return bool(self._held)

    def hold(self, kind: Kind, plaintext: bytes) -> None:
        """Keep a packet until it can be sent, for as long as the peer counts as wanted; the oldest makes room."""
        self._drop_stale()
        if len(self._held) >= MAX_WAITING:
            self._drop_oldest()
        self._held.append((trio.current_time(), kind, plaintext))

    def flush(self) -> None:
        """Send what waited, oldest first; what waited for too long is no longer worth it."""
        self._drop_stale()
        held, self._held = self._held, deque()
        for _, kind, plaintext in held:
            self._send(kind, plaintext)

    def clear(self) -> None:
        """Forget them all."""
        self._held.clear()

    def _drop_stale(self) -> None:
        oldest = trio.current_time() - self._patience
        while self._held and self._held[0][0] < oldest:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        self._held.popleft()
        self.dropped += 1
