"""The listening side: many sockets that each send to the scanner, so that our NAT opens ports that it may hit."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

import trio

from tunnel.model.endpoint import Endpoint
from tunnel.model.nat import Allocation
from tunnel.model.way import Way
from tunnel.peer.port_prediction.attempt import FLOWS_A_TICK, Attempt, PacedProbes, tick
from tunnel.peer.port_prediction.plan import FIRST_PORT, LAST_PORT, NEXT_PORTS, Aim, counts

OPENING_TTLS = (2, 4)
"""Of first probes, alternately: enough for our own NAT, or for a second one behind it; too little to reach theirs."""
CROSSED_TTL = 4
"""Where each first probe must open all of our NATs."""
BATCH = 5
"""Sockets opened in one step."""
MAX_AIMS = 2
"""Announced endpoints to which each socket sends: a NAT with a known port shows one, seldom two."""
MAX_REPORTED_AIMS = 4
MAX_BLOCK_PORTS = 1800
"""Flows of the 1,900 in the budget."""
FIRST_REPEAT = 1.0
REPEAT = 4.0
"""Seconds after the first probe of a socket, and after each later one, at which it sends again, so as to arrive."""
NEXT_PORTS_SECONDS = 2.0
"""Until the scanner's NAT has counted to where we aim, other flows take ports there, too."""
NEXT_PORTS_GAP = 8
NEXT_PORTS_GAP_PRESERVING = 4
MOST_STRANGERS = 8
"""A span that is this many times as wide as our own flows make it says nothing."""


class Listener:
    """Make one an attempt; `run` returns when the scanner has stopped."""

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt
        self._plan = attempt.plan
        self._fresh = PacedProbes(attempt)
        self._due: deque[tuple[float, int, Endpoint]] = deque()
        self._heard: list[Endpoint] = []
        self._batches = 0
        self._tells = counts(attempt.own)

    async def run(self) -> None:
        """Open sockets, send from them, tell the scanner where their ports are."""
        attempt = self._attempt
        aims = deque(await self._find_aims())
        async with trio.open_nursery() as nursery:
            while not attempt.is_peer_done:
                self._retarget()
                self._send_first(None)  # what no flow was left for in the last step
                opened = await attempt.open_sockets(self._sockets_now(aims))
                for number in opened:
                    self._fresh.add([(number, aim) for aim in self._aims_of_next(aims)])
                if opened:
                    self._send(nursery, opened[0])
                self._send_again()
                await tick()
            nursery.cancel_scope.cancel()

    @property
    def _is_told_alone(self) -> bool:
        """Whether each socket's port is reported separately: the port of one does not show that of the next."""
        return self._plan.aim is Aim.WHOLE_BLOCK or self._attempt.own.allocation is Allocation.PRESERVING

    # Where to.

    async def _find_aims(self) -> Sequence[Endpoint]:
        attempt, plan = self._attempt, self._plan
        match plan.aim:
            case Aim.ANNOUNCED:
                return attempt.endpoints[:MAX_AIMS]
            case Aim.REPORTED_PORT:
                await attempt.wait_hint(lambda: bool(attempt.told) or attempt.is_peer_done)
                return self._at(
                    [port for first, last in attempt.told for port in range(first, last + 1)][:MAX_REPORTED_AIMS]
                )
            case Aim.NEXT_PORTS:
                await attempt.wait_hint(lambda: bool(attempt.told) or attempt.is_peer_done)
                return self._at([] if not attempt.told else next_ports(attempt.told[0][0], attempt))
            case Aim.SOME_OF_BLOCK | Aim.WHOLE_BLOCK:
                assert plan.aim_block is not None
                first, last = plan.aim_block
                count = (
                    min(MAX_BLOCK_PORTS, last - first + 1) if plan.aim is Aim.WHOLE_BLOCK else self._aims_per_socket()
                )
                return self._at(attempt.chance.sample(range(first, last + 1), count))

    def _aims_per_socket(self) -> int:
        """Ports that each socket aims at: one where the scanner learns our ports, else enough to fill our block."""
        block = self._attempt.own.block
        if self._tells or block is None:
            return 1
        return max(1, min(MAX_BLOCK_PORTS, (block[1] - block[0] + 1) * 15 // 16) // self._plan.sockets)

    def _at(self, ports: Sequence[int]) -> list[Endpoint]:
        return [Endpoint(self._attempt.host, port) for port in ports if FIRST_PORT <= port <= LAST_PORT]

    def _sockets_now(self, aims: deque[Endpoint]) -> int:
        """How many to open in this step."""
        left = self._plan.sockets - self._attempt.slot.sockets
        if not aims or left <= 0 or len(self._fresh):
            return 0
        if self._is_told_alone:
            return 1
        each = 1 if self._plan.aim is Aim.NEXT_PORTS else len(aims)
        return min(BATCH, left, max(1, FLOWS_A_TICK // each))

    def _aims_of_next(self, aims: deque[Endpoint]) -> list[Endpoint]:
        """What the next socket aims at. Where the scanner was heard from is better than what it announced."""
        match self._plan.aim:
            case Aim.WHOLE_BLOCK:
                most = FLOWS_A_TICK if self._tells and self._plan.sockets > 1 else len(aims)
                return [aims.popleft() for _ in range(min(most, len(aims)))]
            case Aim.NEXT_PORTS:
                each = math.ceil(self._plan.sockets / NEXT_PORTS)
                return [aims[min(len(aims) - 1, (self._attempt.slot.sockets - 1) // each)]]
            case _:
                return self._heard or list(aims)

    # Sending.

    def _send(self, nursery: trio.Nursery, number: int) -> None:
        """Send as many first probes as may go now; where our NAT counts, ask our server right before and after."""
        ttl = CROSSED_TTL if self._plan.is_crossed else OPENING_TTLS[self._batches % len(OPENING_TTLS)]
        self._batches += 1
        if self._tells:
            nursery.start_soon(self._send_enclosed, number, ttl)
        else:
            self._send_first(ttl)

    def _send_first(self, ttl: int | None) -> int:
        sent = self._fresh.send(ttl)
        due = trio.current_time() + FIRST_REPEAT
        self._due.extend((due, number, aim) for number, aim in sent)
        return len(sent)

    async def _send_enclosed(self, number: int, ttl: int) -> None:
        attempt, step, sent = self._attempt, self._attempt.step, 0

        def act() -> None:
            nonlocal sent
            sent = self._send_first(ttl)

        before, after = await attempt.enclose(number, act)
        seen = before or after
        if seen is None or not sent:
            return
        first = before.port + step if before is not None else seen.port - step * sent
        last = after.port - step if after is not None and after != before else first + step * sent
        low, high = sorted((first, last))
        if high - low <= abs(step) * sent * MOST_STRANGERS:
            attempt.note_span(seen, (low, high))

    def _retarget(self) -> None:
        """The scanner was heard from where we do not aim: its probes come from there, so aim there, too."""
        for endpoint in self._attempt.heard() if not self._plan.is_crossed else ():
            if endpoint not in self._heard and len(self._heard) < MAX_AIMS:
                self._heard.append(endpoint)
                self._fresh.add([(number, endpoint) for number in self._attempt.numbers])

    def _send_again(self) -> None:
        """Send again, so as to arrive: a port that was probed before its socket was opened counts, too."""
        now = trio.current_time()
        for _ in range(2 * BATCH):
            if not self._due or self._due[0][0] > now:
                return
            _, number, aim = self._due[0]
            if not self._attempt.send_again(Way(number, aim)):
                return
            self._due.popleft()
            self._due.append((now + REPEAT, number, aim))


def next_ports(counted: int, attempt: Attempt) -> list[int]:
    """Ports that the scanner's NAT will come to after it gave `counted`. The scanner computes the same ones."""
    nat = attempt.own if not attempt.plan.we_listen else attempt.theirs
    if nat.allocation is Allocation.PRESERVING:
        first, gap, step = NEXT_PORTS_GAP_PRESERVING, NEXT_PORTS_GAP_PRESERVING, 1
    else:
        first, gap, step = NEXT_PORTS_GAP + math.ceil(nat.load * NEXT_PORTS_SECONDS), NEXT_PORTS_GAP, nat.step or 1
    return [counted + step * (first + gap * index) for index in range(NEXT_PORTS)]


def spans_told(attempt: Attempt) -> int:
    """How many spans the listener has reported when all its sockets that aim at the next ports are open."""
    nat = attempt.own if attempt.plan.we_listen else attempt.theirs
    return attempt.plan.sockets if nat.allocation is Allocation.PRESERVING else math.ceil(attempt.plan.sockets / BATCH)
