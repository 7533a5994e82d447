"""What a network looks like, as values: hosts, the routers that they stand behind, and the lines between.

    host --line-- router --line-- router --line-- the internet's core --line-- host

Nothing here acts: router.py, line.py and simulated_network.py build it. Durations are seconds, rates bytes per second,
probabilities 0 to 1. The words are those of RFC 4787.
"""

from __future__ import annotations

from collections.abc import Mapping as MappingOf
from dataclasses import dataclass, field
from enum import Enum

from tunnel.model.endpoint import Endpoint
from tunnel.model.nat import Allocation, Filtering, Mapping

UDP_LIFETIME = 120.0
"""RFC 4787, requirement 5: a mapping that was answered lives two minutes at least."""
UNANSWERED_LIFETIME = 30.0
"""What Linux gives a mapping that nobody has answered yet."""


class Refresh(Enum):
    """Which packets keep a mapping alive (RFC 4787, section 4.3)."""

    OUTBOUND = "outbound"
    INBOUND = "inbound"
    BOTH = "both"


class Hairpinning(Enum):
    """What a packet from inside to the router's own outer address looks like when it comes back (RFC 4787, 6)."""

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
    """A datagram shuts its sender's endpoint out for `deny_time`, even where a mapping would let it in by then.

    Streams are spared: a server that sends again to a client that died would lock out all that come after.
    """
    TRACK = "track"
    """It is remembered, so that a later packet to that remote leaves by another port (netfilter without a firewall)."""


class Udp(Enum):
    """What a router lets out."""

    OPEN = "open"
    BLOCKED = "blocked"
    """No datagram passes."""
    WEB_ONLY = "web_only"
    """No datagram passes, and byte streams only to ports 443 and 8443."""


class Lie(Enum):
    """How a gateway misleads those who ask it for a port."""

    NONE = "none"
    SILENT = "silent"
    """It takes the question and never answers."""
    HANGS = "hangs"
    """By UPnP it takes the call and never answers nor hangs up, so that each errand ends by its own patience alone."""
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
    """At most so much more, evenly spread."""
    loss_up: float = 0.0
    loss_down: float = 0.0
    udp_loss_up: float = 0.0
    """Of datagrams alone, beside what all packets lose; 1 lets none pass in this direction."""
    udp_loss_down: float = 0.0
    reorder: float = 0.0
    """The share of packets that take `reorder_delay` longer than the others."""
    reorder_delay: float = 0.02
    duplicate: float = 0.0
    mtu_up: int | None = None
    """Packets longer than this, IP and UDP headers included, vanish without a word: a black hole."""
    mtu_down: int | None = None
    rate_up: float | None = None
    rate_down: float | None = None
    udp_rate_up: float | None = None
    """Of datagrams alone: what is over it is lost and nothing waits, as where a provider polices UDP."""
    udp_rate_down: float | None = None
    queue: float = 0.2
    """Where there is a rate: packets that would wait longer than this are lost. Of a `udp_rate`, seconds of a burst."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Nat:
    """One NAT: mapping x filtering x allocation, and what else RFC 4787 tells apart."""

    mapping: Mapping = Mapping.ENDPOINT_INDEPENDENT
    filtering: Filtering = Filtering.ADDRESS_AND_PORT_DEPENDENT
    allocation: Allocation = Allocation.PRESERVING
    """PRESERVING takes the inner port while nobody else holds it, else the next free one above."""
    step: int = 1
    """SEQUENTIAL: from one mapping to the next."""
    foreign_load: float = 0.0
    """SEQUENTIAL and RANDOM: mappings a second that other subscribers make, as a Poisson process."""
    first_port: int = 1024
    last_port: int = 65535
    block_size: int = 512
    """BLOCK: each subscriber (inner address) gets one block of so many ports, and random ports within it."""
    lifetime: float = UDP_LIFETIME
    unanswered_lifetime: float = UNANSWERED_LIFETIME
    """Until a packet came in through the mapping."""
    refresh: Refresh = Refresh.OUTBOUND
    hairpinning: Hairpinning = Hairpinning.NONE
    unsolicited: Unsolicited = Unsolicited.DROP
    deny_time: float = 10.0
    max_mappings: int | None = None
    """Of one inner address; the oldest goes. None: as many as there are ports."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """Which port mapping protocols a router speaks to those behind it, and whether it can be believed."""

    upnp: bool = False
    nat_pmp: bool = False
    pcp: bool = False
    lie: Lie = Lie.NONE
    max_lease: float = 7200.0
    permanent_only: bool = False
    """UPnP: it knows only mappings that last until they are taken back, as some old ones do (error 725)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Router:
    """One box between an inside and an outside.

    Without a `nat` it only filters: addresses inside are addresses outside too (IPv6, or a firewall before public
    hosts). IPv6 is never translated: a stateful firewall with `filtering6` stands before it (RFC 6092).
    """

    address: str
    """Its outer IPv4 address."""
    inner: str
    """Its inner IPv4 address, where hosts behind it ask for port mappings."""
    behind: str | None = None
    """The router that it stands behind; None: the internet."""
    nat: Nat | None = field(default_factory=Nat)
    filtering6: Filtering = Filtering.ENDPOINT_INDEPENDENT
    udp: Udp = Udp.OPEN
    blocked: tuple[str, ...] = ()
    """Addresses and names that nobody behind it reaches."""
    gateway: Gateway = Gateway()
    line: Line = Line()
    """To what it stands behind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """One machine, with a node on it."""

    addresses: tuple[str, ...]
    behind: str | None = None
    line: Line = Line()


class Honesty(Enum):
    """Whether a STUN server tells what it saw."""

    TRUE = "true"
    LYING = "lying"
    """Each answer names another port than the one that it saw."""
    SILENT = "silent"


@dataclass(frozen=True, slots=True, kw_only=True)
class StunServer:
    """A public STUN server: its name and port are how nodes know it."""

    name: str
    address: str
    port: int = 3478
    honesty: Honesty = Honesty.TRUE


SERVER = "server"
"""Its name in every picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """The machine of the rendezvous server. Its second address, if it has one, lets its STUN service tell more."""

    address: str = "25.0.0.1"
    port: int = 8443
    stun: tuple[Endpoint, ...] = (Endpoint("25.0.0.1", 3478), Endpoint("25.0.0.1", 3479))
    line: Line = Line()
    aliases: tuple[str, ...] = ()
    """Addresses that its machine has too and sends from by itself. With them the server is told of none: it listens on
    the wildcard address, at the ports of `stun`."""

    @property
    def addresses(self) -> tuple[str, ...]:
        """All of its machine's, the one that it sends from by itself first."""
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
    """Where it is another between two of them, by their names; it holds in both directions."""
