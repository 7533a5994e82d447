"""One attempt of one side: what listener and scanner share, which is the budget, the sockets and the hints."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import trio

from tunnel.model.endpoint import Endpoint
from tunnel.model.nat import NatReport
from tunnel.model.way import Way
from tunnel.peer.path import NEVER
from tunnel.peer.peer_state import PeerState
from tunnel.peer.port_prediction.plan import FIRST_PORT, LAST_PORT, PredictionPlan, Span
from tunnel.peer.ports import PunchSockets
from tunnel.peer.probe_budget import PredictionSlot
from tunnel.wire.probes import MAX_SPANS, ProbeHint, PunchPhase

TICK = 0.05
"""Seconds between two steps: a few flows and sockets each."""
FLOWS_A_TICK = 9
MAX_REPORTED_PORTS = 2048
"""Ports of the peer's that are heeded: there are flows for fewer. A span is four bytes, and may be of all ports."""
HEARD_BEFORE = 2.0
"""Seconds before an attempt in which the peer, in the plain punch, counts as heard."""


class ProbeSender(Protocol):
    """Sends what an attempt sends: `Probes` does."""

    def send_untracked(self, way: Way, ttl: int | None = None) -> None:
        """Send one probe; nothing is kept of the way unless it is answered."""
        ...

    def tell(self, hint: ProbeHint) -> None:
        """Send a hint over the relay."""
        ...


class Attempt:
    """One attempt of one side. `numbers` are the sockets opened for it; the caller closes them."""

    def __init__(
        self,
        peer: PeerState,
        plan: PredictionPlan,
        slot: PredictionSlot,
        probes: ProbeSender,
        sockets: PunchSockets,
        numbers: list[int],
        *,
        chance: random.Random,
        number: int,
        endpoints: Sequence[Endpoint],
        own: NatReport,
        theirs: NatReport,
        lasting: int,
    ) -> None:
        """`number` counts the attempts, `endpoints` are the outer ones that the peer announced, at least one.

        `lasting` is the IPv4 socket that stays open after the attempt.
        """
        self.plan = plan
        self.slot = slot
        self.numbers = numbers
        self.endpoints = endpoints
        self.own, self.theirs = own, theirs
        self.lasting = lasting
        self.chance = chance
        """For orders that nobody should foresee."""
        self._peer = peer
        self._probes = probes
        self._sockets = sockets
        self._number = number
        self._began = trio.current_time() - HEARD_BEFORE
        self._seen_at: Endpoint | None = None
        self._spans: list[Span] = []

    @property
    def host(self) -> str:
        """The peer's outer address."""
        return self.endpoints[0].host

    @property
    def hint(self) -> ProbeHint | None:
        """The peer's latest; None before the first. One about an address that it did not announce tells no ports."""
        return self._peer.hint

    @property
    def told(self) -> tuple[Span, ...]:
        """Spans in which the peer says that its ports are; empty if they are about an address that it did not announce.

        They hold `MAX_REPORTED_PORTS` ports at most, and none below `FIRST_PORT`: a victim may have services there.
        """
        hint = self.hint
        if hint is None or hint.place is None or hint.place.host != self.host:
            return ()
        return tuple(_first_of(hint.spans, MAX_REPORTED_PORTS))

    def heard(self) -> list[Endpoint]:
        """Endpoints at the peer's address, not announced, from which it was heard and has answered nothing yet."""
        return [
            path.way.remote
            for path in self._peer.paths.direct.values()
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
        """Return when the condition holds; it is looked at with each news of the peer."""
        await self._peer.notifier.wait_until(condition)

    def say(self, phase: PunchPhase) -> None:
        """Tell the peer how far we are."""
        self._probes.tell(
            ProbeHint(
                phase,
                opens=self.plan.we_listen,
                attempt=self._number,
                place=self._seen_at,
                spans=tuple(self._spans),
                step=self.step,
                sockets=self.slot.sockets,
                flows=self.slot.flows,
            )
        )

    def note_span(self, place: Endpoint, span: Span) -> None:
        """Tell the peer that ports of ours are in this span, in the order in which we learn of spans.

        A span with no such ports is ignored.
        """
        first, last = span
        if not 0 < first <= last <= LAST_PORT:
            return
        self._seen_at = place
        self._spans.append(span)
        while len(self._spans) > MAX_SPANS:
            self._spans = _joined(self._spans)
        self.say(PunchPhase.UNDER_WAY)

    @property
    def step(self) -> int:
        """Distance from one port of ours to the next, where our NAT counts; 1 where that is not known."""
        return self.own.step or 1

    async def open_sockets(self, wanted: int) -> list[int]:
        """Open as many as the pace allows now and the machine gives."""
        opened: list[int] = []
        while len(opened) < wanted and self.slot.take_socket():
            number = await self._sockets.open()
            if number is None:
                break
            self.numbers.append(number)
            opened.append(number)
        return opened

    def send_again(self, way: Way) -> bool:
        """Send once more on a flow that is open, so as to arrive; False when the budget has no packet left."""
        if not self.slot.take_repeat():
            return False
        self._probes.send_untracked(way)
        return True

    def send(self, way: Way, ttl: int | None = None) -> None:
        """Send one probe; the caller has taken a flow for it."""
        self._probes.send_untracked(way, ttl)

    async def enclose(self, number: int, act: Callable[[], None]) -> tuple[Endpoint | None, Endpoint | None]:
        """Where our server saw this socket just before and just after the act."""
        return await self._sockets.enclose(number, act)


class PacedProbes:
    """Probes that wait for the pace: pairs of socket and endpoint, sent in the order in which they were added."""

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt
        self._waiting: deque[tuple[int, Endpoint]] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, pairs: Sequence[tuple[int, Endpoint]]) -> None:
        """Send from these sockets to these endpoints, too."""
        self._waiting.extend(pairs)

    def send(self, ttl: int | None = None, most: int = FLOWS_A_TICK) -> list[tuple[int, Endpoint]]:
        """Send what the pace allows, `most` at a time; return what was sent."""
        sent: list[tuple[int, Endpoint]] = []
        while self._waiting and len(sent) < most and self._attempt.slot.take_flow():
            number, endpoint = self._waiting.popleft()
            self._attempt.send(Way(number, endpoint), ttl)
            sent.append((number, endpoint))
        return sent


async def tick() -> None:
    """Wait for the next step."""
    await trio.sleep(TICK)


def _first_of(spans: Sequence[Span], most: int) -> Iterator[Span]:
    """The first `most` ports of these spans, none below `FIRST_PORT`."""
    for begin, end in spans:
        first = max(begin, FIRST_PORT)
        last = min(end, first + most - 1)
        if first <= last:
            most -= last - first + 1
            yield first, last


def _joined(spans: Sequence[Span]) -> list[Span]:
    """One span fewer: the two that lie closest become one."""
    spans = sorted(spans)
    at = min(range(len(spans) - 1), key=lambda index: spans[index + 1][0] - spans[index][1])
    return [*spans[:at], (spans[at][0], max(spans[at][1], spans[at + 1][1])), *spans[at + 2 :]]
