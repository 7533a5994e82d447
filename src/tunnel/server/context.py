"""What all connections of a server share: its settings, its ports, its parts, and what they count together."""

from __future__ import annotations

from dataclasses import dataclass, field

from tunnel.model.endpoint import Endpoint
from tunnel.model.settings import ServerSettings
from tunnel.network.fair_queueing import FairQueue
from tunnel.network.ports import World
from tunnel.server.admission_control import AdmissionControl
from tunnel.server.introductions import Introductions
from tunnel.server.presence import Presence
from tunnel.server.registry import Registry
from tunnel.server.relay import Relay
from tunnel.server.stun_service import StunCounts
from tunnel.server.udp_relay import UdpRelay


@dataclass(slots=True)
class ConversationCounts:
    """What connections counted since the start."""

    signals: int = 0
    """Heard from registered nodes."""
    endings: dict[str, int] = field(default_factory=dict)
    """How many connections ended with which last word; `gone` where the client went first."""

    def note_ending(self, code: str) -> None:
        """A connection has ended with this last word."""
        self.endings[code] = self.endings.get(code, 0) + 1


@dataclass(frozen=True, slots=True)
class ServerContext:
    """The parts of one server."""

    settings: ServerSettings
    world: World
    admission: AdmissionControl
    presence: Presence
    registry: Registry
    relay: Relay
    introductions: Introductions
    udp_relay: UdpRelay | None = None
    stun: tuple[Endpoint, ...] = ()
    binding: bytes = b""
    """SHA-256 of the server's certificate, which each hello covers; empty without TLS."""
    fair_queue: FairQueue = field(default_factory=FairQueue)
    """In which connections that send or are told much share the event loop."""
    stun_counts: StunCounts = field(default_factory=StunCounts)
    counts: ConversationCounts = field(default_factory=ConversationCounts)
