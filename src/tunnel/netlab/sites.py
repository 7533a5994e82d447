"""The places of a lab: who is where, with which addresses and links. Builds scripts, runs nothing.

    host --- lan [inner router] wan --- lan [router] wan --- (delay box) --- NAME [internet] server --- eth0 [server]
             10.   192.168.N.1          100.64.N.1   25.N.0.1                     25.0.0.254         25.0.0.1, 25.0.0.2

The inner router exists in `double` sites only, a `public` site has none and its host's `wan` is at the internet. Links
at the internet have fixed MAC addresses and permanent neighbours, so that no ARP round trip disturbs a measured delay.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from tunnel.model.errors import SettingsError
from tunnel.netlab.kinds import MAPPING_LIFETIME, Kind, router_rules
from tunnel.netlab.namespaces import ip_batch, nft_batch

SERVER_ADDRESSES = ("25.0.0.1", "25.0.0.2")
"""The server host's public addresses. All public ones of a lab are 25.x: unlike RFC 5737's, they count as global."""

GATEWAY = "25.0.0.254"
"""The internet's own address, everybody's next hop there."""

GATEWAY_MAC = "02:00:00:00:00:fe"
MAX_SITES = 250
_NAME = re.compile(r"[a-z][a-z0-9]{0,9}")  # with a suffix it must fit an interface name of 15 characters
_TAKEN_NAMES = frozenset(("internet", "server", "wires", "lo", "all", "default"))


@dataclass(frozen=True, slots=True)
class Host:
    """One machine of the lab. A value: after `change_wan` of a public site the lab holds a new one."""

    name: str
    namespace: str
    address: str
    """What its interface has: a private address behind a router, else the (first) public one."""


@dataclass(frozen=True, slots=True)
class SiteSpec:
    """What a site shall be: the arguments of `Lab.add_site`, for building several at once."""

    name: str
    kind: Kind = Kind.PORT_PRESERVING
    hosts: int = 1
    delay: float = 0.0
    """One-way delay in milliseconds of the link to the internet, in each direction."""

    lifetime: int | None = None
    """Seconds that a UDP mapping lives without traffic; None: the kernel's own 30 s unanswered, 120 s answered."""

    def check(self) -> None:
        """Raises SettingsError for what cannot be built."""
        if not _NAME.fullmatch(self.name) or self.name in _TAKEN_NAMES:
            raise SettingsError(f"site name {self.name!r}: 1 to 10 of a-z and 0-9, a letter first, no reserved name")
        if not 1 <= self.hosts <= (1 if self.kind is Kind.PUBLIC else 100):
            raise SettingsError(f"site {self.name}: {self.hosts} hosts; 1 to 100, a public site has exactly one")
        if not 0 <= self.delay <= 10_000:
            raise SettingsError(f"site {self.name}: a delay of {self.delay} ms is not between 0 and 10,000")
        if self.lifetime is not None and self.lifetime < 1:
            raise SettingsError(f"site {self.name}: a mapping lifetime of {self.lifetime} s; 1 at least")


@dataclass(slots=True)
class Site:
    """One site as built. `wan` and `hosts` follow a change of address."""

    spec: SiteSpec
    number: int
    prefix: str
    wan: str = field(init=False)
    """Its current public address."""

    hosts: tuple[Host, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.wan = f"25.{self.number}.0.1"
        names = [self.name] + [f"{self.name}-{i}" for i in range(2, self.spec.hosts + 1)]
        self.hosts = tuple(
            Host(name, self.prefix + name, self.wan if self.kind is Kind.PUBLIC else f"192.168.{self.number}.{9 + i}")
            for i, name in enumerate(names, 1)
        )

    @property
    def name(self) -> str:
        """Unique in the lab; also the name of its link in the internet namespace."""
        return self.spec.name

    @property
    def kind(self) -> Kind:
        """The behaviour of its router."""
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
        """All of this site."""
        return (*self.routers, *(host.namespace for host in self.hosts))

    @property
    def mac(self) -> str:
        """The MAC address of its `wan` at the internet."""
        return f"02:00:00:00:{self.number:02x}:01"

    def move(self) -> str:
        """Take the next public address; returns the old one."""
        old, self.wan = self.wan, f"25.{self.number}.0.{int(self.wan.rpartition('.')[2]) % 250 + 1}"
        if self.kind is Kind.PUBLIC:
            self.hosts = (replace(self.host, address=self.wan),)
        return old

    def links(self) -> list[str]:
        """The `ip link add` lines for everything behind `wan`."""
        inner = zip(self.routers, self.routers[1:], strict=False)
        lines = [f"link add name lan netns {outer} type veth peer name wan netns {nat}" for outer, nat in inner]
        if not self.routers:
            return lines
        last = self.routers[-1]
        if len(self.hosts) == 1:
            return [*lines, f"link add name lan netns {last} type veth peer name eth0 netns {self.host.namespace}"]
        lines.append(f"link add name lan netns {last} type bridge")
        for i, host in enumerate(self.hosts):
            lines.append(f"link add name port{i} netns {last} type veth peer name eth0 netns {host.namespace}")
        return lines

    def scripts(self) -> dict[str, str]:
        """The shell script that sets up each namespace, once all links exist."""
        if not self.routers:
            return {self.host.namespace: _quiet() + ip_batch(*_public_edge(self.wan))}
        scripts = {}
        lan = f"192.168.{self.number}"
        for i, (namespace, kind) in enumerate(zip(self.routers, self.kind.routers, strict=True)):
            is_last = i == len(self.routers) - 1
            gateway = f"{lan}.1" if is_last else f"100.64.{self.number}.1"
            upstream = (
                _public_edge(self.wan)
                if i == 0
                else [
                    f"addr add 100.64.{self.number}.2/24 dev wan",
                    "link set dev wan up",
                    f"route add default via 100.64.{self.number}.1",
                ]
            )
            ports = [f"port{i}" for i in range(len(self.hosts))] if is_last and len(self.hosts) > 1 else []
            scripts[namespace] = (
                _quiet()
                + _routing()
                + ip_batch(
                    "link set dev lo up",
                    f"addr add {gateway}/24 dev lan",
                    "link set dev lan up",
                    *(f"link set dev {port} master lan up" for port in ports),
                    *upstream,
                )
                + nft_batch(router_rules(kind, gateway=gateway, lifetime=self.spec.lifetime or MAPPING_LIFETIME))
                + self._lifetimes()
            )
        for host in self.hosts:
            scripts[host.namespace] = _quiet() + ip_batch(
                "link set dev lo up",
                f"addr add {host.address}/24 dev eth0",
                "link set dev eth0 up",
                f"route add default via {lan}.1",
            )
        return scripts

    def _lifetimes(self) -> str:
        if self.spec.lifetime is None:
            return ""
        return "".join(
            f"echo {self.spec.lifetime} > /proc/sys/net/netfilter/{name}\n"
            for name in ("nf_conntrack_udp_timeout", "nf_conntrack_udp_timeout_stream")
        )


def internet_side(site: Site) -> list[str]:
    """The `ip` lines that open the internet's end of a site's link."""
    return [f"link set dev {site.name} up", *reach(site)]


def reach(site: Site) -> list[str]:
    """The `ip` lines by which the internet finds a site's present address."""
    return [
        f"neigh replace {site.wan} lladdr {site.mac} dev {site.name} nud permanent",
        f"route replace {site.wan}/32 dev {site.name}",
    ]


def server_script() -> str:
    """Sets up the server's namespace."""
    first, second = SERVER_ADDRESSES
    return _quiet() + ip_batch(*_public_edge(first, "eth0"), f"addr add {second}/32 dev eth0")


def internet_script(server_mac: str) -> str:
    """Sets up the internet's namespace: it routes, counts, and cuts what it is told to."""
    return (
        "echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6\n"  # sites come later
        + _quiet()
        + _routing()
        + ip_batch(
            "link set dev lo up",
            f"addr add {GATEWAY}/32 dev lo",
            "link set dev server up",
            *(f"neigh add {address} lladdr {server_mac} dev server nud permanent" for address in SERVER_ADDRESSES),
            *(f"route add {address}/32 dev server" for address in SERVER_ADDRESSES),
        )
        + nft_batch(_INTERNET_RULES)
    )


def wire_script(ends: tuple[str, str]) -> str:
    """Sets up both ends of the gap in a link that a delay box bridges."""
    return _quiet() + ip_batch(*(f"link set dev {end} up" for end in ends))


_INTERNET_RULES = """
table inet internet {
  set cut {
    type ipv4_addr . ipv4_addr
  }
  set flows {
    type ipv4_addr . ipv4_addr . inet_proto
    size 65535
    flags dynamic
    counter
  }
  chain forward {
    type filter hook forward priority filter
    meta l4proto udp ip saddr . ip daddr @cut drop
    update @flows { ip saddr . ip daddr . ip protocol }
  }
}
"""


def _public_edge(address: str, interface: str = "wan") -> list[str]:
    return [
        "link set dev lo up",
        f"addr add {address}/32 dev {interface}",
        f"link set dev {interface} up",
        f"neigh add {GATEWAY} lladdr {GATEWAY_MAC} dev {interface} nud permanent",
        f"route add {GATEWAY}/32 dev {interface}",
        f"route add default via {GATEWAY} src {address}",
    ]


def _quiet() -> str:
    """No IPv6 on the links: no router solicitation or duplicate detection in a capture. A tunnel made later has it."""
    return (
        "for conf in /proc/sys/net/ipv6/conf/*; do\n"
        "  case $conf in */lo|*/all|*/default) ;; *) echo 1 > $conf/disable_ipv6;; esac\ndone\n"
    )


def _routing() -> str:
    """Forward, and keep bridged frames out of the IP hooks, where a DNATed one would be dropped."""
    return (
        "echo 1 > /proc/sys/net/ipv4/ip_forward\n"
        "bridged=/proc/sys/net/bridge/bridge-nf-call-iptables\n"
        "if [ -e $bridged ]; then echo 0 > $bridged; fi\n"
    )
