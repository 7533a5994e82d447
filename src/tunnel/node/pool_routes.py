"""How the tunnel's IPv4 prefix shares this machine with what was there before: a LAN, another VPN, the server itself.

    nothing of it is known elsewhere    ADDRESS/16, and the whole prefix leads into the tunnel
    something is                        ADDRESS/32, and the address of each peer alone leads there; what was there stays
    our own address is somebody's       no IPv4 in the tunnel; IPv6 goes on

So two networks with one prefix live on one machine, and no answer of the server's, a resolver's or a gateway's is lost
in the tunnel. Until it is known where the server is, nothing but our own address is taken.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

from tunnel.network.ports import Interfaces, Route
from tunnel.node.lease import Lease

TOLD = 4
"""Clashes, and peers, that are told by name; of the others how many they are."""
REMEDY = "`server --addresses` chooses a prefix that is free on all machines; IPv6 needs none of it"


@dataclass(frozen=True, slots=True)
class PoolPlan:
    """What the interface shall have of IPv4."""

    addresses: tuple[str, ...] = ()
    """ADDRESS/PREFIX; one or none."""
    routes: tuple[str, ...] = ()
    """Beyond the address's own."""
    clashes: tuple[str, ...] = ()
    """What is of the tunnel's prefix elsewhere on this machine, in words."""
    withheld: str = ""
    """What our own address is already, in words."""
    left: Mapping[str, str] = field(default_factory=dict)
    """Peers' addresses that do not lead into the tunnel, and what they are, in words."""


def plan_pool(
    own: str,
    routes: Iterable[Route],
    needed: Mapping[str, str],
    peers: Callable[[], Iterable[str]],
    *,
    is_careful: bool = False,
) -> PoolPlan:
    """`own` is ADDRESS/PREFIX. `routes` are those of other interfaces, `needed` the addresses that must stay where they
    are, in words, `peers()` the addresses that peers hold. `is_careful`: we do not know all of these yet.
    """
    interface = ipaddress.IPv4Interface(own)
    pool, alone = interface.network, (f"{interface.ip}/32",)
    near = [route for route in routes if ipaddress.IPv4Network(route.prefix).overlaps(pool)]
    inside = {address: what for address, what in needed.items() if ipaddress.IPv4Address(address) in pool}
    clashes = (*(f"{what} {address}" for address, what in inside.items()), *(_words(route) for route in near))
    if not clashes and not is_careful:
        return PoolPlan((own,))
    foreign = [(ipaddress.IPv4Network(route.prefix), route) for route in near]

    def taken(address: str) -> str:
        """What an address is already; empty if it is free for the tunnel."""
        if address in inside:
            return f"{inside[address]} {address}"
        host = ipaddress.IPv4Address(address)
        for prefix, route in foreign:
            is_meant = prefix.subnet_of(pool) and (route.is_shared or prefix.prefixlen == 32)
            if host in prefix and is_meant:
                return f"in {_words(route)}"
        return ""

    if withheld := taken(str(interface.ip)):
        return PoolPlan(clashes=clashes, withheld=withheld)
    left, led = {}, []
    for address in peers():
        if what := taken(address):
            left[address] = what
        else:
            led.append(f"{address}/32")
    return PoolPlan(alone, tuple(led), clashes, "", left)


def _words(route: Route) -> str:
    return f"{route.prefix} on {route.interface}" if route.interface else route.prefix


class PoolRoutes:
    """`look()` at the machine when something of it has changed; then `wanted()` is what the interface should have.

    `peers()` are the IPv4 addresses that peers hold, with their names. It withholds the lease where that clashes.
    """

    def __init__(self, name: str, lease: Lease, interfaces: Interfaces, peers: Callable[[], Mapping[str, str]]) -> None:
        self._name = name
        self._lease = lease
        self._interfaces = interfaces
        self._peers = peers
        self._servers: frozenset[str] = frozenset()
        self._dialled: frozenset[str] = frozenset()
        self._routes: tuple[Route, ...] = ()
        self._needed: dict[str, str] = {}

    def note_server(self, hosts: Collection[str]) -> None:
        """Where the server is; a name among them tells nothing."""
        self._servers = frozenset(filter(_is_numeric, hosts))

    def note_dialled(self, hosts: Collection[str]) -> None:
        """What is dialled now: the server, or a proxy before it."""
        self._dialled = frozenset(hosts)

    def look(self) -> None:
        """See what the machine has now."""
        self._routes = tuple(route for route in self._interfaces.routes() if route.interface != self._name)
        gateways = [gateway.address for gateway in self._interfaces.gateways()]
        own = [host for host in self._interfaces.addresses() if host != self._lease.leased_host]
        self._needed = {}
        for what, hosts in (
            ("the server", sorted(self._servers | self._dialled)),
            ("the gateway", gateways),
            ("the DNS resolver", self._interfaces.resolvers()),
            ("this machine's address", own),
        ):
            for host in _ipv4(hosts):
                self._needed.setdefault(host, what)
        self._lease.withhold(self.plan().withheld != "")

    def plan(self) -> PoolPlan:
        """As the peers are now."""
        address = self._lease.address
        if address is None:
            return PoolPlan()
        return plan_pool(
            address, self._routes, self._needed, self._peers, is_careful=not (self._servers or self._dialled)
        )

    def wanted(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Addresses (ADDRESS/PREFIX) and further routes of the interface."""
        plan = self.plan()
        return (*plan.addresses, *(each for each in self._lease.interfaces if ":" in each)), plan.routes

    @property
    def notes(self) -> tuple[str, ...]:
        """Clashes, in words, with what helps."""
        plan = self.plan()
        if not plan.clashes:
            return ()
        assert self._lease.address is not None
        pool = ipaddress.IPv4Interface(self._lease.address).network
        if plan.withheld:
            own = self._lease.leased_host
            return (
                f"no IPv4 in the tunnel here: its address {own} is {plan.withheld}, which stays; {REMEDY}, "
                "`up --address` another address of the same prefix",
            )
        first = (
            f"the tunnel's {pool} has addresses that this machine has elsewhere ({_listed(plan.clashes)}); these stay, "
            f"and only the peers' own addresses lead into the tunnel; {REMEDY}"
        )
        names = self._peers()
        left = [f"{names[address]} by IPv6 alone, {address} is {what}" for address, what in plan.left.items()]
        return (first, f"reached from here: {_listed(left)}") if left else (first,)

    def note_on(self, addresses: Iterable[str]) -> str | None:
        """Why the peer with these addresses is not reached by IPv4 from this machine; None if it is."""
        plan = self.plan()
        if plan.withheld:
            return (
                f"by IPv6 alone: this machine has no IPv4 in the tunnel, {self._lease.leased_host} is {plan.withheld}"
            )
        found = next((address for address in addresses if address in plan.left), None)
        return None if found is None else f"by IPv6 alone from this machine: {found} is {plan.left[found]}; {REMEDY}"


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
