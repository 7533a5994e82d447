"""A host behind a router asks for a port in each protocol, over the virtual network, and is reached from outside."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock

from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import Unreachable
from tunnel.model.transport import Transport
from tunnel.verify.memory.host import MemoryHost
from tunnel.verify.memory.internet import open_memory_internet
from tunnel.verify.reachability.topology import Gateway, Host, Router, Topology
from tunnel.verify.simulation.internet.simulated_network import SimulatedNetwork, build_network
from tunnel.wire.nat_pmp import PmpAddress, PmpAddressRequest, PmpMapped, PmpMapRequest
from tunnel.wire.pcp import ANYWHERE, PcpMapped, PcpMapRequest
from tunnel.wire.port_control import PORT, PortAnswer, PortRequest, decode_port_answer, encode_port_request

INNER, OUTER, DESK = "192.168.1.1", "26.0.0.1", "192.168.1.2"
SPEAKS_ALL = Gateway(upnp=True, nat_pmp=True, pcp=True)
LOCAL = Endpoint("0.0.0.0", 5000)
LEASE = 600


def topology(gateway: Gateway) -> Topology:
    return Topology(
        routers={
            "home": Router(address=OUTER, inner=INNER, gateway=gateway),
            "office": Router(address="26.0.0.2", inner=INNER),
        },
        hosts={"desk": Host(addresses=(DESK,), behind="home"), "stranger": Host(addresses=("26.0.0.9",))},
    )


async def ask(host: MemoryHost, request: PortRequest) -> PortAnswer:
    socket = await host.open_socket(Endpoint("0.0.0.0", 0))
    assert socket.send_nowait(encode_port_request(request), Endpoint(INNER, PORT))
    with trio.fail_after(1):
        [(datagram, source)] = await socket.receive_batch()
    socket.close()
    assert source == Endpoint(INNER, PORT)
    return decode_port_answer(datagram)


async def map_by_nat_pmp(host: MemoryHost) -> Endpoint:
    address = await ask(host, PmpAddressRequest())
    mapped = await ask(host, PmpMapRequest(Transport.UDP, LOCAL.port, 6000, LEASE))
    assert isinstance(address, PmpAddress)
    assert isinstance(mapped, PmpMapped)
    return Endpoint(address.address, mapped.external_port)


async def map_by_pcp(host: MemoryHost) -> Endpoint:
    mapped = await ask(host, PcpMapRequest(DESK, b"n" * 12, Transport.UDP, LOCAL.port, ANYWHERE, LEASE))
    assert isinstance(mapped, PcpMapped)
    return mapped.external


async def map_by_upnp(host: MemoryHost) -> Endpoint:
    return (await host.port_mapper.map_port(LOCAL.port, LEASE)).external


Mapper = Callable[[MemoryHost], Awaitable[Endpoint]]
MAPPERS = pytest.mark.parametrize(
    ("map_port", "external"),
    [(map_by_nat_pmp, 6000), (map_by_pcp, 5000), (map_by_upnp, 5000)],
    ids=["NAT-PMP", "PCP", "UPnP"],
)


async def knocks(net: SimulatedNetwork, external: Endpoint) -> tuple[bytes, Endpoint] | None:
    """What arrives at the desk of a datagram that a stranger sends there, and the stranger as the desk sees it."""
    desk = await net.hosts["desk"].open_socket(LOCAL)
    stranger = await net.hosts["stranger"].open_socket(Endpoint("0.0.0.0", 0))
    stranger.send_nowait(b"knock", external)
    heard = None
    with trio.move_on_after(1):
        [heard] = await desk.receive_batch()
        desk.send_nowait(b"who is there", heard[1])
        assert await stranger.receive_batch() == [(b"who is there", external)]
    desk.close()
    stranger.close()
    return heard


@MAPPERS
async def test_a_stranger_reaches_a_mapped_port_while_the_lease_lasts(
    autojump_clock: MockClock, map_port: Mapper, external: int
) -> None:
    async with open_memory_internet() as internet:
        net = build_network(internet, topology(SPEAKS_ALL), seed=1)
        assert await knocks(net, Endpoint(OUTER, external)) is None
        mapped = await map_port(net.hosts["desk"])
        assert mapped == Endpoint(OUTER, external)
        heard = await knocks(net, mapped)
        assert heard is not None
        assert (heard[0], heard[1].host) == (b"knock", "26.0.0.9")
        await trio.sleep(LEASE)
        assert await knocks(net, mapped) is None


@MAPPERS
async def test_a_reboot_closes_the_port_until_it_is_asked_for_again(
    autojump_clock: MockClock, map_port: Mapper, external: int
) -> None:
    async with open_memory_internet() as internet:
        net = build_network(internet, topology(SPEAKS_ALL), seed=1)
        mapped = await map_port(net.hosts["desk"])
        await trio.sleep(30)
        net.routers["home"].reboot()
        assert await ask(net.hosts["desk"], PmpAddressRequest()) == PmpAddress(0, OUTER)
        assert await knocks(net, mapped) is None
        assert await map_port(net.hosts["desk"]) == mapped
        assert await knocks(net, mapped) is not None


async def test_a_router_that_speaks_nothing_leaves_its_hosts_waiting(autojump_clock: MockClock) -> None:
    async with open_memory_internet() as internet:
        desk = build_network(internet, topology(Gateway()), seed=1).hosts["desk"]
        with pytest.raises(trio.TooSlowError):
            await map_by_pcp(desk)
        with pytest.raises(Unreachable):
            await map_by_upnp(desk)


async def test_upnp_asks_the_router_that_the_host_stands_behind_now(autojump_clock: MockClock) -> None:
    async with open_memory_internet() as internet:
        net = build_network(internet, topology(SPEAKS_ALL), seed=1)
        desk = net.hosts["desk"]
        for behind, addresses in (("office", ("192.168.1.7",)), (None, ("26.0.0.3",)), ("home", ())):
            net.move("desk", behind, *addresses)
            with pytest.raises(Unreachable):
                await map_by_upnp(desk)
        net.move("desk", "home", "192.168.1.8")
        assert await map_by_upnp(desk) == Endpoint(OUTER, LOCAL.port)
        entry = net.routers["home"].statics.at(Transport.UDP, LOCAL.port)
        assert entry is not None
        assert entry.inner == Endpoint("192.168.1.8", LOCAL.port)
