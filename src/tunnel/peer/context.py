"""What all peer connections of one node have in common: its identity, clock, entropy and durations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from tunnel.crypto.node_keys import NodeKeys
from tunnel.machines.stalls import Stalls
from tunnel.model.identity import NetworkId
from tunnel.model.protocol_version import PROTOCOL_VERSION
from tunnel.model.timings import Timings
from tunnel.network.ports import Clock, Entropy


class Identity(Protocol):
    """The node's static keys and its epoch."""

    @property
    def keys(self) -> NodeKeys:
        """Our static keys."""
        ...

    @property
    def epoch(self) -> bytes:
        """This process start, 16 bytes. The node draws another one where its memory may run twice."""
        ...


@dataclass(frozen=True, slots=True)
class PeerContext:
    """Nothing here acts. The identity's epoch may change, and there may be more stalls."""

    identity: Identity
    network: NetworkId
    psk: bytes
    """The network's pre-shared key, 32 bytes."""
    timings: Timings
    stalls: Stalls
    """When this program got no turn."""
    clock: Clock
    """Wall clock, for history only."""
    entropy: Entropy
    mtu: int
    """Largest inner packet, in bytes."""
    protocol_version: int = PROTOCOL_VERSION
    """What we tell our peers that we speak."""

    @property
    def keys(self) -> NodeKeys:
        """Our static keys."""
        return self.identity.keys

    @property
    def epoch(self) -> bytes:
        """This process start, 16 bytes."""
        return self.identity.epoch
