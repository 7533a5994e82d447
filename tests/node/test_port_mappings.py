"""What a node asks its gateways for, and when it does not."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
import trio
from tests.node.conftest import OpenNode
from tests.node.conftest import SimulatedNetwork as NodeNetwork
from trio.testing import MockClock

from tunnel.embedding import Node
from tunnel.machines.notifier import Notifier
from tunnel.model.candidate import CandidateKind
from tunnel.model.endpoint import Endpoint
from tunnel.model.settings import NodeSettings
from tunnel.model.transport import Transport
from tunnel.node.identity import load_identity
from tunnel.node.port_mappings import PortMappings
from tunnel.verify.memory.internet import open_memory_internet
from tunnel.verify.reachability.topology import Gateway, Host, Router, Server, Topology
from tunnel.verify.simulation.internet.simulated_network import SimulatedNetwork, build_network

OUTSIDE, DESK, DESK6 = "26.0.0.1", "192.168.1.2", "2001:db8::2"
ALL = Gateway(upnp=True, nat_pmp=True, pcp=True)


class Home:
    def __init__(self, net: SimulatedNetwork, mappings: PortMappings, port: int) -> None:
        self.router = net.routers["home"]
        self.mappings = mappings
        self.port = port

    @property
    def open_doors(self) -> tuple[bool, bool]:
        """Whether the router leads the IPv4 port to the desk, and lets everybody in at the IPv6 one."""
        mapped = self.router.statics.at(Transport.UDP, self.port) is not None
        return mapped, self.router.pinholes.admits(Transport.UDP, Endpoint(DESK6, self.port))


SEEN = (Endpoint("25.8.8.8", 40000),)
OpenHome = Callable[..., AbstractAsyncContextManager[Home]]


@pytest.fixture
def open_home(autojump_clock: MockClock) -> OpenHome:
    @asynccontextmanager
    async def run(**settings: Any) -> AsyncIterator[Home]:
        topology = Topology(
            routers={"home": Router(address=OUTSIDE, inner="192.168.1.1", gateway=ALL)},
            hosts={"desk": Host(addresses=(DESK, DESK6), behind="home")},
        )
        async with open_memory_internet() as internet, trio.open_nursery() as nursery:
            net = build_network(internet, topology, seed=1)
            world = net.hosts["desk"].world()
            sockets = [await world.datagrams.open_socket(Endpoint(host, 40000)) for host in ("0.0.0.0", "::")]
            mappings = PortMappings(
                NodeSettings(name="desk", **settings),
                load_identity(world.store, world.entropy),
                world,
                sockets,
                Notifier(),
            )
            nursery.start_soon(mappings.run)
            await trio.sleep(1)
            yield Home(net, mappings, 40000)
            nursery.cancel_scope.cancel()

    return run


async def test_a_port_and_a_pinhole_are_opened_and_shut_at_the_end(open_home: OpenHome) -> None:
    async with open_home() as home:
        assert home.open_doors == (True, True)
        assert home.mappings.endpoints == (Endpoint(OUTSIDE, 40000), Endpoint(DESK6, 40000))
        assert home.mappings.protocol == "pcp"
        assert [status.family for status in home.mappings.statuses(SEEN)] == ["ipv4", "ipv6"]
        assert "we are seen at another address" in home.mappings.statuses(SEEN)[0].note
        await home.mappings.leave()
        assert home.open_doors == (False, False)
        assert not home.mappings.endpoints
        assert home.mappings.protocol == "none"


@pytest.mark.parametrize("settings", [{"port_mapping": False}, {"relay_only": True}], ids=["off", "relay only"])
async def test_nothing_is_asked_for_where_nothing_is_wanted(open_home: OpenHome, settings: dict[str, Any]) -> None:
    async with open_home(**settings) as home:
        assert home.open_doors == (False, False)
        assert home.mappings.statuses(SEEN) == ()
        await home.mappings.leave()


@pytest.mark.parametrize(
    ("external", "open_doors"), [(Endpoint(OUTSIDE, 40000), (False, True)), (Endpoint(DESK6, 40000), (True, False))]
)
async def test_what_the_user_has_opened_is_not_asked_for(
    open_home: OpenHome, external: Endpoint, open_doors: tuple[bool, bool]
) -> None:
    async with open_home(external=external) as home:
        assert home.open_doors == open_doors


# In the program


async def announced(node: Node) -> set[tuple[Endpoint, CandidateKind]]:
    card = node.program.announcer.card
    assert card is not None
    return {(candidate.endpoint, candidate.kind) for candidate in card.body.candidates}


async def test_a_mapped_endpoint_is_announced_and_reported_and_taken_back_with_the_farewell(
    net: NodeNetwork, open_in: OpenNode
) -> None:
    topology = Topology(
        routers={"home": Router(address="27.0.0.1", inner="192.168.1.1", gateway=Gateway(pcp=True))},
        hosts={"desk": Host(addresses=(DESK,), behind="home")},
        server=Server(address="27.9.9.9", stun=()),
    )
    home = build_network(net.internet, topology, seed=1)
    net.hosts["desk"] = home.hosts["desk"]
    async with net.server(), open_in("desk", udp_port=40000) as desk:
        await trio.sleep(2)
        assert (Endpoint("27.0.0.1", 40000), CandidateKind.MAPPED) in await announced(desk)
        assert desk.status().nat.port_mapping == "pcp"
        assert desk.status().port_mappings[0].external == Endpoint("27.0.0.1", 40000)
        assert home.routers["home"].statics.at(Transport.UDP, 40000) is not None
    assert home.routers["home"].statics.at(Transport.UDP, 40000) is None
