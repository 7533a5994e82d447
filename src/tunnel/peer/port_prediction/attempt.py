"""What opener and guesser of a hard punch have in common: the budget, the sockets, what both told each other."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterator, Sequence

import trio

from tunnel.model.endpoint import Endpoint
from tunnel.model.nat import NatReport
from tunnel.model.way import Way
from tunnel.peer.paths import NEVER
from tunnel.peer.peer_state import PeerFacts
from tunnel.peer.port_prediction.plan import FIRST_PORT, LAST_PORT, PredictionPlan, Span
from tunnel.peer.ports import PunchSockets
from tunnel.peer.probe_budget import PredictionTurn
from tunnel.wire.probes import MAX_SPANS, ProbeHint, PunchPhase

Knock = Callable[[Way, int | None], None]
"""knock(way, ttl): one probe, of which nothing is kept unless it is answered."""
Tell = Callable[[ProbeHint], None]
"""tell(hint): send it over the relay."""

TICK = 0.05
"""Seconds between two steps: a few flows and sockets each."""
FLOWS_A_TICK = 9
MOST_TOLD = 2048
"""Ports of the peer's that are heeded: there are flows for fewer. A span is four bytes, and may be of all ports."""
HEARD_BEFORE = 2.0
"""Seconds before a hard punch, in which the plain one was heard already."""


class Attempt:
    """One hard punch of one side. `numbers` are the sockets opened for it, and the caller's to close."""

    def __init__(
        self,
        facts: PeerFacts,
        tactic: PredictionPlan,
        turn: PredictionTurn,
        sockets: PunchSockets,
        numbers: list[int],
        *,
        chance: random.Random,
        attempt: int,
        endpoints: Sequence[Endpoint],
        own: NatReport,
        theirs: NatReport,
        stays: int,
        knock: Knock,
        tell: Tell,
    ) -> None:
        """`endpoints` are the outer ones that the peer announced, at least one; `stays` the socket that stays."""
        self.tactic = tactic
        self.turn = turn
        self.numbers = numbers
        self.endpoints = endpoints
        self.own, self.theirs = own, theirs
        self.stays = stays
        self.knock = knock
        self._facts = facts
        self._sockets = sockets
        self.chance = chance
        """For orders that nobody should foresee."""
        self._attempt = attempt
        self._tell = tell
        self._began = trio.current_time() - HEARD_BEFORE
        self._place: Endpoint | None = None
        self._spans: list[Span] = []

    @property
    def host(self) -> str:
        """The peer's outer address."""
        return self.endpoints[0].host

    @property
    def hint(self) -> ProbeHint | None:
        """The peer's latest; None before the first. One about an address that it did not announce tells no ports."""
        return self._facts.hint

    @property
    def told(self) -> tuple[Span, ...]:
        """Spans in which the peer says that its ports are; none about an address that it did not announce.

        They hold `MOST_TOLD` ports at most, and none below `FIRST_PORT`: services of a victim's may be there.
        """
        hint = self.hint
        if hint is None or hint.place is None or hint.place.host != self.host:
            return ()
        return tuple(_first_of(hint.spans, MOST_TOLD))

    def heard(self) -> list[Endpoint]:
        """From where else at its address the peer was heard, in vain so far: we have not aimed there."""
        return [
            path.way.remote
            for path in self._facts.paths.direct.values()
            if path.way.remote is not None
            and path.way.remote.host == self.host
            and path.way.remote not in self.endpoints
            and path.heard > self._began
            and path.answered == NEVER
        ]

    @property
    def is_peer_done(self) -> bool:
        """Whether the peer has stopped."""
        return self.hint is not None and self.hint.phase in (PunchPhase.OVER, PunchPhase.BUSY)

    async def wait_hint(self, condition: Callable[[], bool]) -> None:
        """Until the condition holds: it is asked with each news of the peer."""
        await self._facts.notifier.wait_until(condition)

    def say(self, phase: PunchPhase) -> None:
        """Tell the peer where we are."""
        self._tell(
            ProbeHint(
                phase,
                opens=self.tactic.we_open,
                attempt=self._attempt,
                place=self._place,
                spans=tuple(self._spans),
                step=self.step,
                sockets=self.turn.sockets,
                flows=self.turn.flows,
            )
        )

    def note_span(self, place: Endpoint, span: Span) -> None:
        """Ports of ours are here: tell it, in the order in which we learned it. Nothing where no such ports are."""
        first, last = span
        if not 0 < first <= last <= LAST_PORT:
            return
        self._place = place
        self._spans.append(span)
        while len(self._spans) > MAX_SPANS:
            self._spans = _joined(self._spans)
        self.say(PunchPhase.UNDER_WAY)

    @property
    def step(self) -> int:
        """From one port of ours to the next, where our NAT counts; 1 where it was not learned."""
        return self.own.step or 1

    async def open_sockets(self, wanted: int) -> list[int]:
        """As many as the pace allows now, and the machine gives."""
        opened: list[int] = []
        while len(opened) < wanted and self.turn.take_socket():
            number = await self._sockets.open()
            if number is None:
                break
            self.numbers.append(number)
            opened.append(number)
        return opened

    def knock_again(self, way: Way) -> bool:
        """Knock where we knocked before, so as to arrive; False when the budget has no packet left."""
        if not self.turn.take_repeat():
            return False
        self.knock(way, None)
        return True

    async def enclose(self, number: int, act: Callable[[], None]) -> tuple[Endpoint | None, Endpoint | None]:
        """Where our server saw this socket just before and just after the act."""
        return await self._sockets.enclose(number, act)


class Knocks:
    """Knocks that wait for the pace: pairs of socket and endpoint, each once, in the order of their coming."""

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt
        self._waiting: deque[tuple[int, Endpoint]] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, pairs: Sequence[tuple[int, Endpoint]]) -> None:
        """These too."""
        self._waiting.extend(pairs)

    def send(self, ttl: int | None = None, most: int = FLOWS_A_TICK) -> list[tuple[int, Endpoint]]:
        """Send what the pace allows, `most` at a time; what was sent."""
        sent: list[tuple[int, Endpoint]] = []
        while self._waiting and len(sent) < most and self._attempt.turn.take_flow():
            number, endpoint = self._waiting.popleft()
            self._attempt.knock(Way(number, endpoint), ttl)
            sent.append((number, endpoint))
        return sent


async def tick() -> None:
    """One step."""
    await trio.sleep(TICK)


def _first_of(spans: Sequence[Span], most: int) -> Iterator[Span]:
    """The first so many ports of these spans, from `FIRST_PORT` on."""
    for begin, end in spans:
        first = max(begin, FIRST_PORT)
        last = min(end, first + most - 1)
        if first <= last:
            most -= last - first + 1
            yield first, last


def _joined(spans: Sequence[Span]) -> list[Span]:
    """One fewer: the two neighbours that lie closest become one."""
    spans = sorted(spans)
    at = min(range(len(spans) - 1), key=lambda index: spans[index + 1][0] - spans[index][1])
    return [*spans[:at], (spans[at][0], max(spans[at][1], spans[at + 1][1])), *spans[at + 2 :]]
