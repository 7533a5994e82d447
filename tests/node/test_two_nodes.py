"""Two nodes and a server, from the first packet on: relay first, direct once proved, healed when it dies."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

import pytest
import trio

from tunnel.model.errors import PeerUnreachable
from tunnel.model.reasons import ReasonCode

if TYPE_CHECKING:
    from tests.node.conftest import OpenNode, SimulatedNetwork

    from tunnel.embedding import Peer
    from tunnel.verify.memory.packet import MemoryPacket


async def wait_state(peer: Peer, state: str, patience: float = 30.0) -> float:
    """Until the peer is in this state; how long it took."""
    began = trio.current_time()
    with trio.fail_after(patience):
        await peer._connection.notifier.wait_until(lambda: peer.state == state)
    return trio.current_time() - began


def is_between(packet: MemoryPacket, one: str, other: str) -> bool:
    return {packet.source.host, packet.destination.host} == {one, other}


async def test_data_flows_over_the_relay_at_once_and_directly_soon_after(
    net: SimulatedNetwork, open_in: OpenNode
) -> None:
    async with net.server(), open_in("desk") as desk, open_in("laptop") as laptop:
        await desk.wait_registered()
        await laptop.wait_registered()
        began = trio.current_time()
        at_desk = await desk.connect("laptop")
        await at_desk.send_datagram(b"hello")
        at_laptop = await laptop.connect("desk")
        assert await at_laptop.receive_datagram() == b"hello"
        assert trio.current_time() - began < 0.5
        assert await wait_state(at_desk, "connected") < 1.0
        await wait_state(at_laptop, "connected")
        assert at_desk.path is not None
        assert at_desk.path.kind == "direct"
        assert at_desk.reason is None
        result = await at_desk.ping()
        assert 0.039 < result.rtt < 0.1


async def test_a_ping_to_nobody_fails_at_once(net: SimulatedNetwork, open_in: OpenNode) -> None:
    """Nobody waits half a minute for a misspelled name, or for a peer that is known to be away."""
    async with net.server(), open_in("desk") as desk:
        await desk.wait_registered()
        async with open_in("laptop") as laptop:
            await laptop.wait_registered()
            assert (await desk.ping("laptop")).rtt > 0
        await trio.sleep(5.0)
        for wanted in ("lapto", "laptop", "desk"):
            began = trio.current_time()
            with pytest.raises(PeerUnreachable):
                await desk.ping(wanted)
            assert trio.current_time() - began < 1.5


async def test_a_peer_that_came_back_is_not_called_offline(net: SimulatedNetwork, open_in: OpenNode) -> None:
    async with net.server(), open_in("desk") as desk:
        await desk.wait_registered()
        for _ in range(2):
            async with open_in("laptop") as laptop:
                await laptop.wait_registered()
                await desk.ping("laptop")
                assert desk.peer("laptop").reason is None
            await trio.sleep(5.0)
            reason = desk.peer("laptop").reason
            assert reason is not None
            assert reason.code is ReasonCode.PEER_OFFLINE


async def test_a_peer_that_left_while_the_server_was_away_is_offline(net: SimulatedNetwork, open_in: OpenNode) -> None:
    """Nobody tells of its leaving: the server that comes back has never heard of it."""
    async with open_in("laptop") as laptop:
        async with open_in("desk") as desk:
            async with net.server() as kill:
                await laptop.wait_registered()
                await desk.wait_registered()
                await trio.sleep(1.0)
                assert laptop.peer("desk").is_present
                kill()
            await trio.sleep(1.0)
        async with net.server():
            await trio.sleep(60.0)
            reason = laptop.peer("desk").reason
            assert reason is not None
            assert reason.code is ReasonCode.PEER_OFFLINE


async def test_a_peer_that_comes_back_with_the_server_is_never_called_offline(
    net: SimulatedNetwork, open_in: OpenNode
) -> None:
    """Who dials first sees nobody for a moment."""
    async with open_in("laptop") as laptop, open_in("desk") as desk:
        async with net.server() as kill:
            await laptop.wait_registered()
            await desk.wait_registered()
            kill()
        await trio.sleep(5.0)
        async with net.server():
            for _ in range(300):
                await trio.sleep(0.1)
                reason = laptop.peer("desk").reason
                assert reason is None or reason.code is not ReasonCode.PEER_OFFLINE
            assert laptop.peer("desk").is_present


async def test_a_peer_is_offline_since_it_left_however_often_it_was_asked_for(
    net: SimulatedNetwork, open_in: OpenNode
) -> None:
    async with net.server(), open_in("laptop") as laptop:
        async with open_in("desk") as desk:
            await laptop.wait_registered()
            await desk.wait_registered()
            await laptop.ping("desk")
        await trio.sleep(1.0)
        left = laptop.peer("desk").status().since
        await trio.sleep(30.0)
        with pytest.raises(PeerUnreachable):
            await laptop.ping("desk")
        await trio.sleep(10.0)
        status = laptop.peer("desk").status()
        assert [move.event for move in status.history][-1] == "refused"
        assert status.since == left


async def test_a_node_without_an_interface_is_known_to_take_no_ip(net: SimulatedNetwork, open_in: OpenNode) -> None:
    """Its tunnel addresses look like all others; what is sent there would be lost in silence."""
    async with net.server(), open_in("desk", tun="tun") as desk, open_in("laptop") as laptop:
        with trio.fail_after(10.0):
            await desk.connect("laptop")
        assert (desk.status().takes_ip, laptop.status().takes_ip) == (True, False)
        assert not desk.peer("laptop").status().takes_ip
        assert laptop.peer("desk").status().takes_ip
        device = net.host("desk").devices.open["tun"]
        addresses = [ipaddress.ip_address(host).packed for host in (desk.addresses[0], laptop.addresses[0])]
        device.inject(b"\x45\x00\x00\x1c" + bytes(5) + b"\x11\0\0" + b"".join(addresses) + bytes(8))
        with trio.fail_after(0.001):
            answer = await device.wait_written()
        assert (answer[12:16], answer[16:20], answer[20:22]) == (addresses[1], addresses[0], b"\x03\x01")
        assert (await desk.ping("laptop")).rtt > 0
