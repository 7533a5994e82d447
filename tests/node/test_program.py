"""The node as a whole: what it finds out before it says a word, and how it leaves."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn

import pytest
import trio
from tests.node.conftest import invite_to

from tunnel.embedding import open_node
from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import DeviceDenied, DeviceError, SettingsError
from tunnel.model.interface_kind import InterfaceKind, InterfaceStatus, Userspace
from tunnel.model.reasons import Reason, ReasonCode
from tunnel.model.routes import Route
from tunnel.model.settings import NodeSettings
from tunnel.verify.memory.devices import MemoryDevices

if TYPE_CHECKING:
    from tests.node.conftest import OpenNode, SimulatedNetwork

    from tunnel.verify.memory.packet import Fate, MemoryPacket


async def wait_written(device: object) -> bytes:
    with trio.fail_after(5.0):
        return await device.wait_written()  # type: ignore[attr-defined, no-any-return]


@pytest.fixture
def packets(net: SimulatedNetwork) -> list[MemoryPacket]:
    """Everything that anybody sends."""
    sent: list[MemoryPacket] = []

    def note(packet: MemoryPacket, fate: Fate) -> None:
        sent.append(packet)

    net.internet.watch = note
    return sent


async def test_a_taken_interface_name_is_found_before_anything_is_sent(
    net: SimulatedNetwork, open_in: OpenNode, packets: list[MemoryPacket]
) -> None:
    await net.host("desk").devices.open_device("p2pt0", 1280, (), ())
    async with net.server():
        with pytest.raises(DeviceError, match="p2pt0"):
            async with open_in("desk", tun="p2pt0"):
                pytest.fail("it must not start")
        await trio.sleep(1.0)
    assert packets == []


async def test_a_taken_udp_port_is_found_before_anything_is_sent(
    net: SimulatedNetwork, open_in: OpenNode, packets: list[MemoryPacket]
) -> None:
    async with net.server(), open_in("desk", udp_port=4242) as desk:
        await desk.wait_registered()
        packets.clear()
        with pytest.raises(DeviceError, match="4242"):
            async with open_in("second", host="desk", udp_port=4242):
                pytest.fail("it must not start")
        assert packets == []


async def test_a_node_leaves_no_port_open_when_its_interface_cannot_be_made(
    net: SimulatedNetwork, open_in: OpenNode
) -> None:
    await net.host("desk").devices.open_device("p2pt0", 1280, (), ())
    with pytest.raises(DeviceError):
        async with open_in("desk", udp_port=4242, tun="p2pt0"):
            pytest.fail("it must not start")
    async with open_in("desk", udp_port=4242):
        pass


async def test_the_interface_has_the_own_ipv6_address_at_once_and_the_lease_when_it_comes(
    net: SimulatedNetwork, open_in: OpenNode
) -> None:
    devices = net.host("desk").devices
    async with open_in("desk", tun="p2pt0") as desk:
        own6 = desk.addresses[-1]
        assert list(devices.open["p2pt0"].addresses) == [f"{own6}/48"]
        async with net.server():
            await desk.wait_registered()
            await trio.sleep(0.1)
            assert list(devices.open["p2pt0"].addresses) == [f"{desk.addresses[0]}/16", f"{own6}/48"]
            assert desk.addresses[0].startswith("10.86.")
    assert devices.open == {}


async def test_a_kept_lease_is_on_the_interface_before_the_server_says_a_word(
    net: SimulatedNetwork, open_in: OpenNode
) -> None:
    async with net.server(), open_in("desk") as desk:
        await desk.wait_registered()
        lease = desk.addresses[0]
    async with open_in("desk", tun="p2pt0"):
        assert net.host("desk").devices.open["p2pt0"].addresses[0] == f"{lease}/16"


async def test_a_vanished_interface_ends_the_node_with_one_clear_error(
    net: SimulatedNetwork, open_in: OpenNode
) -> None:
    async def lose_it() -> None:
        async with open_in("desk", tun="p2pt0") as desk:
            await desk.wait_registered()
            await trio.sleep(0.1)
            net.host("desk").devices.open["p2pt0"].close()
            await trio.sleep(1.0)

    async with net.server():
        with pytest.raises(DeviceError, match="p2pt0 is gone"):
            await lose_it()


async def test_packets_of_applications_travel_between_two_interfaces(net: SimulatedNetwork, open_in: OpenNode) -> None:
    async with net.server(), open_in("desk", tun="p2pt0") as desk, open_in("laptop", tun="p2pt0") as laptop:
        await desk.wait_registered()
        await laptop.wait_registered()
        await trio.sleep(1.0)
        packet = ipv4_packet(desk.addresses[0], laptop.addresses[0])
        net.host("desk").devices.open["p2pt0"].inject(packet)
        assert await wait_written(net.host("laptop").devices.open["p2pt0"]) == packet


def ipv4_packet(source: str, destination: str, payload: bytes = b"hello") -> bytes:
    """An IPv4 packet as far as the tunnel looks at it."""
    from ipaddress import IPv4Address

    head = bytes([0x45, 0]) + (20 + len(payload)).to_bytes(2) + bytes(8)
    return head + IPv4Address(source).packed + IPv4Address(destination).packed + payload


async def test_a_node_that_leaves_says_so_and_is_not_just_lost(net: SimulatedNetwork, open_in: OpenNode) -> None:
    """The farewell needs the link and its writer: they end after it. And nobody asks at once for who has just left."""
    async with net.server(), open_in("desk") as desk:
        async with open_in("laptop", relay_only=True) as laptop:
            await laptop.wait_registered()
            peer = await desk.connect("laptop")
        await trio.sleep(0.5)
        assert not peer._connection.is_present
        assert [move.event for move in peer.status().history][-1] == "peer_left"
        assert peer.reason == Reason(ReasonCode.PEER_OFFLINE, "it left the network")


async def test_a_node_that_was_told_to_use_no_udp_opens_no_socket_and_is_reached_over_the_link(
    net: SimulatedNetwork, open_in: OpenNode
) -> None:
    """Its network slows UDP down: nothing may be lost by trying it, and no peer sends it any."""
    async with net.server(), open_in("desk") as desk, open_in("laptop", udp=False) as laptop:
        await desk.wait_registered()
        await laptop.wait_registered()
        peer = await desk.connect("laptop")
        await trio.sleep(10.0)
        assert (await peer.ping()).path == peer.path
        assert laptop.program.datagrams.sockets == []
        for node, name in ((desk, "laptop"), (laptop, "desk")):
            path, reason = node.peer(name).path, node.peer(name).reason
            assert path is not None
            assert path.kind == "relay-websocket"
            assert reason is not None
            assert reason.code is ReasonCode.RELAY_ONLY_BY_POLICY
        with pytest.raises(SettingsError, match="--no-udp"):
            await laptop.netcheck()


class Forbidding:
    """A machine that lets this program have no TUN interface."""

    async def open_device(self, name: str, mtu: int, addresses: object, routes: object) -> NoReturn:
        raise DeviceDenied("no right: run as root")


async def test_a_node_that_may_have_no_interface_here_is_reached_by_ip_at_one_of_its_own(
    net: SimulatedNetwork, open_in: OpenNode
) -> None:
    """Its peers see no difference. What this machine has elsewhere is not in its way."""
    own = MemoryDevices()
    world = net.host("desk").world()
    net.host("desk").interfaces.known_routes = (Route("10.86.0.0/16", "eth0", is_shared=True),)
    world = replace(world, devices=Forbidding(), userspace={InterfaceKind.NAMESPACE: own})
    settings = NodeSettings(name="desk", default_stun=False, tun="p2pt7", userspace=Userspace.AUTO)
    async with (
        net.server(),
        open_in("laptop", tun="p2pt0") as laptop,
        open_node(invite=invite_to(), settings=settings, world=world) as desk,
    ):
        await desk.wait_registered()
        status = desk.status()
        assert status.takes_ip
        assert status.interface == InterfaceStatus(InterfaceKind.NAMESPACE, "p2pt7", "no right: run as root")
        assert status.notes == ()
        await laptop.connect("desk")
        assert laptop.peer("desk").status().takes_ip
        assert {address.partition("/")[0] for address in own.open["p2pt7"].addresses} == set(desk.addresses)
        assert len(desk.addresses) == 2
        await desk.program.interface.sockets.open_listener(Endpoint(desk.addresses[0], 80))
    assert own.open == {}


async def test_a_node_that_must_do_without_says_so_and_has_no_sockets(net: SimulatedNetwork, open_in: OpenNode) -> None:
    world = replace(net.host("desk").world(), devices=Forbidding())
    settings = NodeSettings(name="desk", default_stun=False, tun="p2pt7", userspace=Userspace.PYTHON)
    async with open_node(invite=invite_to(), settings=settings, world=world) as desk:
        assert not desk.status().takes_ip
        assert desk.status().interface == InterfaceStatus(InterfaceKind.PYTHON, "", "no right: run as root")
        with pytest.raises(DeviceError, match="no interface"):
            desk.program.interface.sockets  # noqa: B018
