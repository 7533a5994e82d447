"""The tunnel's prefix beside what a machine has already: who keeps which address, and what is told."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NoReturn

import pytest

from tunnel.model.errors import DeviceDenied
from tunnel.model.identity import NetworkId, NodeId
from tunnel.model.interface_kind import InterfaceKind
from tunnel.model.routes import Gateway, Route
from tunnel.network.interface_choice import InterfaceChoice
from tunnel.network.memory_store import MemoryStore
from tunnel.node.lease import LEASE_FILE, Lease, unmet_wish
from tunnel.node.pool_routes import LED_AHEAD, PoolPlan, PoolRoutes, plan_pool
from tunnel.verify.memory.machine import MemoryInterfaces

OWN = "10.86.3.7/16"
PEERS = {"10.86.1.20": "laptop", "10.86.5.5": "phone"}
LAN = Route("10.86.1.0/24", "eth0", is_shared=True)
TUNNEL = Route("10.86.0.0/16", "p2pt0", is_shared=False)
WIDE = Route("10.0.0.0/8", "eth0", is_shared=True)


LED = ("10.86.1.20/32", "10.86.5.5/32")


def plan(*routes: Route, own: str = OWN, needed: dict[str, str] | None = None, is_careful: bool = False) -> PoolPlan:
    return plan_pool(own, routes, needed or {}, lambda: PEERS, is_careful=is_careful)


def test_where_nothing_is_in_the_way_the_whole_prefix_leads_into_the_tunnel() -> None:
    far = Route("192.168.1.0/24", "eth0", is_shared=True)
    assert plan(far, needed={"192.168.1.1": "gateway", "25.0.0.1": "server"}) == PoolPlan((OWN,), LED)


def test_peers_have_routes_of_their_own_beside_the_prefix_s_as_long_as_there_are_not_too_many() -> None:
    """A narrower route that a DHCP server hands out takes nothing of theirs, before anybody has noticed it."""
    peers = [f"10.86.7.{number}" for number in range(LED_AHEAD - 1)]
    assert len(plan_pool(OWN, (), {}, lambda: [*peers, "10.86.8.1"]).routes) == LED_AHEAD
    assert plan_pool(OWN, (), {}, lambda: [*peers, "10.86.8.1", "10.86.8.2"]).routes == ()


@pytest.mark.parametrize("late", [LAN, Route("10.86.0.0/16", "eth0", is_shared=True), "10.86.1.20"])
def test_what_anybody_on_the_lan_may_have_made_up_takes_no_address_from_the_tunnel(late: Route | str) -> None:
    routes = [late] if isinstance(late, Route) else []
    needed = {late: "server"} if isinstance(late, str) else {}
    found = plan_pool(OWN, routes, needed, lambda: PEERS, doubtful={late})
    assert (found.addresses, found.routes, found.withheld, found.left) == (("10.86.3.7/32",), LED, "", {})
    assert "10.86.1.20" in found.kept


def test_a_lan_within_the_prefix_keeps_its_addresses_and_peers_outside_it_are_routed_one_by_one() -> None:
    assert plan(LAN) == PoolPlan(
        ("10.86.3.7/32",),
        ("10.86.5.5/32",),
        ("10.86.1.0/24 on eth0",),
        "",
        {"10.86.1.20": "in 10.86.1.0/24 on eth0"},
    )


def test_a_wider_network_around_the_prefix_keeps_all_but_the_peers_addresses() -> None:
    found = plan(WIDE)
    assert (found.addresses, found.routes) == (("10.86.3.7/32",), ("10.86.1.20/32", "10.86.5.5/32"))
    assert found.left == {}


def test_a_second_network_with_the_same_prefix_goes_beside_the_first() -> None:
    """At the other end of its interface are only its own peers: ours have other addresses."""
    found = plan(TUNNEL, Route("10.86.5.5/32", "p2pt0", is_shared=False))
    assert found.routes == ("10.86.1.20/32",)
    assert found.left == {"10.86.5.5": "in 10.86.5.5/32 on p2pt0"}


@pytest.mark.parametrize("what", ["server", "gateway", "resolver"])
def test_an_address_that_the_machine_needs_is_routed_as_before(what: str) -> None:
    assert plan(needed={"10.86.9.9": what}).clashes == (f"{what} 10.86.9.9",)
    assert plan(needed={"10.86.9.9": what}).routes == ("10.86.1.20/32", "10.86.5.5/32")
    assert plan(needed={"10.86.5.5": what}).left == {"10.86.5.5": f"{what} 10.86.5.5"}


@pytest.mark.parametrize(
    ("own", "routes", "needed", "what"),
    [
        ("10.86.1.9/16", [LAN], {}, "in 10.86.1.0/24 on eth0"),
        (OWN, [Route("10.86.0.0/16", "eth0", is_shared=True)], {}, "in 10.86.0.0/16 on eth0"),
        (OWN, [], {"10.86.3.7": "server"}, "server 10.86.3.7"),
        (OWN, [Route("10.86.3.7/32", "wg0", is_shared=False)], {}, "in 10.86.3.7/32 on wg0"),
    ],
)
def test_an_address_of_ours_that_is_somebody_s_is_not_used(
    own: str, routes: list[Route], needed: dict[str, str], what: str
) -> None:
    found = plan(*routes, own=own, needed=needed)
    assert (found.addresses, found.routes, found.withheld) == ((), (), what)


def test_nothing_but_our_own_address_is_taken_until_it_is_known_where_the_server_is() -> None:
    assert plan(is_careful=True) == PoolPlan(("10.86.3.7/32",), ("10.86.1.20/32", "10.86.5.5/32"))


@dataclass
class Holders:
    """Peers that hold addresses, with their names."""

    names: dict[str, str] = field(default_factory=dict)

    def ipv4_held(self) -> tuple[str, ...]:
        return tuple(self.names)

    def ipv4_names(self) -> dict[str, str]:
        return self.names


def bench(address: str = OWN) -> tuple[PoolRoutes, Lease, MemoryInterfaces]:
    store, interfaces = MemoryStore(), MemoryInterfaces()
    store.write(LEASE_FILE, f"{address} 1.0".encode())
    lease = Lease(store, NetworkId(bytes(16)), NodeId(bytes(16)))
    return PoolRoutes("tun", lease, interfaces, Holders(PEERS)), lease, interfaces


def test_a_server_that_is_known_by_name_alone_may_be_anywhere() -> None:
    pool, _, _ = bench()
    pool.note_configured(["server.example.org"])
    pool.look()
    assert pool.wanted()[0] == ("10.86.3.7/32", "fd00::/48")
    assert pool.notes == ()
    pool.note_reached("25.0.0.1")
    pool.look()
    assert pool.wanted() == ((OWN, "fd00::/48"), LED)


def test_clashes_are_told_with_the_remedy_and_so_is_each_peer_that_they_cost() -> None:
    pool, _, interfaces = bench()
    pool.note_configured(["10.86.77.1", "2a25::1"])
    interfaces.known_routes = (LAN, TUNNEL._replace(interface="tun"))
    interfaces.known_resolvers = ("10.86.1.53", "127.0.0.53")
    interfaces.find_gateways = lambda: (Gateway("10.86.1.1", "10.86.1.2"), Gateway("fe80::1%eth0", "2a25::2"))
    interfaces.change(("10.86.1.2", OWN.partition("/")[0], "2a25::2"))
    pool.look()
    first, second = pool.notes
    needed = "the server 10.86.77.1; the gateway 10.86.1.1; the DNS resolver 10.86.1.53"
    assert f"({needed}; this machine's address 10.86.1.2; and 1 more)" in first
    assert "server --addresses" in first
    assert second == "reached from here only by IPv6: laptop, since 10.86.1.20 is in 10.86.1.0/24 on eth0"
    assert "reached from this machine only by IPv6: 10.86.1.20 is in" in str(pool.note_on(["10.86.1.20", "fd00::7"]))
    assert pool.note_on(["10.86.5.5", "fd00::8"]) is None


def test_a_lease_that_clashes_is_not_used_until_the_machine_is_elsewhere() -> None:
    """What we do not have we neither announce nor accept packets for."""
    pool, lease, interfaces = bench("10.86.1.9/16")
    pool.note_configured(["25.0.0.1"])
    interfaces.known_routes = (LAN,)
    pool.look()
    assert list(lease.addresses) == ["fd00::"]
    assert not lease.holds(bytes([10, 86, 1, 9]))
    assert pool.wanted() == (("fd00::/48",), ())
    assert pool.notes[0].startswith(
        "no IPv4 in the tunnel on this machine: our address 10.86.1.9 is in 10.86.1.0/24 on eth0"
    )
    assert "up --address" in pool.notes[0]
    assert "this machine has no IPv4 in the tunnel" in str(pool.note_on(["10.86.5.5"]))
    interfaces.known_routes = ()
    pool.look()
    assert list(lease.addresses) == ["10.86.1.9", "fd00::"]
    assert lease.holds(bytes([10, 86, 1, 9]))
    assert pool.notes == ()


def test_what_comes_while_the_node_runs_is_told_and_leaves_the_peers_and_us_in_the_tunnel() -> None:
    """Whoever answers DHCP on a LAN could else have their packets in clear."""
    pool, lease, interfaces = bench()
    pool.note_configured(["25.0.0.1"])
    pool.look()
    interfaces.known_routes = (LAN, Route("10.86.3.0/24", "eth0", is_shared=True))
    interfaces.known_resolvers = ("10.86.5.5",)
    pool.look()
    assert pool.wanted() == (("10.86.3.7/32", "fd00::/48"), LED)
    assert lease.holds(bytes([10, 86, 3, 7]))
    told = pool.notes[1]
    for each in (
        "10.86.3.7, which is this node's, and in 10.86.3.0/24 on eth0",
        "10.86.1.20, which is laptop's, and in 10.86.1.0/24 on eth0",
        "10.86.5.5, which is phone's, and the DNS resolver 10.86.5.5",
        "restart the node",
    ):
        assert each in told
    assert "is still routed into the tunnel, though it is in 10.86.1.0/24" in str(pool.note_on(["10.86.1.20"]))


def test_the_end_of_another_tunnel_is_heeded_whenever_it_comes() -> None:
    """No DHCP server makes one, and each of two networks on a machine starts before the other's peers are there."""
    pool, _, interfaces = bench()
    pool.note_configured(["25.0.0.1"])
    pool.look()
    interfaces.known_routes = (Route("10.86.5.5/32", "p2pt1", is_shared=False),)
    pool.look()
    assert pool.wanted()[1] == ("10.86.1.20/32",)


def test_a_server_s_name_takes_no_address_that_a_peer_or_we_hold() -> None:
    """Whoever answers DNS could else have a peer's packets in clear."""
    pool, lease, _ = bench()
    pool.note_configured(["server.example.org"])
    assert pool.choose(["10.86.9.9", "10.86.5.5", "10.86.3.7"]) == ("10.86.9.9",)
    pool.look()
    assert pool.wanted() == (("10.86.3.7/32", "fd00::/48"), LED)
    assert "10.86.5.5, which is phone's in the tunnel; 10.86.3.7, which is this node's" in pool.notes[0]
    assert lease.holds(bytes([10, 86, 3, 7]))
    pool.note_reached("25.0.0.1")
    pool.look()
    assert pool.wanted() == ((OWN, "fd00::/48"), LED), "the others are no server's: none of them answered as it does"
    pool.note_reached("10.86.5.5")
    pool.look()
    assert pool.wanted()[1] == LED, "a peer came that says it has this address"
    assert "10.86.5.5, which is phone's, and the server 10.86.5.5" in " ".join(pool.notes)


def test_a_server_whose_address_the_invite_says_is_dialed_whoever_claims_it() -> None:
    """Else a member could cut a node from its server by a claim."""
    pool, _, _ = bench()
    pool.note_configured(["10.86.5.5"])
    assert pool.choose(["10.86.5.5"]) == ("10.86.5.5",)
    pool.look()
    assert pool.wanted()[1] == ("10.86.1.20/32",)
    assert "only by IPv6: phone, since 10.86.5.5 is the server" in pool.notes[1]


def test_a_plan_is_made_once_for_what_it_is_made_of() -> None:
    """It is asked for each peer of a status and at each change; with a clash and 1000 peers it takes 10 ms to make."""
    held = {"10.86.5.5": "phone"}
    lease, interfaces = Lease(MemoryStore(), NetworkId(bytes(16)), NodeId(bytes(16))), MemoryInterfaces()
    lease.take(OWN, 1.0)
    pool = PoolRoutes("tun", lease, interfaces, Holders(held))
    pool.note_reached("25.0.0.1")
    interfaces.known_routes = (LAN,)
    pool.look()
    made = pool.plan()
    assert made.routes == ("10.86.5.5/32",)
    assert pool.note_on(held) is None
    assert pool.plan() is made
    held["10.86.1.20"] = "laptop"
    assert pool.plan().left == {"10.86.1.20": "in 10.86.1.0/24 on eth0"}
    interfaces.known_routes = ()
    pool.look()
    assert pool.plan().addresses == (OWN,)
    lease.take("10.86.3.8/16", 2.0)
    assert pool.plan().addresses == ("10.86.3.8/16",)
    pool.choose(held)
    assert pool.plan().addresses == ("10.86.3.8/16",)
    pool.note_reached(None)
    assert pool.plan().addresses == ("10.86.3.8/32",)


def test_without_a_lease_there_is_nothing_to_clash() -> None:
    interfaces = MemoryInterfaces()
    interfaces.known_routes = (LAN,)
    pool = PoolRoutes("tun", Lease(MemoryStore(), NetworkId(bytes(16)), NodeId(bytes(16))), interfaces, Holders())
    pool.look()
    assert pool.wanted() == (("fd00::/48",), ())
    assert pool.notes == ()
    assert pool.note_on(["10.86.5.5"]) is None


@pytest.mark.parametrize(
    ("wanted", "holder", "told"),
    [
        (None, None, None),
        ("10.86.3.7", None, None),
        ("10.99.0.1", None, "is not in 10.86.0.0/16, from which the server leases: this node has 10.86.3.7"),
        ("10.86.0.0", None, "is the network address of 10.86.0.0/16"),
        ("10.86.255.255", None, "is the broadcast address of 10.86.0.0/16"),
        ("10.86.5.5", "phone", "is phone's: this node has"),
        ("10.86.5.5", None, "is another node's: this node has"),
    ],
)
def test_an_address_that_was_asked_for_and_not_given_is_told_with_the_reason(
    wanted: str | None, holder: str | None, told: str | None
) -> None:
    found = unmet_wish(wanted, OWN, holder)
    assert (found is None) if told is None else (f"--address {wanted} {told}" in str(found))
    assert unmet_wish(wanted, None, holder) is None


async def test_an_interface_in_a_network_of_its_own_clashes_with_nothing_here() -> None:
    """No route of this machine leads there, and the server is reached outside whatever its address is."""
    store, interfaces = MemoryStore(), MemoryInterfaces()
    store.write(LEASE_FILE, f"{OWN} 1.0".encode())
    lease = Lease(store, NetworkId(bytes(16)), NodeId(bytes(16)))
    choice = InterfaceChoice([InterfaceKind.KERNEL, InterfaceKind.PYTHON], {InterfaceKind.KERNEL: Refusing()})
    pool = PoolRoutes("tun", lease, interfaces, Holders(PEERS), choice)
    pool.note_configured(["10.86.77.1"])
    interfaces.known_routes = (LAN, Route("10.86.3.7/32", "eth0", is_shared=True))
    pool.look()
    assert lease.host == ""
    assert pool.notes
    assert await choice.open_device("tun", 1400, *pool.wanted()) is None
    pool.look()
    assert lease.host == "10.86.3.7"
    assert pool.wanted() == ((OWN, "fd00::/48"), ())
    assert pool.notes == ()
    assert pool.note_on(PEERS) is None
    assert pool.choose(["10.86.3.7", "10.86.1.20"]) == ("10.86.3.7", "10.86.1.20")


class Refusing:
    """A machine that allows no TUN interface."""

    async def open_device(self, name: str, mtu: int, addresses: object, routes: object) -> NoReturn:
        raise DeviceDenied("no right")
