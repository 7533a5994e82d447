"""A network as values: hosts, the routers in front of them, and the lines between.

    host --line-- router --line-- router --line-- the internet's core --line-- host

Nothing here acts; the simulation builds it. Durations are seconds, rates bytes per second, probabilities 0 to 1. The
words are those of RFC 4787.
"""

from __future__ import annotations

from collections.abc import Mapping as MappingOf
from dataclasses import dataclass, field
from enum import Enum

from tunnel.model.endpoint import Endpoint
from tunnel.model.nat import Allocation, Filtering, Mapping

UDP_LIFETIME = 120.0
"""RFC 4787, requirement 5: a UDP mapping lives two minutes at least."""
UNANSWERED_LIFETIME = 30.0
"""What Linux gives a mapping that was not answered yet."""


class Refresh(Enum):
    """Which packets keep a mapping alive (RFC 4787, section 4.3)."""

    OUTBOUND = "outbound"
    INBOUND = "inbound"
    BOTH = "both"


class Hairpinning(Enum):
    """The source of a hairpinned packet: one from inside to the router's own outer address (RFC 4787, section 6)."""

    NONE = "none"
    """It is dropped."""
    EXTERNAL_SOURCE = "external_source"
    """It comes from the sender's outer endpoint, as the RFC demands."""
    INTERNAL_SOURCE = "internal_source"
    """It comes from the sender's inner endpoint."""


class Unsolicited(Enum):
    """What a router does with a packet from outside that no mapping lets in."""

    DROP = "drop"
    RESET = "reset"
    """A connection attempt is answered with a reset; a datagram is dropped."""
    DENY = "deny"
    """A datagram has its sender's endpoint denied for `deny_time`, even if a mapping would let it in by then.

    Streams are exempt: a server that retransmits to a client that died would lock out all later clients.
    """
    TRACK = "track"
    """It is tracked, so that a later packet to that remote leaves by another port (netfilter without a firewall)."""


class Udp(Enum):
    """Which packets a router lets out."""

    OPEN = "open"
    BLOCKED = "blocked"
    """No datagram passes."""
    WEB_ONLY = "web_only"
    """No datagram passes, and byte streams only to ports 443 and 8443."""


class Lie(Enum):
    """How a gateway lies to hosts that ask it for a port."""

    NONE = "none"
    SILENT = "silent"
    """It takes the request and never answers."""
    HANGS = "hangs"
    """By UPnP it accepts the connection and neither answers nor closes it: each request ends by its own timeout."""
    GARBAGE = "garbage"
    """It answers with bytes that mean nothing."""
    WRONG_ADDRESS = "wrong_address"
    """It names an outer address that is not its own."""
    PRIVATE_ADDRESS = "private_address"
    """It names an outer address that nobody outside can reach: there is another NAT before it."""
    NOT_MAPPED = "not_mapped"
    """It says yes and maps nothing."""
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One access line. `up` is away from the host."""

    latency: float = 0.0
    """One way."""
    jitter: float = 0.0
    """Added to the latency: evenly spread up to this."""
    loss_up: float = 0.0
    loss_down: float = 0.0
    udp_loss_up: float = 0.0
    """Of datagrams alone, in addition to the loss of all packets; 1 lets none pass in this direction."""
    udp_loss_down: float = 0.0
    reorder: float = 0.0
    """The share of packets that take `reorder_delay` longer than the others."""
    reorder_delay: float = 0.02
    duplicate: float = 0.0
    mtu_up: int | None = None
    """Longer packets, IP and UDP headers included, are dropped in silence: a black hole."""
    mtu_down: int | None = None
    rate_up: float | None = None
    rate_down: float | None = None
    udp_rate_up: float | None = None
    """Of datagrams alone: what exceeds it is lost and nothing queues, as where a provider polices UDP."""
    udp_rate_down: float | None = None
    queue: float = 0.2
    """With a rate: packets that would wait longer than this are lost. With a `udp_rate`: the burst, in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Nat:
    """One NAT: mapping x filtering x allocation, and what else RFC 4787 distinguishes."""

    mapping: Mapping = Mapping.ENDPOINT_INDEPENDENT
    filtering: Filtering = Filtering.ADDRESS_AND_PORT_DEPENDENT
    allocation: Allocation = Allocation.PRESERVING
    """PRESERVING takes the inner port if it is free, else the next free one above it."""
    step: int = 1
    """SEQUENTIAL: the distance from one port to the next."""
    foreign_load: float = 0.0
    """SEQUENTIAL and RANDOM: mappings a second that other subscribers make, as a Poisson process."""
    first_port: int = 1024
    last_port: int = 65535
    block_size: int = 512
    """BLOCK: each subscriber (inner address) gets one block of so many ports, and random ports within it."""
    lifetime: float = UDP_LIFETIME
    unanswered_lifetime: float = UNANSWERED_LIFETIME
    """The lifetime until a packet has come in through the mapping."""
    refresh: Refresh = Refresh.OUTBOUND
    hairpinning: Hairpinning = Hairpinning.NONE
    unsolicited: Unsolicited = Unsolicited.DROP
    deny_time: float = 10.0
    max_mappings: int | None = None
    """Per inner address; beyond it the oldest is dropped. None: as many as there are ports."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """Which port mapping protocols a router speaks to the hosts behind it, and whether it lies."""

    upnp: bool = False
    nat_pmp: bool = False
    pcp: bool = False
    lie: Lie = Lie.NONE
    max_lease: float = 7200.0
    permanent_only: bool = False
    """UPnP: it knows only permanent mappings, as some old gateways do (error 725)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Router:
    """One router between an inside and an outside.

    Without a `nat` it only filters: addresses inside are valid outside too (IPv6, or a firewall in front of public
    hosts). IPv6 is never translated, only filtered by state as `filtering6` says (RFC 6092).
    """

    address: str
    """Its outer IPv4 address."""
    inner: str
    """Its inner IPv4 address, where hosts behind it ask for port mappings."""
    behind: str | None = None
    """The router in front of it; None: the internet."""
    nat: Nat | None = field(default_factory=Nat)
    filtering6: Filtering = Filtering.ENDPOINT_INDEPENDENT
    udp: Udp = Udp.OPEN
    blocked: tuple[str, ...] = ()
    """Addresses and names that no host behind it reaches."""
    gateway: Gateway = Gateway()
    line: Line = Line()
    """The line on its outer side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """One machine, with a node on it."""

    addresses: tuple[str, ...]
    behind: str | None = None
    mtu: int = 1500
    """Of its interface: the machine itself refuses to send longer packets."""
    line: Line = Line()


class Honesty(Enum):
    """Whether a STUN server reports what it saw."""

    TRUE = "true"
    LYING = "lying"
    """Each answer names a port other than the one that it saw."""
    SILENT = "silent"


@dataclass(frozen=True, slots=True, kw_only=True)
class StunServer:
    """A public STUN server: its name and port are how nodes know it."""

    name: str
    address: str
    port: int = 3478
    honesty: Honesty = Honesty.TRUE


SERVER = "server"
"""Its name in every topology."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """The machine of the rendezvous server. With a second address its STUN service can tell more (RFC 5780)."""

    address: str = "25.0.0.1"
    port: int = 8443
    stun: tuple[Endpoint, ...] = (Endpoint("25.0.0.1", 3478), Endpoint("25.0.0.1", 3479))
    line: Line = Line()
    aliases: tuple[str, ...] = ()
    """More addresses of its machine, from which it sends by default. With any of them the server is given none: it
    listens on the wildcard address, at the ports of `stun`."""

    @property
    def addresses(self) -> tuple[str, ...]:
        """All addresses of its machine, the default source first."""
        return tuple(dict.fromkeys((*self.aliases, self.address, *(endpoint.host for endpoint in self.stun))))


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """A whole network. Names are unique over routers, hosts and STUN servers; `server` is the server's."""

    hosts: MappingOf[str, Host]
    routers: MappingOf[str, Router] = field(default_factory=dict)
    server: Server = Server()
    stun_servers: tuple[StunServer, ...] = ()
    latency: float = 0.02
    """One way across the internet's core, between any two that are plugged into it."""
    latencies: MappingOf[tuple[str, str], float] = field(default_factory=dict)
    """Exceptions between two of them, by their names, for both directions."""
