"""One side of a hard punch alone: what it knocks and tells is kept, and the test says what the peer's hints would."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import trio

from tunnel.model.endpoint import Endpoint
from tunnel.model.nat import Allocation, Filtering, Mapping, NatReport, Udp
from tunnel.model.way import Way
from tunnel.peer.peer_state import PeerFacts
from tunnel.peer.port_prediction.attempt import Attempt
from tunnel.peer.port_prediction.plan import PredictionPlan, Span
from tunnel.wire.probes import ProbeHint, PunchPhase

if TYPE_CHECKING:
    from tests.peer.conftest import Side

THEIRS = Endpoint("66.6.6.6", 4000)
COUNTS = NatReport(
    Mapping.ADDRESS_AND_PORT_DEPENDENT,
    Filtering.ADDRESS_AND_PORT_DEPENDENT,
    Allocation.SEQUENTIAL,
    udp=Udp.OPEN,
    step=1,
)


@dataclass
class Solo:
    """A bout of one side, from its first second on."""

    attempt: Attempt
    facts: PeerFacts
    knocks: list[tuple[float, Way]] = field(default_factory=list)
    told: list[ProbeHint] = field(default_factory=list)

    def hear(self, *spans: Span, phase: PunchPhase = PunchPhase.UNDER_WAY) -> None:
        """The peer says that its ports are here."""
        self.facts.note_hint(ProbeHint(phase, place=THEIRS, spans=spans, step=1))

    @property
    def ports(self) -> set[int]:
        """Of the peer's address, that were knocked at."""
        return {way.remote.port for _, way in self.knocks if way.remote is not None}


async def go_solo(side: Side, tactic: PredictionPlan, *, own: NatReport = COUNTS, theirs: NatReport = COUNTS) -> Solo:
    """Begin a bout of this side, with a turn of its node's."""
    turn = await side.budget.wait_turn(1.0)
    assert turn is not None
    ports = side.ports
    facts = PeerFacts(
        side.bench.other(side).keys.id,
        side.context,
        announcement=ports.announcement,
        server=ports.server,
        overlays=ports.overlays,
    )
    knocks: list[tuple[float, Way]] = []
    told: list[ProbeHint] = []
    attempt = Attempt(
        facts,
        tactic,
        turn,
        ports.punch_sockets,
        [],
        chance=side.entropy.chance,
        attempt=1,
        endpoints=(THEIRS,),
        own=own,
        theirs=theirs,
        stays=0,
        knock=lambda way, ttl: knocks.append((trio.current_time(), way)),
        tell=told.append,
    )
    return Solo(attempt, facts, knocks, told)
