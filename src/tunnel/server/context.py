"""What all connections of a server share: its settings, its ports, its parts, and what they count together."""

from __future__ import annotations

from dataclasses import dataclass, field

from tunnel.model.endpoint import Endpoint
from tunnel.model.settings import ServerSettings
from tunnel.network.fair_queueing import FairQueue
from tunnel.network.ports import World
from tunnel.server.introductions import Introductions
from tunnel.server.presence import Presence
from tunnel.server.registry import Registry
from tunnel.server.relay import Relay
from tunnel.server.stun_service import StunCounts
from tunnel.server.udp_relay import UdpRelay


@dataclass(slots=True)
class ServerContext:
    """What all connections share."""

    settings: ServerSettings
    world: World
    presence: Presence
    registry: Registry
    relay: Relay
    introductions: Introductions
    udp_relay: UdpRelay | None = None
    stun: tuple[Endpoint, ...] = ()
    binding: bytes = b""
    """SHA-256 of the server's certificate, which each hello covers; empty without TLS."""
    stun_counts: StunCounts = field(default_factory=StunCounts)
    endings: dict[str, int] = field(default_factory=dict)
    """How many connections ended with which last word; `gone` where the client went first."""
    signals: int = 0
    fair_queue: FairQueue = field(default_factory=FairQueue)
    """In which the connections that send or are told much share the loop."""
