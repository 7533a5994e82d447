"""A direct path that dies and comes back: the relay carries meanwhile, and everybody is told so."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

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


async def keep_sending(peer: Peer) -> None:
    while True:
        await peer.send_datagram(b"still here")
        await trio.sleep(0.05)


@pytest.mark.parametrize("cut_for", [7.0, 9.5, 12.0, 17.0, 30.0])
async def test_a_lifted_cut_is_noticed_at_both_ends_at_the_next_probe(
    town: Town, open_in: OpenNode, cut_for: float
) -> None:
    """The old path is still the chosen one when it is proved again: that is news all the same."""
    async with town.server(), open_in("desk") as desk, open_in("laptop") as laptop, trio.open_nursery() as nursery:
        ends = [await desk.connect("laptop"), await laptop.connect("desk")]
        for end in ends:
            await wait_state(end, "connected")
            nursery.start_soon(keep_sending, end)
        town.internet.drop = lambda packet: is_between(packet, "26.0.0.1", "26.0.0.2")
        await trio.sleep(cut_for)
        assert all(end.state in ("punching", "relayed") for end in ends)
        town.internet.drop = None
        took = max([await wait_state(end, "connected") for end in ends])
        assert took < 1.5
        nursery.cancel_scope.cancel()


async def test_the_path_that_is_told_of_is_the_one_that_gets_through(town: Town, open_in: OpenNode) -> None:
    """While the old path gets copies on suspicion, it is the relay that carries."""
    kinds: list[tuple[str, str]] = []

    def look(peer: Peer) -> None:
        assert peer.path is not None
        if (peer.state, peer.path.kind) not in kinds[-1:]:
            kinds.append((peer.state, peer.path.kind))

    async with town.server(), open_in("desk") as desk, open_in("laptop") as laptop, trio.open_nursery() as nursery:
        peer = await desk.connect("laptop")
        await wait_state(peer, "connected")
        nursery.start_soon(keep_sending, peer)
        nursery.start_soon(keep_sending, await laptop.connect("desk"))
        town.internet.drop = lambda packet: is_between(packet, "26.0.0.1", "26.0.0.2")
        with trio.move_on_after(7.0):
            while True:
                look(peer)
                await trio.sleep(0.05)
        town.internet.drop = None
        await wait_state(peer, "connected")
        look(peer)
        nursery.cancel_scope.cancel()
    assert kinds == [
        ("connected", "direct"),
        ("connected", "relay-websocket"),
        ("punching", "relay-websocket"),
        ("connected", "direct"),
    ]


def is_between(packet: MemoryPacket, one: str, other: str) -> bool:
    return {packet.source.host, packet.destination.host} == {one, other}
