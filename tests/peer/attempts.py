"""One side of a port prediction alone: what it sends is kept, and the test says what the peer's hints would."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import trio
from tests.peer.conftest import peer_state_of

from tunnel.model.endpoint import Endpoint
from tunnel.model.nat import Allocation, Filtering, Mapping, NatReport, Udp
from tunnel.model.way import Way
from tunnel.peer.peer_state import PeerState
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
class Sent:
    """Takes what an attempt sends."""

    probes: list[tuple[float, Way]] = field(default_factory=list)
    told: list[ProbeHint] = field(default_factory=list)

    def send_untracked(self, way: Way, ttl: int | None = None) -> None:
        self.probes.append((trio.current_time(), way))

    def tell(self, hint: ProbeHint) -> None:
        self.told.append(hint)


@dataclass
class Solo:
    """One attempt of one side, from its first second on."""

    attempt: Attempt
    peer: PeerState
    sent: Sent

    def hear(self, *spans: Span, phase: PunchPhase = PunchPhase.UNDER_WAY) -> None:
        """The peer says that its ports are here."""
        self.peer.note_hint(ProbeHint(phase, place=THEIRS, spans=spans, step=1))

    @property
    def probes(self) -> list[tuple[float, Way]]:
        """What was sent where, and when."""
        return self.sent.probes

    @property
    def told(self) -> list[ProbeHint]:
        """Hints that were sent."""
        return self.sent.told

    @property
    def ports(self) -> set[int]:
        """Ports of the peer's address that were probed."""
        return {way.remote.port for _, way in self.probes if way.remote is not None}


async def go_solo(side: Side, plan: PredictionPlan, *, own: NatReport = COUNTS, theirs: NatReport = COUNTS) -> Solo:
    """Begin an attempt of this side, with the slot of its node."""
    slot = await side.budget.wait_slot(1.0)
    assert slot is not None
    peer = peer_state_of(side)
    sent = Sent()
    attempt = Attempt(
        peer,
        plan,
        slot,
        sent,
        side.ports.punch_sockets,
        [],
        chance=side.entropy.chance,
        number=1,
        endpoints=(THEIRS,),
        own=own,
        theirs=theirs,
        lasting=0,
    )
    return Solo(attempt, peer, sent)
