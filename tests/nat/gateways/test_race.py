"""All protocols at once, against the simulated gateway in each of its moods."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
import trio
from tests.nat.gateways.conftest import NONCE, WAITS
from trio.testing import MockClock

from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import Refused
from tunnel.model.port_mapping import PortProtocol
from tunnel.model.routes import Gateway
from tunnel.model.transport import Transport
from tunnel.nat.gateways.lease import PortLease
from tunnel.nat.gateways.nat_pmp import NatPmpClient
from tunnel.nat.gateways.pcp import PcpClient
from tunnel.nat.gateways.race import PCP_LEAD, PortClients
from tunnel.nat.gateways.upnp import UpnpClient
from tunnel.verify.memory.internet import open_memory_internet
from tunnel.verify.reachability.topology import Gateway as Speaks
from tunnel.verify.reachability.topology import Host, Lie, Router, Topology
from tunnel.verify.simulation.internet.gateway import PRIVATE_ADDRESS
from tunnel.verify.simulation.internet.igd import BLACK_HOLE_SECONDS, DISCOVERED_SECONDS
from tunnel.verify.simulation.internet.router import PortControl, RouterBox
from tunnel.verify.simulation.internet.simulated_network import build_network
from tunnel.wire.pcp import PCP_VERSION

OUTSIDE, INNER, DESK, DESK6 = "26.0.0.1", "192.168.1.1", "192.168.1.2", "2001:db8::2"
PORT = 40000


class Home:
    """A host behind one router, and its three clients."""

    def __init__(
        self, router: RouterBox, gateways: tuple[Gateway, ...], clients: PortClients, asked: list[int]
    ) -> None:
        self.router = router
        self.gateways = gateways
        self.clients = clients
        self.asked = asked
        """Sizes of the datagrams that the host sent."""

    async def map_first(self, *, port: int = PORT, held: PortLease | None = None, family: int = 4) -> PortLease:
        return await self.clients.map_first(self.gateways[family == 6], port, 7200.0, held)

    def leads_to(self, external_port: int) -> Endpoint | None:
        entry = self.router.statics.at(Transport.UDP, external_port)
        return None if entry is None else entry.inner


class OldGateway:
    """A gateway of before PCP: it drops what it does not know."""

    def __init__(self, inner: PortControl | None) -> None:
        self._inner = inner

    def handle_untrusted(self, payload: bytes, source: Endpoint) -> bytes | None:
        assert self._inner is not None
        return None if payload[0] == PCP_VERSION else self._inner.handle_untrusted(payload, source)


OpenHome = Callable[[Speaks], AbstractAsyncContextManager[Home]]


@pytest.fixture
def open_home(autojump_clock: MockClock) -> OpenHome:
    @asynccontextmanager
    async def run(speaks: Speaks) -> AsyncIterator[Home]:
        topology = Topology(
            routers={"home": Router(address=OUTSIDE, inner=INNER, gateway=speaks)},
            hosts={"desk": Host(addresses=(DESK, DESK6), behind="home")},
        )
        async with open_memory_internet() as internet:
            net = build_network(internet, topology, seed=1)
            host, asked = net.hosts["desk"], list[int]()
            host.on_sent = lambda packet: asked.append(len(packet.payload))
            world = host.world()
            clients = PortClients(
                PcpClient(world.datagrams, NONCE, WAITS),
                NatPmpClient(world.datagrams, WAITS),
                UpnpClient(world.port_mapper, world.store),
            )
            yield Home(net.routers["home"], world.interfaces.gateways(), clients, asked)

    return run


@pytest.mark.parametrize(
    ("speaks", "winner", "within"),
    [
        (Speaks(upnp=True, nat_pmp=True, pcp=True), PortProtocol.PCP, 0.01),
        (Speaks(upnp=True, pcp=True), PortProtocol.PCP, 0.01),
        (Speaks(upnp=True, nat_pmp=True), PortProtocol.NAT_PMP, 0.01),
        (Speaks(nat_pmp=True), PortProtocol.NAT_PMP, 0.01),
        (Speaks(upnp=True), PortProtocol.UPNP, DISCOVERED_SECONDS),
    ],
    ids=["all", "PCP and UPnP", "NAT-PMP and UPnP", "NAT-PMP", "UPnP"],
)
async def test_the_first_that_maps_wins(
    open_home: OpenHome, speaks: Speaks, winner: PortProtocol, within: float
) -> None:
    async with open_home(speaks) as home:
        lease = await home.map_first()
        assert lease.protocol is winner
        assert lease.external == Endpoint(OUTSIDE, PORT)
        assert trio.current_time() == pytest.approx(within, abs=0.01)
        assert home.leads_to(PORT) == Endpoint(DESK, PORT)


async def test_nothing_of_the_losers_stays_behind(open_home: OpenHome) -> None:
    """Each lease that nobody knows of would keep a port of the router open for two hours."""
    async with open_home(Speaks(upnp=True, nat_pmp=True, pcp=True)) as home:
        lease = await home.map_first()
        await trio.sleep(30)
        await home.clients.of(lease.protocol).unmap_port(lease)
        assert all(home.leads_to(port) is None for port in range(PORT, PORT + 100))


async def test_nat_pmp_does_not_wait_for_a_pcp_that_says_nothing(open_home: OpenHome) -> None:
    async with open_home(Speaks(nat_pmp=True)) as home:
        home.router.gateway_server = OldGateway(home.router.gateway_server)
        assert (await home.map_first()).protocol is PortProtocol.NAT_PMP
        assert trio.current_time() == pytest.approx(PCP_LEAD, abs=0.01)


@pytest.mark.parametrize("lie", [Lie.SILENT, Lie.GARBAGE, Lie.REFUSED])
async def test_a_useless_gateway_ends_in_what_each_protocol_heard(open_home: OpenHome, lie: Lie) -> None:
    async with open_home(Speaks(upnp=True, nat_pmp=True, pcp=True, lie=lie)) as home:
        with pytest.raises(Refused) as refused:
            await home.map_first()
        assert [said.partition(":")[0] for said in refused.value.text.split("; ")] == ["pcp", "nat-pmp", "upnp"]
        assert trio.current_time() <= DISCOVERED_SECONDS + BLACK_HOLE_SECONDS + 0.01
        assert len(home.asked) <= 2 * len(WAITS) + 1


async def test_a_gateway_that_speaks_nothing_costs_a_few_packets(open_home: OpenHome) -> None:
    async with open_home(Speaks()) as home:
        with pytest.raises(Refused, match="does not answer"):
            await home.map_first()
        assert len(home.asked) == 2 * len(WAITS)


async def test_a_private_outer_address_is_a_lease_all_the_same(open_home: OpenHome) -> None:
    async with open_home(Speaks(pcp=True, lie=Lie.PRIVATE_ADDRESS)) as home:
        lease = await home.map_first()
        assert lease.external.host == PRIVATE_ADDRESS
        assert not lease.is_public


async def test_no_port_of_the_system_is_asked_for(open_home: OpenHome) -> None:
    """One router hangs when it is asked for such a port in NAT-PMP."""
    async with open_home(Speaks(upnp=True, nat_pmp=True, pcp=True)) as home:
        with pytest.raises(Refused, match="below 1024"):
            await home.map_first(port=1023)
        assert home.asked == []


async def test_a_lost_port_is_wished_for_again(open_home: OpenHome) -> None:
    """Peers know it: the same one spares them a change."""
    async with open_home(Speaks(upnp=True, nat_pmp=True, pcp=True)) as home:
        home.router.statics.add_static(Transport.UDP, PORT, Endpoint("192.168.1.99", 1), 20.0)
        lease = await home.map_first()
        assert lease.external.port == PORT + 1
        await trio.sleep(30)
        home.router.reboot()
        assert (await home.map_first(held=lease)).external == lease.external


async def test_an_ipv6_firewall_is_asked_in_pcp_alone(open_home: OpenHome) -> None:
    async with open_home(Speaks(upnp=True, nat_pmp=True, pcp=True)) as home:
        lease = await home.map_first(family=6)
        assert (lease.protocol, lease.external) == (PortProtocol.PCP, Endpoint(DESK6, PORT))
        assert home.router.pinholes.admits(Transport.UDP, Endpoint(DESK6, PORT))
        assert len(home.asked) == 1
        await home.clients.pcp.unmap_port(lease)
        assert not home.router.pinholes.admits(Transport.UDP, Endpoint(DESK6, PORT))


async def test_before_a_public_address_only_a_firewall_can_stand(open_home: OpenHome) -> None:
    """A server in a data center does not search its network for a home router."""
    async with open_home(Speaks()) as home:
        home.gateways = (Gateway(INNER, "25.7.7.7"),)
        with pytest.raises(Refused, match=r"25\.7\.7\.7") as refused:
            await home.map_first()
        assert "upnp" not in refused.value.text
        assert trio.current_time() == 0.0
