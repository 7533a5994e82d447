"""What a node tells its network about itself."""

from __future__ import annotations

from dataclasses import dataclass

from tunnel.model.candidate import Candidate
from tunnel.model.nat import NatReport
from tunnel.model.protocol_version import PROTOCOL_VERSION

MAX_NAME = 63
MAX_CANDIDATES = 24
MAX_ADDRESSES = 4


@dataclass(frozen=True, slots=True)
class Announcement:
    """The body of an announcement, opened: only members of the network ever see it."""

    name: str
    static_key: bytes
    """The node's X25519 public key, 32 bytes; its hash is the node id."""
    addresses: tuple[str, ...]
    """The tunnel addresses that the node claims: its own IPv6 one, and the IPv4 one that the server leased."""
    candidates: tuple[Candidate, ...]
    nat: NatReport
    relay_only: bool = False
    claimed_since: float = 0.0
    """Unix time since which the node holds its IPv4 address: of two claims the older holds."""
    takes_ip: bool = True
    """Whether it accepts IP packets: False without an interface. A node that does not say accepts them."""
    protocol_version: int = PROTOCOL_VERSION
    """What it speaks with its peers. A node that does not say speaks version 1."""


@dataclass(frozen=True, slots=True)
class PeerCard:
    """An announcement as the server passed it on and we opened it: who, which process start, which version."""

    node: bytes
    """Raw node id, 16 bytes."""
    epoch: bytes
    """128 random bits drawn at each process start."""
    seq: int
    body: Announcement
