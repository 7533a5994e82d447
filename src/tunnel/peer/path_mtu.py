"""How large a datagram may be on the path in use: searched when it is new, watched while it is used (RFC 8899).

A path is proved at the base size, and by heartbeats of that size it is judged (path_liveness.py). Here larger sizes
are asked. No ICMP is needed, and a lost probe alone tells nothing: a size is lost when probes of it were not answered
and a probe of the base size that was sent later was (as RFC 8985 judges segments). So a path that is slow or silent as
a whole never looks like one that shrank.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import trio

from tunnel.machines.notifier import Notifier
from tunnel.model.timings import Timings
from tunnel.peer.mtu_search import MtuSearch
from tunnel.peer.path import NEVER, Path
from tunnel.peer.peer_state import PeerState
from tunnel.peer.probe_exchange import Answered
from tunnel.peer.probes import Probes
from tunnel.peer.routing import Routing
from tunnel.wire.frames import BASE_SIZE

MAX_PROBES = 3
"""RFC 8899, section 5.1.2. With a loss of 5 % each way a size that passes looks lost once in 18 minutes of use."""
_QUICK = 4
"""So many probes of a size follow each other quickly; the next ones, on a silent path, wait longer."""
_GRACE = 0.01
"""Seconds by which datagrams on one path may overtake each other, and a quarter of the round trip."""


class PathMtu:
    """One for each peer connection; `run` lives as long. Call `note_wanted` when somebody sends after a pause, and
    `note_answer` for each answer to a probe."""

    def __init__(self, peer: PeerState, timings: Timings, probes: Probes, routing: Routing) -> None:
        self._peer = peer
        self._timings = timings
        self._probes = probes
        self._routing = routing
        self._news = Notifier()
        self._path: Path | None = None
        self._size = 0
        """The size that is asked now, on this path."""
        self._passed = self._base_passed = NEVER
        """When the latest probes were sent that were answered at this size, and at a smaller one from the base on."""

    def note_wanted(self) -> None:
        """The path may be in use again: what was known of it may no longer be true."""
        self._news.notify()

    def note_answer(self, answered: Answered) -> None:
        """A probe was answered, whoever asked."""
        path, size, asked = answered.path, answered.size, answered.asked
        if path.note_size(size, asked):
            self._routing.resize()
        if path is self._path:
            if size >= self._size:
                self._passed = max(self._passed, asked)
            elif size >= BASE_SIZE:
                self._base_passed = max(self._base_passed, asked)
        self._news.notify()

    async def run(self) -> None:
        """For ever: search the MTU of the path in use, then see that it stays."""
        while True:
            await self._news.wait_until(lambda: self._path_in_use() is not None)
            path, now = self._path_in_use(), trio.current_time()
            assert path is not None
            if now >= path.search_due:
                await self._search(path)
            elif path.datagram_size > BASE_SIZE and await self._passes(path, path.datagram_size) is False:
                path.forget_size(trio.current_time())
                self._routing.resize()
            await self._wait(now + self._timings.mtu_watch, partial(self._is_due, path))

    async def _search(self, path: Path) -> None:
        search, shrunk = MtuSearch(path.way), path.shrunk
        while (size := search.next_size(path.datagram_size)) is not None:
            passes = await self._passes(path, size)
            if passes is None or path.shrunk != shrunk:
                return  # it is still due
            if not passes:
                search.note_lost(size)
        path.search_due = trio.current_time() + self._timings.mtu_raise

    async def _passes(self, path: Path, size: int) -> bool | None:
        """Whether a datagram of this size goes both ways. None: the path is no longer in use."""
        began = trio.current_time()
        self._path, self._size, self._passed, self._base_passed = path, size, NEVER, NEVER
        asked: list[float] = []
        while self._path_in_use() is path:
            now = trio.current_time()
            self._probes.ask_size(path.way, size)  # what our own interface refuses (EMSGSIZE) is as lost as any
            if asked:
                self._probes.ask_size(path.way, BASE_SIZE)
            asked.append(now)
            due = now + self._patience(path, len(asked))
            await self._wait(due, partial(self._is_told, began, now))
            grace = trio.current_time() + _GRACE + (path.rtt or 0.0) / 4
            if await self._wait(grace, partial(self._has_passed, began)):
                return True
            if sum(at <= self._base_passed for at in asked) >= MAX_PROBES:
                return False
            await self._wait(due, partial(self._has_passed, began))
        return None

    def _has_passed(self, since: float) -> bool:
        return self._passed >= since

    def _is_told(self, since: float, asked: float) -> bool:
        """Whether the size passed, or the base size did for a probe that was sent with or after the latest."""
        return self._has_passed(since) or self._base_passed >= asked

    def _patience(self, path: Path, probes: int) -> float:
        patience = max(self._timings.mtu_patience, 2 * (path.rtt or 0.0))
        return patience if probes < _QUICK else max(patience, self._timings.mtu_watch)

    def _is_due(self, path: Path) -> bool:
        return self._path_in_use() is not path or path.search_due == NEVER

    def _path_in_use(self) -> Path | None:
        """The path by UDP that carries data, if it is proved and data went either way lately."""
        if trio.current_time() - self._peer.wanted_at >= self._timings.path_in_use:
            return None
        for way in self._peer.flow.route:
            if way.circuit or (way.is_direct and self._peer.state == "connected"):
                path = self._peer.paths.at(way)
                if path is not None and path.is_proved:
                    return path
        return None

    async def _wait(self, deadline: float, holds: Callable[[], bool]) -> bool:
        """Wait until it holds, at most until the deadline; whether it does."""
        with trio.move_on_at(deadline):
            await self._news.wait_until(holds)
        return holds()
