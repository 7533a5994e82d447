"""Two nodes and a server, from the first packet on: relay first, direct when proven, healed when it dies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from tunnel.model.errors import PeerUnreachable
from tunnel.model.reasons import ReasonCode

if TYPE_CHECKING:
    from tests.node.conftest import OpenNode, Town

    from tunnel.embedding import Peer
    from tunnel.network.memory_packet import MemoryPacket


async def wait_state(peer: Peer, state: str, patience: float = 30.0) -> float:
    """Until the peer is in this state; how long it took."""
    began = trio.current_time()
    with trio.fail_after(patience):
        await peer._connection.pulse.wait_until(lambda: peer.state == state)
    return trio.current_time() - began


def is_between(packet: MemoryPacket, one: str, other: str) -> bool:
    return {packet.source.host, packet.destination.host} == {one, other}


async def test_data_flows_over_the_relay_at_once_and_directly_soon_after(town: Town, open_in: OpenNode) -> None:
    async with town.server(), open_in("desk") as desk, open_in("laptop") as laptop:
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


async def test_a_ping_to_nobody_fails_at_once(town: Town, open_in: OpenNode) -> None:
    """Nobody waits half a minute for a misspelt name, or for a peer that is known to be away."""
    async with town.server(), open_in("desk") as desk:
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


async def test_a_peer_that_came_back_is_not_called_offline(town: Town, open_in: OpenNode) -> None:
    async with town.server(), open_in("desk") as desk:
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
