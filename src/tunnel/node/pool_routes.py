"""How the tunnel's IPv4 prefix shares this machine with what was there before: a LAN, another VPN, the server itself.

    the prefix is used nowhere else     ADDRESS/16, and the whole prefix is routed into the tunnel
    a part of it is used elsewhere      ADDRESS/32, and a route for each peer's address; what was there stays
    our own address is used elsewhere   no IPv4 in the tunnel; IPv6 goes on

So two networks with one prefix work on one machine, and no answer of the server, a resolver or a gateway is lost in the
tunnel. Until it is known where the server is, only our own address is taken.

Anybody on the LAN may answer DHCP and DNS. So a route or address that appears while the node runs, or that the server's
name leads to, takes no address of ours or of a peer out of the tunnel, where its packets are sealed. Notes tell of it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Collection, Container, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from tunnel.model.routes import Route
from tunnel.network.interface_choice import InterfaceChoice
from tunnel.network.ports import Interfaces
from tunnel.node.lease import Lease

TOLD = 4
"""How many clashes, and peers, a note names; it counts the others."""
LED_AHEAD = 256
"""Peers that get a route of their own beside the whole prefix's: so a narrower route that appears takes none of their
packets in the seconds until it is noticed. With more peers the kernel would have too many routes."""
KEPT = "what appears while the node runs may be a stranger's doing, so restart the node if the address belongs there"
REMEDY = "`server --addresses` can choose a prefix that is free on all machines; IPv6 is not affected"


@dataclass(frozen=True, slots=True)
class PoolPlan:
    """The IPv4 addresses and routes that the interface should have."""

    addresses: tuple[str, ...] = ()
    """ADDRESS/PREFIX; one or none."""
    routes: tuple[str, ...] = ()
    """In addition to the address's own."""
    clashes: tuple[str, ...] = ()
    """What uses the tunnel's prefix elsewhere on this machine, for people."""
    withheld: str = ""
    """What has our own address already, for people."""
    left: Mapping[str, str] = field(default_factory=dict)
    """Peers' addresses that are not routed into the tunnel, and what has them, for people."""
    kept: Mapping[str, str] = field(default_factory=dict)
    """Peers' addresses and our own that stay in the tunnel, and what else claims them, for people."""


def plan_pool(
    own: str,
    routes: Iterable[Route],
    needed: Mapping[str, str],
    peers: Callable[[], Collection[str]],
    *,
    doubtful: Container[Route | str] = frozenset(),
    is_careful: bool = False,
) -> PoolPlan:
    """What the interface should have.

    `own` is ADDRESS/PREFIX. `routes` are those of other interfaces, `needed` the addresses that must stay reachable
    outside, with what they are, `peers()` the addresses that peers hold. `doubtful` are those routes and needed
    addresses that anybody on the LAN may have made up. `is_careful`: we do not know all of these yet.
    """
    interface = ipaddress.IPv4Interface(own)
    pool, alone = interface.network, (f"{interface.ip}/32",)
    near = [route for route in routes if ipaddress.IPv4Network(route.prefix).overlaps(pool)]
    inside = {address: what for address, what in needed.items() if ipaddress.IPv4Address(address) in pool}
    clashes = (*(f"{what} {address}" for address, what in inside.items()), *(_words(route) for route in near))
    if not clashes and not is_careful:
        return PoolPlan((own,), tuple(f"{host}/32" for host in peers()) if len(peers()) <= LED_AHEAD else ())
    foreign = [(ipaddress.IPv4Network(route.prefix), route) for route in near]

    def taken(address: str, *, by_doubtful: bool) -> str:
        """What has this address already; empty if it is free for the tunnel."""
        if address in inside and (address in doubtful) is by_doubtful:
            return f"{inside[address]} {address}"
        host = ipaddress.IPv4Address(address)
        for prefix, route in foreign:
            is_meant = prefix.subnet_of(pool) and (route.is_shared or prefix.prefixlen == 32)
            if host in prefix and is_meant and (route in doubtful) is by_doubtful:
                return f"in {_words(route)}"
        return ""

    if withheld := taken(str(interface.ip), by_doubtful=False):
        return PoolPlan(clashes=clashes, withheld=withheld)
    left, led = {}, []
    for address in peers():
        if what := taken(address, by_doubtful=False):
            left[address] = what
        else:
            led.append(address)
    claimed = {address: taken(address, by_doubtful=True) for address in (str(interface.ip), *led)}
    kept = {address: what for address, what in claimed.items() if what}
    return PoolPlan(alone, tuple(f"{address}/32" for address in led), clashes, "", left, kept)


def _words(route: Route) -> str:
    return f"{route.prefix} on {route.interface}" if route.interface else route.prefix


class Peers(Protocol):
    """The peers' IPv4 tunnel addresses."""

    def ipv4_held(self) -> Collection[str]:
        """Those that peers hold."""
        ...

    def ipv4_names(self) -> Mapping[str, str]:
        """The same, each with the name or the id of its peer."""
        ...


class PoolRoutes:
    """Call `look()` when something on this machine has changed; then `wanted()` is what the interface should have.

    It withholds the lease if that clashes.
    """

    def __init__(
        self, name: str, lease: Lease, interfaces: Interfaces, peers: Peers, choice: InterfaceChoice | None = None
    ) -> None:
        """`choice` tells whether the interface shares a network with this machine; without one it does."""
        self._name = name
        self._lease = lease
        self._interfaces = interfaces
        self._peers = peers
        self._choice = choice
        self._configured: frozenset[str] = frozenset()
        self._server: frozenset[str] = frozenset()
        self._dialed: frozenset[str] = frozenset()
        self._shunned: tuple[str, ...] = ()
        self._at_start: frozenset[Route | str] | None = None
        self._routes: tuple[Route, ...] = ()
        self._needed: dict[str, str] = {}
        self._doubtful: frozenset[Route | str] = frozenset()
        self._basis: tuple[str, tuple[str, ...], bool] | None = None
        """What the plan was made from, beside what the last look saw; None: make a new one."""
        self._plan = PoolPlan()

    def note_configured(self, hosts: Iterable[str]) -> None:
        """The server and a proxy before it, as a person named them. Names are ignored: only DNS says where they are."""
        self._configured = frozenset(filter(_is_numeric, hosts))

    def choose(self, hosts: Collection[str]) -> tuple[str, ...]:
        """Which addresses of the server, or of a proxy, may be dialed: not ours, and none that a peer holds."""
        ours = {*self._peers.ipv4_held(), self._lease.leased_host} - self._configured if not self._is_alone else set()
        self._shunned = tuple(host for host in hosts if host in ours)
        self._dialed = frozenset(hosts) - ours
        return tuple(host for host in hosts if host in self._dialed)

    def note_reached(self, host: str | None) -> None:
        """The address at which TLS proved the server. The others no longer matter."""
        self._server = frozenset(() if host is None else (host,))
        self._dialed = frozenset()

    def look(self) -> None:
        """See what the machine has now. What is there at the first look was there before the node."""
        if self._is_alone:
            self._basis = None
            self._lease.withhold(False)
            return
        self._routes = tuple(route for route in self._interfaces.routes() if route.interface != self._name)
        gateways = [gateway.address for gateway in self._interfaces.gateways()]
        resolvers = self._interfaces.resolvers()
        own = [host for host in self._interfaces.addresses() if host != self._lease.leased_host]
        if self._at_start is None:
            there: set[Route | str] = {*self._routes, *gateways, *resolvers}
            self._at_start = frozenset(there)
        self._needed = {}
        for what, hosts in (
            ("the server", sorted(self._configured | self._server | self._dialed)),
            ("the gateway", gateways),
            ("the DNS resolver", resolvers),
            ("this machine's address", own),
        ):
            for host in _ipv4(hosts):
                self._needed.setdefault(host, what)
        known: set[Route | str] = {
            *self._at_start,
            *self._configured,
            *own,
            *(route for route in self._routes if not route.is_shared),
        }
        found: set[Route | str] = {*self._routes, *self._needed}
        self._doubtful = frozenset(found - known)
        self._basis = None
        self._lease.withhold(self.plan().withheld != "")

    def plan(self) -> PoolPlan:
        """The plan for the present peers. It is asked for often, so it is kept until what it depends on changes."""
        address = self._lease.address
        if address is None:
            return PoolPlan()
        if self._is_alone:
            return PoolPlan((address,))
        is_careful = not (self._configured or self._server or self._dialed)
        basis = address, tuple(self._peers.ipv4_held()), is_careful
        if basis != self._basis:
            self._basis = basis
            self._plan = plan_pool(
                address, self._routes, self._needed, lambda: basis[1], doubtful=self._doubtful, is_careful=is_careful
            )
        return self._plan

    def wanted(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Addresses (ADDRESS/PREFIX) and further routes of the interface."""
        plan = self.plan()
        return (*plan.addresses, *(each for each in self._lease.interfaces if ":" in each)), plan.routes

    @property
    def _is_alone(self) -> bool:
        """Whether nothing on this machine can clash with the interface."""
        return self._choice is not None and self._choice.is_alone

    @property
    def notes(self) -> tuple[str, ...]:
        """Clashes, for people, with what helps."""
        return tuple(filter(None, (self.shunned, *self._clashes())))

    @property
    def shunned(self) -> str | None:
        """Which addresses of the server are not dialed, and why; None if all are."""
        if not self._shunned:
            return None
        names = self._peers.ipv4_names()
        whose = [f"{host}, which is {names.get(host, 'this node')}'s in the tunnel" for host in self._shunned]
        return (
            f"the name of the server, or of the proxy, leads to {_listed(whose)}: not dialed, because whoever answers "
            "DNS could make the packets for that address leave the tunnel. If the server is there, use an invite with "
            f"its address instead of its name, or another prefix: {REMEDY}"
        )

    def _clashes(self) -> tuple[str, ...]:
        plan = self.plan()
        if not plan.clashes:
            return ()
        assert self._lease.address is not None
        pool = ipaddress.IPv4Interface(self._lease.address).network
        if plan.withheld:
            own = self._lease.leased_host
            return (
                f"no IPv4 in the tunnel on this machine: our address {own} is {plan.withheld}, which stays as it is. "
                f"{REMEDY}; `up --address` asks for another address of the same prefix",
            )
        told = [
            f"addresses of the tunnel's {pool} are in use elsewhere on this machine ({_listed(plan.clashes)}). These "
            f"stay as they are, and only the peers' own addresses are routed into the tunnel. {REMEDY}"
        ]
        names = self._peers.ipv4_names()
        if left := [f"{names[address]}, since {address} is {what}" for address, what in plan.left.items()]:
            told.append(f"reached from here only by IPv6: {_listed(left)}")
        if kept := [
            f"{address}, which is {names.get(address, 'this node')}'s, and {what}"
            for address, what in plan.kept.items()
        ]:
            told.append(f"still routed into the tunnel: {_listed(kept)}; {KEPT}. {REMEDY}")
        return tuple(told)

    def note_on(self, addresses: Iterable[str]) -> str | None:
        """Why this machine does not reach the peer with these addresses by IPv4, or not safely; None if it does."""
        plan = self.plan()
        if plan.withheld:
            return (
                "reached only by IPv6: this machine has no IPv4 in the tunnel, "
                f"since {self._lease.leased_host} is {plan.withheld}"
            )
        for address in addresses:
            if address in plan.left:
                return f"reached from this machine only by IPv6: {address} is {plan.left[address]}. {REMEDY}"
            if address in plan.kept:
                return f"{address} is still routed into the tunnel, though it is {plan.kept[address]}; {KEPT}"
        return None


def _listed(things: Collection[str]) -> str:
    more = len(things) - TOLD
    return "; ".join((*list(things)[:TOLD], *((f"and {more} more",) if more > 0 else ())))


def _is_numeric(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def _ipv4(hosts: Iterable[str]) -> list[str]:
    return [host for host in hosts if ":" not in host]
