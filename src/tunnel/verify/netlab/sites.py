"""The sites and hosts of a lab, and their addresses. Runs nothing; `wiring.py` knows how they are joined."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from tunnel.model.errors import SettingsError
from tunnel.model.nat import Hairpin, NatReport
from tunnel.verify.netlab.kinds import Kind

SERVER_ADDRESSES = ("25.0.0.1", "25.0.0.2")
"""The server host's public addresses. All public ones of a lab are 25.x: unlike RFC 5737's, they count as global."""

SERVER_ADDRESSES_V6 = ("2a25::1", "2a25::2")
"""Its IPv6 ones, in labs that have a site with `ipv6`. Those of site N are in 2a25:N::/32."""

MAX_SITES = 250
_NAME = re.compile(r"[a-z][a-z0-9]{0,9}")  # with a suffix it must fit an interface name of 15 characters
_TAKEN_NAMES = frozenset(("internet", "server", "wires", "lo", "all", "default"))


@dataclass(frozen=True, slots=True)
class Host:
    """One machine of the lab. A value: after `change_wan` of a public site the lab holds a new one."""

    name: str
    namespace: str
    address: str
    """The address of its interface: private behind a NAT, else public; IPv6 if there is no IPv4."""

    address_v6: str | None = None
    """Global, if the site has IPv6."""


@dataclass(frozen=True, slots=True)
class SiteSpec:
    """The description of a site: the arguments of `Lab.add_site`, for building several at once."""

    name: str
    kind: Kind = Kind.PORT_PRESERVING
    hosts: int = 1
    delay: float = 0.0
    """One-way delay in milliseconds of the link to the internet, in each direction."""

    lifetime: int | None = None
    """Seconds that a UDP mapping lives without traffic; None: the kernel's own 30 s unanswered, 120 s answered."""

    ipv6: bool = False
    """Whether it also has routed IPv6, without NAT, behind stateful filters; a public site has no filter."""

    hairpin: bool = False
    """Whether two hosts behind the router at the internet reach each other by its public address, as seen from it."""

    @property
    def has_ipv6(self) -> bool:
        """Whether it has IPv6, by request or because it has nothing else."""
        return self.ipv6 or not self.kind.has_ipv4

    @property
    def truth(self) -> NatReport:
        """What a perfect survey from a host of this site would report; what stays unknown is not claimed."""
        truth = replace(self.kind.truth, hairpin=Hairpin.YES) if self.hairpin else self.kind.truth
        return truth if self.lifetime is None else replace(truth, lifetime=float(self.lifetime))

    def check(self) -> None:
        """Raise SettingsError if it cannot be built."""
        if not _NAME.fullmatch(self.name) or self.name in _TAKEN_NAMES:
            raise SettingsError(f"site name {self.name!r}: 1 to 10 of a-z and 0-9, a letter first, no reserved name")
        if not 1 <= self.hosts <= (1 if self.kind is Kind.PUBLIC else 100):
            raise SettingsError(f"site {self.name}: {self.hosts} hosts; 1 to 100, a public site has exactly one")
        if not 0 <= self.delay <= 10_000:
            raise SettingsError(f"site {self.name}: a delay of {self.delay} ms is not between 0 and 10,000")
        if self.lifetime is not None and self.lifetime < 1:
            raise SettingsError(f"site {self.name}: a mapping lifetime of {self.lifetime} s; 1 at least")
        if self.hairpin and not self.kind.can_hairpin:
            raise SettingsError(f"site {self.name}: no hairpin at {self.kind.value}: it keeps no port that leads back")


@dataclass(slots=True)
class Site:
    """One site as built. `wan` and `hosts` follow a change of address."""

    spec: SiteSpec
    number: int
    prefix: str
    """What the names of all its namespaces begin with."""

    wan: str = field(init=False)
    """Its current public IPv4 address, where there is IPv4."""

    hosts: tuple[Host, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.wan = f"{self.public_network}.0.1"
        if self.kind is Kind.PUBLIC:
            addresses = [(self.wan, self.wan_v6)]
        else:
            numbers = range(10, 10 + self.spec.hosts)
            addresses = [(f"{self.lan}.{i}", f"{self.network_v6}:1::{i}") for i in numbers]
        self.hosts = tuple(
            Host(name, self.prefix + name, v4 if self.kind.has_ipv4 else v6, v6 if self.spec.has_ipv6 else None)
            for (v4, v6), name in zip(addresses, self._host_names(), strict=True)
        )

    @property
    def name(self) -> str:
        """Unique in the lab; also the name of its link in the internet namespace."""
        return self.spec.name

    @property
    def kind(self) -> Kind:
        """The behavior of its router."""
        return self.spec.kind

    @property
    def host(self) -> Host:
        """The first host, in most sites the only one."""
        return self.hosts[0]

    @property
    def routers(self) -> tuple[str, ...]:
        """The routers' namespaces, the one at the internet first."""
        return tuple(f"{self.prefix}{self.name}-nat{i}" for i in range(1, len(self.kind.routers) + 1))

    @property
    def edge(self) -> str:
        """The namespace that holds the public address."""
        return self.routers[0] if self.routers else self.host.namespace

    @property
    def namespaces(self) -> tuple[str, ...]:
        """All namespaces of this site."""
        return (*self.routers, *(host.namespace for host in self.hosts))

    @property
    def lan(self) -> str:
        """The first 24 bits of its hosts' IPv4 addresses behind a router, as text: public ones without NAT."""
        return f"192.168.{self.number}" if self.kind.hides_hosts else f"{self.public_network}.1"

    @property
    def between(self) -> str:
        """The first 24 bits of the network between two routers: a carrier's (RFC 6598), or a home's own."""
        is_carrier = self.kind in (Kind.CGNAT, Kind.CGNAT_SYMMETRIC)
        return f"{'100' if is_carrier else '10'}.64.{self.number}"

    @property
    def public_network(self) -> str:
        """The first 16 bits of all its public IPv4 addresses, as text."""
        return f"25.{self.number}"

    @property
    def mac(self) -> str:
        """The MAC address of its `wan` at the internet."""
        return f"02:00:00:00:{self.number:02x}:01"

    @property
    def network_v6(self) -> str:
        """The first 32 bits of all its IPv6 addresses, as text."""
        return f"2a25:{self.number}"

    @property
    def wan_v6(self) -> str:
        """Its IPv6 address at the internet, if it has IPv6."""
        return f"{self.network_v6}::1"

    def move(self) -> str:
        """Take the next public IPv4 address; returns the old one."""
        old, self.wan = self.wan, f"{self.public_network}.0.{int(self.wan.rpartition('.')[2]) % 250 + 1}"
        if self.kind is Kind.PUBLIC:
            self.hosts = (replace(self.host, address=self.wan),)
        return old

    def _host_names(self) -> list[str]:
        return [self.name, *(f"{self.name}-{i}" for i in range(2, self.spec.hosts + 1))]
