"""The opener of a hard punch: sockets, and knocks at the guesser, so that our NAT shows ports that it may hit."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

import trio

from tunnel.model.endpoint import Endpoint
from tunnel.model.nat import Allocation
from tunnel.model.way import Way
from tunnel.peer.port_prediction.attempt import FLOWS_A_TICK, Attempt, Knocks, tick
from tunnel.peer.port_prediction.plan import AHEAD, FIRST_PORT, LAST_PORT, Aim, counts

OPENING_TTLS = (2, 4)
"""Of first knocks, in turn: enough for our own NAT, or for a second one behind it; too little to reach theirs."""
CROSSED_TTL = 4
"""Where each first knock must open all of our NATs."""
BATCH = 5
"""Sockets that are opened in one step."""
MAX_AIMS = 2
"""Announced endpoints at which each socket knocks: a NAT with a known port shows one, seldom two."""
MAX_TOLD = 4
MAX_SWEPT = 1800
"""Flows, of the 1,900 that there are."""
FIRST_REPEAT = 1.0
REPEAT = 4.0
"""Seconds after its first knock, and after each later one, at which a socket knocks again, to arrive."""
AHEAD_SECONDS = 2.0
"""Until the guesser's NAT has counted to where we aim, others take ports there too."""
AHEAD_GAP = 8
AHEAD_GAP_PRESERVING = 4
MOST_STRANGERS = 8
"""A span that is so many times as wide as it should be says nothing."""


class Listener:
    """Make it, run it until the guesser has stopped."""

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt
        self._tactic = attempt.tactic
        self._fresh = Knocks(attempt)
        self._due: deque[tuple[float, int, Endpoint]] = deque()
        self._heard: list[Endpoint] = []
        self._batches = 0
        self._tells = counts(attempt.own)

    async def run(self) -> None:
        """Open, knock, tell."""
        attempt = self._attempt
        aims = deque(await self._find_aims())
        async with trio.open_nursery() as nursery:
            while not attempt.is_peer_done:
                self._retarget()
                self._knock_first(None)  # what no flow was left for in the last step
                opened = await attempt.open_sockets(self._sockets_now(aims))
                for number in opened:
                    self._fresh.add([(number, aim) for aim in self._aims_of_next(aims)])
                if opened:
                    self._knock(nursery, opened[0])
                self._knock_again()
                await tick()
            nursery.cancel_scope.cancel()

    @property
    def _is_told_alone(self) -> bool:
        """Whether each socket has ports of its own: one count does not give those of the next."""
        return self._tactic.aim is Aim.SWEPT or self._attempt.own.allocation is Allocation.PRESERVING

    # Where to.

    async def _find_aims(self) -> Sequence[Endpoint]:
        attempt, tactic = self._attempt, self._tactic
        match tactic.aim:
            case Aim.ANNOUNCED:
                return attempt.endpoints[:MAX_AIMS]
            case Aim.TOLD:
                await attempt.wait_hint(lambda: bool(attempt.told) or attempt.is_peer_done)
                return self._at([port for first, last in attempt.told for port in range(first, last + 1)][:MAX_TOLD])
            case Aim.AHEAD:
                await attempt.wait_hint(lambda: bool(attempt.told) or attempt.is_peer_done)
                return self._at([] if not attempt.told else ports_ahead(attempt.told[0][0], attempt))
            case Aim.PICKED | Aim.SWEPT:
                assert tactic.aim_block is not None
                first, last = tactic.aim_block
                count = min(MAX_SWEPT, last - first + 1) if tactic.aim is Aim.SWEPT else self._picks()
                return self._at(attempt.chance.sample(range(first, last + 1), count))

    def _picks(self) -> int:
        """One, where the guesser learns each port of ours; else as many as fill our block."""
        block = self._attempt.own.block
        if self._tells or block is None:
            return 1
        return max(1, min(MAX_SWEPT, (block[1] - block[0] + 1) * 15 // 16) // self._tactic.sockets)

    def _at(self, ports: Sequence[int]) -> list[Endpoint]:
        return [Endpoint(self._attempt.host, port) for port in ports if FIRST_PORT <= port <= LAST_PORT]

    def _sockets_now(self, aims: deque[Endpoint]) -> int:
        """How many to open in this step."""
        left = self._tactic.sockets - self._attempt.turn.sockets
        if not aims or left <= 0 or len(self._fresh):
            return 0
        if self._is_told_alone:
            return 1
        each = 1 if self._tactic.aim is Aim.AHEAD else len(aims)
        return min(BATCH, left, max(1, FLOWS_A_TICK // each))

    def _aims_of_next(self, aims: deque[Endpoint]) -> list[Endpoint]:
        """What the next socket aims at. Where the guesser was heard from is better than what it announced."""
        match self._tactic.aim:
            case Aim.SWEPT:
                most = FLOWS_A_TICK if self._tells and self._tactic.sockets > 1 else len(aims)
                return [aims.popleft() for _ in range(min(most, len(aims)))]
            case Aim.AHEAD:
                each = math.ceil(self._tactic.sockets / AHEAD)
                return [aims[min(len(aims) - 1, (self._attempt.turn.sockets - 1) // each)]]
            case _:
                return self._heard or list(aims)

    # Knocking.

    def _knock(self, nursery: trio.Nursery, number: int) -> None:
        """First knocks, as many as may go now. Where our NAT counts our server is asked right before and after."""
        ttl = CROSSED_TTL if self._tactic.is_crossed else OPENING_TTLS[self._batches % len(OPENING_TTLS)]
        self._batches += 1
        if self._tells:
            nursery.start_soon(self._knock_enclosed, number, ttl)
        else:
            self._knock_first(ttl)

    def _knock_first(self, ttl: int | None) -> int:
        sent = self._fresh.send(ttl)
        due = trio.current_time() + FIRST_REPEAT
        self._due.extend((due, number, aim) for number, aim in sent)
        return len(sent)

    async def _knock_enclosed(self, number: int, ttl: int) -> None:
        attempt, step, sent = self._attempt, self._attempt.step, 0

        def act() -> None:
            nonlocal sent
            sent = self._knock_first(ttl)

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
        """The guesser was heard from where we do not aim: there it comes from, so there we aim too."""
        for endpoint in self._attempt.heard() if not self._tactic.is_crossed else ():
            if endpoint not in self._heard and len(self._heard) < MAX_AIMS:
                self._heard.append(endpoint)
                self._fresh.add([(number, endpoint) for number in self._attempt.numbers])

    def _knock_again(self) -> None:
        """So that it may arrive: a guess made before the socket was opened counts too."""
        now = trio.current_time()
        for _ in range(2 * BATCH):
            if not self._due or self._due[0][0] > now:
                return
            _, number, aim = self._due[0]
            if not self._attempt.knock_again(Way(number, aim)):
                return
            self._due.popleft()
            self._due.append((now + REPEAT, number, aim))


def ports_ahead(counted: int, attempt: Attempt) -> list[int]:
    """Ports to which the guesser's NAT will come that had just given `counted`. The guesser knows them too."""
    nat = attempt.own if not attempt.tactic.we_open else attempt.theirs
    if nat.allocation is Allocation.PRESERVING:
        first, gap, step = AHEAD_GAP_PRESERVING, AHEAD_GAP_PRESERVING, 1
    else:
        first, gap, step = AHEAD_GAP + math.ceil(nat.load * AHEAD_SECONDS), AHEAD_GAP, nat.step or 1
    return [counted + step * (first + gap * index) for index in range(AHEAD)]


def spans_told(attempt: Attempt) -> int:
    """How many spans the opener tells of when it has opened all sockets that it aims ahead."""
    nat = attempt.own if attempt.tactic.we_open else attempt.theirs
    return (
        attempt.tactic.sockets if nat.allocation is Allocation.PRESERVING else math.ceil(attempt.tactic.sockets / BATCH)
    )
