"""One hard punch, as one side lives through it: agree over the relay, then open sockets or guess ports, in small steps.

    both     --ready--> <--ready--          sealed hints; without one from the peer nothing is sent to its address
    opener   opens sockets, knocks from each at the guesser's endpoints: first with a low TTL, later so as to arrive
             a NAT that counts: asks our server right before and after, and tells the guesser where its ports are
    guesser  knocks at port after port, in random order; ports that it was told of first, and again

Every knock is a probe. One that is answered is a path, and ends all this from outside.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

import trio

from tunnel.model.endpoint import Endpoint
from tunnel.model.reasons import Reason, ReasonCode
from tunnel.peer.budget import HardTurn
from tunnel.peer.facts import PeerFacts
from tunnel.peer.hard_tactics import HardTactic, Span
from tunnel.peer.surroundings import Way
from tunnel.wire.probes import ProbeHint, Stage

Knock = Callable[[Way, int | None], None]
"""knock(way, ttl): one probe, of which nothing is kept unless it is answered."""
Tell = Callable[[ProbeHint], None]
"""tell(hint): send it over the relay."""

TICK = 0.05
"""Seconds between two steps: a few flows and sockets each."""
OPENING_TTLS = (2, 4)
"""Of the first knocks, in turn: enough for our own NAT, or for a second one behind it; too little to reach theirs."""
BATCH = 5
"""Sockets that are opened in one step."""
FIRST_REPEAT = 1.0
REPEAT = 4.0
"""Seconds after its first knock, and after each later one, at which an opener's socket knocks again, to arrive."""
TOLD_REPEAT = 1.0
"""Seconds after which a port that we were told of is asked again."""
MARGIN = 4
"""Steps beyond the end of a span that the guesser tries too."""
READY_EVERY = 0.3
HINT_EVERY = 1.0
GRACE = 2.0
"""Seconds for late answers, when all guesses are made."""


class HardPunch:
    """Make it and await `run`, which returns why it failed; a success cancels it."""

    def __init__(
        self,
        facts: PeerFacts,
        tactic: HardTactic,
        turn: HardTurn,
        sockets: list[int],
        *,
        attempt: int,
        aims: Sequence[Endpoint],
        hosts: Sequence[str],
        guess_from: int,
        knock: Knock,
        tell: Tell,
    ) -> None:
        """`sockets` takes the numbers of those that are opened; they are the caller's to close.

        `aims` are endpoints at which the peer may be, for an opener; `hosts` its announced addresses, for a guesser.
        """
        self._facts = facts
        self._around = facts.around
        self._timings = facts.around.timings
        self._tactic = tactic
        self._turn = turn
        self._sockets = sockets
        self._attempt = attempt
        self._aims = list(aims)
        self._hosts = hosts
        self._guess_from = guess_from
        self._knock = knock
        self._tell = tell
        self._spans: list[Span] = []
        self._place: Endpoint | None = None
        self._fresh: deque[tuple[int, Endpoint]] = deque()
        """Sockets and aims that have not been knocked from yet: there was no flow left in that step."""
        self._due: deque[tuple[float, int, Endpoint]] = deque()
        self._has_news = False

    async def run(self) -> Reason:
        """Punch until nothing is left to try."""
        if not await self._agree():
            peer = self._facts.hint
            busy = peer is not None and peer.stage is Stage.BUSY
            return self._reason(ReasonCode.PUNCH_BUSY if busy else ReasonCode.GUESSING_FAILED, "the peer did not join")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_telling)
            await (self._open(nursery) if self._tactic.we_open else self._guess())
            nursery.cancel_scope.cancel()
        self._say(Stage.OVER)
        return self._reason(ReasonCode.GUESSING_FAILED)

    # Talking.

    async def _agree(self) -> bool:
        """Both must say that they begin: nobody is knocked at who does not take part."""
        with trio.move_on_after(self._timings.hard_agreement):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._repeat, Stage.READY, READY_EVERY)
                await self._facts.pulse.wait_until(lambda: self._facts.hint is not None)
                nursery.cancel_scope.cancel()
        hint = self._facts.hint
        return hint is not None and hint.stage in (Stage.READY, Stage.UNDER_WAY)

    async def _keep_telling(self) -> None:
        await self._repeat(Stage.UNDER_WAY, HINT_EVERY)

    async def _repeat(self, stage: Stage, every: float) -> None:
        while True:
            self._say(stage)
            await trio.sleep(every)

    def _say(self, stage: Stage) -> None:
        self._has_news = False
        self._tell(
            ProbeHint(
                stage,
                attempt=self._attempt,
                place=self._place,
                spans=tuple(self._spans),
                sockets=self._turn.sockets,
                flows=self._turn.flows,
            )
        )

    def _reason(self, code: ReasonCode, more: str = "") -> Reason:
        hint, turn = self._facts.hint, self._turn
        here = f"{turn.sockets} sockets and {turn.flows} flows here"
        there = f"{hint.sockets} and {hint.flows} there" if hint is not None else "nothing heard from there"
        told = f"{self._tactic.name.value}: {here}, {there}"
        return Reason(code, f"{told}; {more}" if more else told)

    @property
    def _is_peer_done(self) -> bool:
        return self._facts.hint is not None and self._facts.hint.stage in (Stage.OVER, Stage.BUSY)

    # Opening.

    async def _open(self, nursery: trio.Nursery) -> None:
        """Until the guesser has made all its guesses."""
        batches = 0
        while not self._is_peer_done:
            batch = await self._open_batch()
            if batch:
                ttl = OPENING_TTLS[batches % len(OPENING_TTLS)]
                batches += 1
                if self._tactic.spans:
                    self._knock_first(batch, ttl)
                else:
                    nursery.start_soon(self._open_enclosed, batch, ttl)
            self._knock_fresh(None)
            self._knock_due()
            if self._has_news:
                self._say(Stage.UNDER_WAY)
            await trio.sleep(TICK)

    async def _open_batch(self) -> list[int]:
        batch: list[int] = []
        while len(batch) < BATCH and self._turn.sockets < self._tactic.sockets and self._turn.take_socket():
            number = await self._around.open_punch_socket()
            if number is None:
                break
            self._sockets.append(number)
            batch.append(number)
        return batch

    def _knock_first(self, batch: Sequence[int], ttl: int) -> None:
        self._fresh.extend((number, aim) for number in batch for aim in self._aims)
        self._knock_fresh(ttl)

    async def _open_enclosed(self, batch: Sequence[int], ttl: int) -> None:
        """Where the NAT counts: what our server sees right before and after encloses the ports of the batch."""
        before, after = await self._around.enclose(batch[0], lambda: self._knock_first(batch, ttl))
        seen = before or after
        if seen is None:
            return
        step = self._step
        count = len(batch) * len(self._aims)
        first = before.port + step if before is not None else seen.port - step * count
        last = after.port - step if after is not None and after != before else first + step * (count + 1)
        low, high = sorted((first, last))
        if 0 < low <= high <= 0xFFFF and high - low <= abs(step) * count * 8:
            self._place = seen
            self._spans.append((low, high))
            self._has_news = True

    @property
    def _step(self) -> int:
        own = self._around.own_card
        return (own.body.nat.step if own is not None else 0) or 1

    def _knock_fresh(self, ttl: int | None) -> None:
        while self._fresh and self._turn.take_flow():
            number, aim = self._fresh.popleft()
            self._knock(Way(number, aim), ttl)
            self._due.append((trio.current_time() + FIRST_REPEAT, number, aim))

    def _knock_due(self) -> None:
        """Knock again, so that it may arrive: a guess made before the socket was opened counts too."""
        now = trio.current_time()
        for _ in range(2 * BATCH):
            if not self._due or self._due[0][0] > now:
                return
            _, number, aim = self._due.popleft()
            self._knock(Way(number, aim), None)
            self._due.append((now + REPEAT, number, aim))

    # Guessing.

    async def _guess(self) -> None:
        """Until all guesses are made and late answers have had their time."""
        waiting = deque(self._draw())
        told: dict[int, float] = {}
        done_at: float | None = None
        while not self._is_peer_done:
            now = trio.current_time()
            urgent = [port for port in self._told_ports() if now - told.get(port, -TOLD_REPEAT) >= TOLD_REPEAT]
            for port in urgent:
                if port not in told and not self._turn.take_flow():
                    break
                told[port] = now
                self._ask(port)
            while waiting and self._turn.take_flow():
                self._ask(waiting.popleft())
            is_done = (not waiting and bool(self._tactic.spans)) or self._turn.is_spent
            done_at = (done_at or now) if is_done else None
            if done_at is not None and now - done_at >= GRACE:
                return
            await trio.sleep(TICK)

    def _draw(self) -> list[int]:
        """Ports in random order, none twice."""
        ports = [port for first, last in self._tactic.spans for port in range(first, last + 1)]
        return self._around.entropy.chance.sample(ports, len(ports))

    def _told_ports(self) -> list[int]:
        """What the opener told, first the spans themselves, then what is next to them."""
        hint = self._facts.hint
        if hint is None or hint.place is None or hint.place.host not in self._hosts:
            return []
        inside = [port for first, last in hint.spans for port in range(first, last + 1)]
        beside = [
            port
            for first, last in hint.spans
            for port in (*range(last + 1, last + 1 + MARGIN), *range(first - MARGIN, first))
            if 0 < port <= 0xFFFF
        ]
        return list(dict.fromkeys((*inside, *beside)))

    def _ask(self, port: int) -> None:
        for host in self._hosts[:1]:
            self._knock(Way(self._guess_from, Endpoint(host, port)), None)
