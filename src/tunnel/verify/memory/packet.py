"""What travels in the internet in memory, and what became of it."""

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
        """A packet of its own arrived."""
        ...

    def credit(self, count: int) -> None:
        """So many bytes of its own were read."""
        ...

    def retransmit(self, lost: MemoryPacket) -> None:
        """A packet of its own was lost."""
        ...


class SegmentKind(Enum):
    """What a packet of a byte stream says (RFC 9293 in a nutshell)."""

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
    """One packet: a UDP datagram, or a piece of a byte stream if it has a segment.

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
    """What became of a packet."""

    DELIVERED = "delivered"
    DROPPED = "dropped"
    """By the internet's `drop` hook, or lost on a line."""
    EXPIRED = "expired"
    """Its TTL was lower than the hops of the way."""
    UNROUTABLE = "unroutable"
    """Nobody has the destination address, or the sender does not have the source address any more."""
    UNWANTED = "unwanted"
    """No socket or stream at that port."""
    OVERFLOW = "overflow"
    """The receiver's queue was full."""
    FILTERED = "filtered"
    """A NAT box or firewall let it not pass."""
    OVERSIZE = "oversize"
    """Longer than the line's MTU: a black hole tells nobody."""
    SHED = "shed"
    """A line of limited rate had too much waiting."""


class Owner(Protocol):
    """Whatever has an address: a host, a NAT box."""

    @property
    def name(self) -> str:
        """For latencies and traces."""
        ...

    def deliver(self, packet: MemoryPacket) -> None:
        """A packet has arrived."""
        ...


class Network(Protocol):
    """What a host is plugged into: the internet, or a NAT box's inner side."""

    def attach(self, address: str, owner: Owner) -> None:
        """From now on packets to this address go to this owner."""
        ...

    def detach(self, address: str) -> None:
        """Packets to this address go nowhere."""
        ...

    def transmit(self, packet: MemoryPacket) -> None:
        """Take a packet on its way."""
        ...


class Ether(Protocol):
    """The virtual time that all networks of one internet share."""

    def schedule(self, delay: float, action: Callable[[], None]) -> None:
        """Call `action` in `delay` seconds."""
        ...

    def settle(self, packet: MemoryPacket, fate: Fate) -> None:
        """Say what became of a packet. A lost piece of a stream is sent again by its sender."""
        ...
