"""The guesser of a hard punch: port after port of the opener's address, until one of them answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

import trio

from tunnel.model.endpoint import Endpoint
from tunnel.model.nat import Allocation
from tunnel.model.way import Way
from tunnel.peer.port_prediction.attempt import FLOWS_A_TICK, MOST_TOLD, Attempt, Knocks, tick
from tunnel.peer.port_prediction.listener import AHEAD_GAP, AHEAD_GAP_PRESERVING, CROSSED_TTL, ports_ahead, spans_told
from tunnel.peer.port_prediction.plan import FEWEST_SOCKETS, FIRST_PORT, LAST_PORT, Aim, Span
from tunnel.peer.probe_budget import PREDICTION_FLOWS

MARGIN = 4
"""Ports beyond the ends of a span that was told that are tried too."""
AGAIN = 1.0
"""Seconds after which ports that were told of are asked again, where that costs no flow."""
MOST_AGAIN = 90
"""Ports that are asked again at a time."""
MOST_PAIRS = FEWEST_SOCKETS * PREDICTION_FLOWS
"""Of a socket of ours and a port that was told: what two blocks make. They are shuffled, and that takes time."""
GRACE = 2.0
"""Seconds for late answers, when all guesses are made."""
ALL_TOLD = 1.2
"""Seconds for the opener to tell of all its ports, before our own count goes on."""
DRY = 8.0
"""Seconds without a new port to ask after which there will be none."""


class Scanner:
    """Make it, run it until all guesses are made."""

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt
        self._tactic = attempt.tactic
        self._waiting = Knocks(attempt)
        self._sources: list[int] = []
        self._known: dict[int, None] = {}
        """Ports that are asked or will be."""

    async def run(self) -> None:
        """Guess."""
        match self._tactic.aim:
            case Aim.ANNOUNCED | Aim.SWEPT:
                self._sources = [self._attempt.stays]
                await self._ask_all()
            case Aim.TOLD:
                await self._tell_port()
                await self._ask_all()
            case Aim.PICKED:
                await self._fill()
            case Aim.AHEAD:
                await self._count()

    # One port of ours.

    async def _ask_all(self) -> None:
        """All ports of the spans, or those that are told: these again and again."""
        attempt = self._attempt
        self._learn(self._drawn())
        repeat_at = idle_since = trio.current_time()
        while not attempt.is_peer_done:
            now = trio.current_time()
            self._learn(self._told())
            if self._waiting.send():
                idle_since = now
            if attempt.told and now >= repeat_at:
                repeat_at = now + AGAIN
                self._ask_again()
            patience = GRACE if self._tactic.spans or attempt.turn.is_spent else DRY
            if now - idle_since >= patience:
                return
            await tick()

    def _ask_again(self) -> None:
        """What was told of and asked already: a guess may have been lost, or have come too early."""
        if not len(self._waiting):
            for port in list(dict.fromkeys(self._told()))[:MOST_AGAIN]:
                for source in self._sources:
                    if not self._attempt.knock_again(Way(source, self._at(port))):
                        return

    async def _tell_port(self) -> None:
        """Open the one socket to guess from, and find out where it comes out towards the opener."""
        attempt = self._attempt
        while not self._sources:
            self._sources = await attempt.open_sockets(1)
            await tick()
        way, step = Way(self._sources[0], attempt.endpoints[0]), attempt.step

        def act() -> None:
            if attempt.turn.take_flow():
                attempt.knock(way, CROSSED_TTL)

        before, after = await attempt.enclose(way.socket, act)
        seen = before or after
        if seen is not None:
            port = before.port + step if before is not None else seen.port - step
            ends = sorted((port, after.port - step if after is not None and after != before else port + step))
            attempt.note_span(seen, (ends[0], ends[1]))

    # Many ports of ours.

    async def _fill(self) -> None:
        """From many sockets at all ports: ours come from a block, and one of them is what the opener aims at."""
        attempt = self._attempt
        idle_since = trio.current_time()
        seen: dict[int, None] = {}
        most = MOST_PAIRS // self._tactic.guess_sockets
        while not attempt.is_peer_done:
            fresh = await attempt.open_sockets(min(2, self._tactic.guess_sockets - len(self._sources)))
            drawn = [] if seen else self._drawn()
            told = (port for port in self._told() if port not in seen)
            news = drawn or list(islice(told, max(0, most - len(seen))))
            seen.update(dict.fromkeys(news))
            pairs = [(source, self._at(port)) for source in fresh for port in seen]
            pairs += [(source, self._at(port)) for source in self._sources for port in news]
            self._sources += fresh
            self._waiting.add(attempt.chance.sample(pairs, len(pairs)))
            if self._waiting.send():
                idle_since = trio.current_time()
            if trio.current_time() - idle_since >= (GRACE if attempt.turn.is_spent else DRY / 2):
                return
            await tick()

    async def _count(self) -> None:
        """In the order in which our NAT counts: the opener aims at ports ahead, and told us from where."""
        attempt = self._attempt
        count = _Count(attempt)
        async with trio.open_nursery() as nursery:
            await count.begin()
            await attempt.wait_hint(lambda: bool(attempt.told) or attempt.is_peer_done)
            with trio.move_on_after(ALL_TOLD):
                await attempt.wait_hint(lambda: len(attempt.told) >= spans_told(attempt) or attempt.is_peer_done)
            ends = trio.current_time() + DRY
            while not attempt.is_peer_done and not attempt.turn.is_spent and trio.current_time() < ends:
                await count.step(nursery)
                await tick()
            nursery.cancel_scope.cancel()

    # Which ports.

    def _drawn(self) -> list[int]:
        """Those of the tactic in random order, none twice, as many as there are flows for.

        Not one more: to shuffle all ports there are takes so long that what the relay carries would stand still.
        """
        drawn: list[int] = []
        for first, last in self._tactic.spans:
            ports = range(first, last + 1)
            drawn += self._attempt.chance.sample(ports, min(len(ports), PREDICTION_FLOWS))
        return self._attempt.chance.sample(drawn, len(drawn))

    def _told(self) -> Iterator[int]:
        told = self._attempt.told if not self._tactic.spans else ()
        yield from _ports(told)
        for first, last in told if self._tactic.aim in (Aim.ANNOUNCED, Aim.TOLD) else ():
            yield from (port for port in range(last + 1, last + 1 + MARGIN) if port <= LAST_PORT)
            yield from (port for port in range(first - MARGIN, first) if port >= FIRST_PORT)

    def _learn(self, ports: Iterable[int]) -> None:
        news = list(islice((port for port in ports if port not in self._known), MOST_TOLD - len(self._known)))
        self._known.update(dict.fromkeys(news))
        self._waiting.add([(source, self._at(port)) for port in dict.fromkeys(news) for source in self._sources])

    def _at(self, port: int) -> Endpoint:
        return Endpoint(self._attempt.host, port)


class _Count:
    """Where our NAT's count is, and flows that make it go on."""

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt
        self._keeps = attempt.own.allocation is Allocation.PRESERVING
        self._gap = AHEAD_GAP_PRESERVING if self._keeps else AHEAD_GAP
        self._source = -1
        self._port, self._at = 0, 0.0
        """The last port that was seen or reckoned, and when."""
        self._corrected = 0
        """By how much the reckoning was put right in all: of answers under way each tells it."""
        self._ahead: list[int] = []
        self._used: dict[tuple[int, int], None] = {}

    async def begin(self) -> None:
        """Find out where it is, and tell the opener."""
        attempt = self._attempt
        while self._source < 0:
            for number in await attempt.open_sockets(1):
                self._source = number
            await tick()
        before, after = await attempt.enclose(self._source, lambda: None)
        seen = after or before
        if seen is not None:
            self._port, self._at = seen.port, trio.current_time()
            self._ahead = ports_ahead(seen.port, attempt)
            attempt.note_span(seen, (seen.port, seen.port))

    async def step(self, nursery: trio.Nursery) -> None:
        """A few flows more. Where one count serves all sockets a fresh one shows where it is."""
        attempt = self._attempt
        if self._keeps:
            self._flow(FLOWS_A_TICK)
            return
        for number in await attempt.open_sockets(1):
            self._source = number
            nursery.start_soon(self._flow_enclosed)

    async def _flow_enclosed(self) -> None:
        reckoned, corrected = self._port, self._corrected

        def act() -> None:
            nonlocal reckoned
            self._reckon(1)
            self._flow(FLOWS_A_TICK)
            self._reckon(1)
            reckoned = self._port

        before, after = await self._attempt.enclose(self._source, act)
        if after is not None and after != before:
            correction = corrected + after.port - reckoned
            self._port += correction - self._corrected
            self._corrected = correction

    def _flow(self, count: int) -> None:
        attempt = self._attempt
        for _ in range(count):
            if not attempt.turn.take_flow():
                return
            self._reckon(1)
            port = self._target()
            self._used[self._source, port] = None
            attempt.knock(Way(self._source, Endpoint(attempt.host, port)), None)

    def _target(self) -> int:
        """A port of the opener's that was aimed at the port of ours that comes next; else any."""
        told = self._attempt.told
        nearest = min(range(len(self._ahead)), key=lambda index: abs(self._ahead[index] - self._port), default=0)
        if self._ahead and abs(self._ahead[nearest] - self._port) <= self._gap * abs(self._attempt.step) // 2 + 1:
            share = max(1, len(told) // len(self._ahead))
            for port in _ports(told[nearest * share : (nearest + 1) * share]):
                if (self._source, port) not in self._used:
                    return port
        while (self._source, port := self._attempt.chance.randint(FIRST_PORT, LAST_PORT)) in self._used:
            pass
        return port

    def _reckon(self, flows: int) -> None:
        now = trio.current_time()
        self._port += self._attempt.step * (flows + round(self._attempt.own.load * (now - self._at)))
        self._at = now


def _ports(spans: Iterable[Span]) -> Iterator[int]:
    return (port for first, last in spans for port in range(first, last + 1))
