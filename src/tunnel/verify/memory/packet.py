"""The packets of the internet in memory, their fates, and the interfaces that carry them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from tunnel.model.endpoint import Endpoint

DEFAULT_TTL = 64


class StreamEnd(Protocol):
    """The sender of a segment, as the receiver and the network see it."""

    def came_through(self) -> None:
        """One of its packets arrived."""
        ...

    def credit(self, count: int) -> None:
        """The receiver has read so many of its bytes."""
        ...

    def retransmit(self, lost: MemoryPacket) -> None:
        """One of its packets was lost."""
        ...


class SegmentKind(Enum):
    """The kind of a segment: a simplified RFC 9293."""

    CONNECT = "connect"
    ACCEPT = "accept"
    DATA = "data"
    END = "end"
    RESET = "reset"


@dataclass(frozen=True, slots=True)
class Segment:
    """The part of a packet that belongs to a byte stream. Its sender is told when the packet was lost."""

    kind: SegmentKind
    sequence: int
    sender: StreamEnd | None = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class MemoryPacket:
    """One packet: a UDP datagram, or part of a byte stream if it has a segment.

    A NAT box rewrites the endpoints with `dataclasses.replace` and leaves the rest alone.
    """

    source: Endpoint
    destination: Endpoint
    payload: bytes
    ttl: int = DEFAULT_TTL
    segment: Segment | None = None

    @property
    def is_stream(self) -> bool:
        """Whether this belongs to a byte stream (TCP) rather than being a UDP datagram."""
        return self.segment is not None


class Fate(Enum):
    """The fate of a packet."""

    DELIVERED = "delivered"
    DROPPED = "dropped"
    """By the internet's `drop` hook, or lost on a line."""
    EXPIRED = "expired"
    """Its TTL was lower than the number of hops."""
    UNROUTABLE = "unroutable"
    """Nobody has the destination address, or the sender does not have the source address any more."""
    UNWANTED = "unwanted"
    """No socket or stream at that port."""
    OVERFLOW = "overflow"
    """The receiver's queue was full."""
    FILTERED = "filtered"
    """A NAT or firewall dropped it."""
    OVERSIZE = "oversize"
    """Longer than the line's MTU, and dropped in silence."""
    SHED = "shed"
    """The queue of a line of limited rate was full."""


class Owner(Protocol):
    """Whatever has an address: a host, a NAT box."""

    @property
    def name(self) -> str:
        """Its name, for latencies and traces."""
        ...

    def deliver(self, packet: MemoryPacket) -> None:
        """A packet has arrived."""
        ...


class Network(Protocol):
    """What a host is plugged into: the internet, or a NAT box's inner side."""

    def attach(self, address: str, owner: Owner) -> None:
        """Deliver packets to this address to this owner from now on."""
        ...

    def detach(self, address: str) -> None:
        """Drop packets to this address from now on."""
        ...

    def transmit(self, packet: MemoryPacket) -> None:
        """Send a packet on."""
        ...


class Ether(Protocol):
    """The virtual time that all networks of one internet share."""

    def schedule(self, delay: float, action: Callable[[], None]) -> None:
        """Call `action` in `delay` seconds."""
        ...

    def settle(self, packet: MemoryPacket, fate: Fate) -> None:
        """Record a packet's fate. The sender of a lost segment sends it again."""
        ...
