"""Every transition of every peer, for whoever watches: each watcher has its own queue, so a slow one delays nobody."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator
from dataclasses import dataclass

import trio

from tunnel.machines.notifier import Notifier
from tunnel.model.status import Move, PeerStatus
from tunnel.node.status_report import StatusReport
from tunnel.peer.connection import PeerConnection

WATCH_QUEUE = 1024
"""Changes that wait for one watcher; then it misses the oldest."""


@dataclass(frozen=True, slots=True)
class PeerChange:
    """One transition of one peer, and how the peer looks after it."""

    peer: PeerStatus
    move: Move


class PeerChanges:
    """Peer connections call `note_move`; watchers iterate over `watch()`."""

    def __init__(self, report: StatusReport, notifier: Notifier) -> None:
        """`notifier` is notified when anything that `status` shows may have changed."""
        self._report = report
        self._notifier = notifier
        self._watchers: list[_Watcher] = []

    def note_move(self, peer: PeerConnection, move: Move) -> None:
        """The chart of a peer connection has moved."""
        for watcher in self._watchers:
            watcher.put(PeerChange(self._report.peer(peer), move))
        self._notifier.notify()

    async def watch(self) -> AsyncGenerator[PeerChange, None]:
        """Every change from the first step of the iteration on."""
        watcher = _Watcher()
        self._watchers.append(watcher)
        try:
            while True:
                yield await watcher.take()
        finally:
            self._watchers.remove(watcher)


class _Watcher:
    """Changes that one watcher has not read yet."""

    def __init__(self) -> None:
        self._waiting: deque[PeerChange] = deque(maxlen=WATCH_QUEUE)
        self._notifier = Notifier()

    def put(self, change: PeerChange) -> None:
        self._waiting.append(change)
        self._notifier.notify()

    async def take(self) -> PeerChange:
        if self._waiting:
            await trio.lowlevel.checkpoint()
        await self._notifier.wait_until(lambda: bool(self._waiting))
        return self._waiting.popleft()
