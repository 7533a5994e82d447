"""The scanning side: it probes port after port of the listener's address, until one of them answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

import trio

from tunnel.model.endpoint import Endpoint
from tunnel.model.nat import Allocation
from tunnel.model.way import Way
from tunnel.peer.port_prediction.attempt import FLOWS_A_TICK, MAX_REPORTED_PORTS, Attempt, PacedProbes, tick
from tunnel.peer.port_prediction.limits import PREDICTION_FLOWS
from tunnel.peer.port_prediction.listener import (
    CROSSED_TTL,
    NEXT_PORTS_GAP,
    NEXT_PORTS_GAP_PRESERVING,
    next_ports,
    spans_told,
)
from tunnel.peer.port_prediction.plan import FEWEST_SOCKETS, FIRST_PORT, LAST_PORT, Aim, Span

MARGIN = 4
"""How many ports beyond each end of a reported span are probed, too."""
REPEAT = 1.0
"""Seconds after which reported ports are probed again, if that costs no flow."""
MOST_REPEATED = 90
"""Ports that are probed again at a time."""
MOST_PAIRS = FEWEST_SOCKETS * PREDICTION_FLOWS
"""Pairs of a socket of ours and a reported port: as many as two blocks make. To shuffle more takes too long."""
GRACE = 2.0
"""Seconds for late answers, when all ports have been probed."""
ALL_REPORTED = 1.2
"""Seconds for the listener to tell of all its ports, before we make our own NAT count on."""
DRY = 8.0
"""Seconds without a new port to probe after which none will come."""


class Scanner:
    """Make one an attempt; `run` returns when all ports have been probed."""

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt
        self._plan = attempt.plan
        self._waiting = PacedProbes(attempt)
        self._sources: list[int] = []
        self._known: dict[int, None] = {}
        """Ports that were probed or will be."""

    async def run(self) -> None:
        """Probe as the plan says."""
        match self._plan.aim:
            case Aim.ANNOUNCED | Aim.WHOLE_BLOCK:
                self._sources = [self._attempt.lasting]
                await self._ask_all()
            case Aim.REPORTED_PORT:
                await self._tell_port()
                await self._ask_all()
            case Aim.SOME_OF_BLOCK:
                await self._fill()
            case Aim.NEXT_PORTS:
                await self._count()

    # One port of ours.

    async def _ask_all(self) -> None:
        """Probe all ports of the spans, or, again and again, those that are reported."""
        attempt = self._attempt
        self._learn(self._drawn())
        repeat_at = idle_since = trio.current_time()
        while not attempt.is_peer_done:
            now = trio.current_time()
            self._learn(self._told())
            if self._waiting.send():
                idle_since = now
            if attempt.told and now >= repeat_at:
                repeat_at = now + REPEAT
                self._ask_again()
            patience = GRACE if self._plan.spans or attempt.slot.is_spent else DRY
            if now - idle_since >= patience:
                return
            await tick()

    def _ask_again(self) -> None:
        """Probe reported ports again: a probe may have been lost, or have come too early."""
        if not len(self._waiting):
            for port in list(dict.fromkeys(self._told()))[:MOST_REPEATED]:
                for source in self._sources:
                    if not self._attempt.send_again(Way(source, self._at(port))):
                        return

    async def _tell_port(self) -> None:
        """Open the one socket to probe from, and find out which outer port it has toward the listener."""
        attempt = self._attempt
        while not self._sources:
            self._sources = await attempt.open_sockets(1)
            await tick()
        way, step = Way(self._sources[0], attempt.endpoints[0]), attempt.step

        def act() -> None:
            if attempt.slot.take_flow():
                attempt.send(way, CROSSED_TTL)

        before, after = await attempt.enclose(way.socket, act)
        seen = before or after
        if seen is not None:
            port = before.port + step if before is not None else seen.port - step
            ends = sorted((port, after.port - step if after is not None and after != before else port + step))
            attempt.note_span(seen, (ends[0], ends[1]))

    # Many ports of ours.

    async def _fill(self) -> None:
        """Probe all ports from many sockets: ours come from a block, and the listener aims at one of them."""
        attempt = self._attempt
        idle_since = trio.current_time()
        seen: dict[int, None] = {}
        most = MOST_PAIRS // self._plan.scan_sockets
        while not attempt.is_peer_done:
            fresh = await attempt.open_sockets(min(2, self._plan.scan_sockets - len(self._sources)))
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
            if trio.current_time() - idle_since >= (GRACE if attempt.slot.is_spent else DRY / 2):
                return
            await tick()

    async def _count(self) -> None:
        """Probe in the order in which our NAT counts: the listener aims at the next ports, and has reported its own."""
        attempt = self._attempt
        count = _Count(attempt)
        async with trio.open_nursery() as nursery:
            await count.begin()
            await attempt.wait_hint(lambda: bool(attempt.told) or attempt.is_peer_done)
            with trio.move_on_after(ALL_REPORTED):
                await attempt.wait_hint(lambda: len(attempt.told) >= spans_told(attempt) or attempt.is_peer_done)
            ends = trio.current_time() + DRY
            while not attempt.is_peer_done and not attempt.slot.is_spent and trio.current_time() < ends:
                await count.step(nursery)
                await tick()
            nursery.cancel_scope.cancel()

    # Which ports.

    def _drawn(self) -> list[int]:
        """Ports of the plan in random order, none twice, as many as there are flows for.

        No more than that: to shuffle all 64,512 ports takes so long that relayed data would stall.
        """
        drawn: list[int] = []
        for first, last in self._plan.spans:
            ports = range(first, last + 1)
            drawn += self._attempt.chance.sample(ports, min(len(ports), PREDICTION_FLOWS))
        return self._attempt.chance.sample(drawn, len(drawn))

    def _told(self) -> Iterator[int]:
        told = self._attempt.told if not self._plan.spans else ()
        yield from _ports(told)
        for first, last in told if self._plan.aim in (Aim.ANNOUNCED, Aim.REPORTED_PORT) else ():
            yield from (port for port in range(last + 1, last + 1 + MARGIN) if port <= LAST_PORT)
            yield from (port for port in range(first - MARGIN, first) if port >= FIRST_PORT)

    def _learn(self, ports: Iterable[int]) -> None:
        news = list(islice((port for port in ports if port not in self._known), MAX_REPORTED_PORTS - len(self._known)))
        self._known.update(dict.fromkeys(news))
        self._waiting.add([(source, self._at(port)) for port in dict.fromkeys(news) for source in self._sources])

    def _at(self, port: int) -> Endpoint:
        return Endpoint(self._attempt.host, port)


class _Count:
    """Which port our NAT has counted to, and flows that make it count on."""

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt
        self._keeps = attempt.own.allocation is Allocation.PRESERVING
        self._gap = NEXT_PORTS_GAP_PRESERVING if self._keeps else NEXT_PORTS_GAP
        self._source = -1
        self._port, self._at = 0, 0.0
        """The last port that was seen or estimated, and when."""
        self._corrected = 0
        """The sum of all corrections of the estimate: each answer under way was asked before the later ones."""
        self._next_ports: list[int] = []
        self._used: dict[tuple[int, int], None] = {}

    async def begin(self) -> None:
        """Find out where it is, and tell the listener."""
        attempt = self._attempt
        while self._source < 0:
            for number in await attempt.open_sockets(1):
                self._source = number
            await tick()
        before, after = await attempt.enclose(self._source, lambda: None)
        seen = after or before
        if seen is not None:
            self._port, self._at = seen.port, trio.current_time()
            self._next_ports = next_ports(seen.port, attempt)
            attempt.note_span(seen, (seen.port, seen.port))

    async def step(self, nursery: trio.Nursery) -> None:
        """Open a few more flows. Where one count serves all sockets, a fresh socket shows where it is."""
        attempt = self._attempt
        if self._keeps:
            self._flow(FLOWS_A_TICK)
            return
        for number in await attempt.open_sockets(1):
            self._source = number
            nursery.start_soon(self._flow_enclosed)

    async def _flow_enclosed(self) -> None:
        estimated, corrected = self._port, self._corrected

        def act() -> None:
            nonlocal estimated
            self._estimate(1)
            self._flow(FLOWS_A_TICK)
            self._estimate(1)
            estimated = self._port

        before, after = await self._attempt.enclose(self._source, act)
        if after is not None and after != before:
            correction = corrected + after.port - estimated
            self._port += correction - self._corrected
            self._corrected = correction

    def _flow(self, count: int) -> None:
        attempt = self._attempt
        for _ in range(count):
            if not attempt.slot.take_flow():
                return
            self._estimate(1)
            port = self._target()
            self._used[self._source, port] = None
            attempt.send(Way(self._source, Endpoint(attempt.host, port)))

    def _target(self) -> int:
        """A port of the listener's that was aimed at the port of ours that comes next; else a random one."""
        told = self._attempt.told
        nearest = min(
            range(len(self._next_ports)), key=lambda index: abs(self._next_ports[index] - self._port), default=0
        )
        if (
            self._next_ports
            and abs(self._next_ports[nearest] - self._port) <= self._gap * abs(self._attempt.step) // 2 + 1
        ):
            share = max(1, len(told) // len(self._next_ports))
            for port in _ports(told[nearest * share : (nearest + 1) * share]):
                if (self._source, port) not in self._used:
                    return port
        while (self._source, port := self._attempt.chance.randint(FIRST_PORT, LAST_PORT)) in self._used:
            pass
        return port

    def _estimate(self, flows: int) -> None:
        now = trio.current_time()
        self._port += self._attempt.step * (flows + round(self._attempt.own.load * (now - self._at)))
        self._at = now


def _ports(spans: Iterable[Span]) -> Iterator[int]:
    return (port for first, last in spans for port in range(first, last + 1))
