"""A direct path that dies and comes back: the relay carries meanwhile, and everybody is told so."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
import trio

if TYPE_CHECKING:
    from tests.node.conftest import OpenNode, SimulatedNetwork

    from tunnel.embedding import Peer
    from tunnel.model.endpoint import Endpoint
    from tunnel.verify.memory.packet import MemoryPacket


async def wait_state(peer: Peer, state: str, patience: float = 30.0) -> float:
    """Until the peer is in this state; how long it took."""
    began = trio.current_time()
    with trio.fail_after(patience):
        await peer._connection.notifier.wait_until(lambda: peer.state == state)
    return trio.current_time() - began


async def keep_sending(peer: Peer) -> None:
    while True:
        await peer.send_datagram(b"still here")
        await trio.sleep(0.05)


@pytest.mark.parametrize("cut_for", [7.0, 9.5, 12.0, 17.0, 30.0])
async def test_a_lifted_cut_is_noticed_at_both_ends_at_the_next_probe(
    net: SimulatedNetwork, open_in: OpenNode, cut_for: float
) -> None:
    """The old path is still the chosen one when it is proved again: that is news all the same."""
    async with net.server(), open_in("desk") as desk, open_in("laptop") as laptop, trio.open_nursery() as nursery:
        ends = [await desk.connect("laptop"), await laptop.connect("desk")]
        for end in ends:
            await wait_state(end, "connected")
            nursery.start_soon(keep_sending, end)
        net.internet.drop = lambda packet: is_between(packet, "26.0.0.1", "26.0.0.2")
        await trio.sleep(cut_for)
        assert all(end.state in ("punching", "relayed") for end in ends)
        net.internet.drop = None
        took = max([await wait_state(end, "connected") for end in ends])
        assert took < 1.5
        nursery.cancel_scope.cancel()


async def test_the_path_that_is_told_of_is_the_one_that_gets_through(net: SimulatedNetwork, open_in: OpenNode) -> None:
    """While the old path gets copies on suspicion, it is the relay that carries."""
    kinds: list[tuple[str, str]] = []

    def look(peer: Peer) -> None:
        assert peer.path is not None
        if (peer.state, peer.path.kind) not in kinds[-1:]:
            kinds.append((peer.state, peer.path.kind))

    async with net.server(), open_in("desk") as desk, open_in("laptop") as laptop, trio.open_nursery() as nursery:
        peer = await desk.connect("laptop")
        await wait_state(peer, "connected")
        nursery.start_soon(keep_sending, peer)
        nursery.start_soon(keep_sending, await laptop.connect("desk"))
        net.internet.drop = lambda packet: is_between(packet, "26.0.0.1", "26.0.0.2")
        with trio.move_on_after(7.0):
            while True:
                look(peer)
                await trio.sleep(0.05)
        net.internet.drop = None
        await wait_state(peer, "connected")
        look(peer)
        nursery.cancel_scope.cancel()
    assert kinds == [
        ("connected", "direct"),
        ("connected", "relay-websocket"),
        ("punching", "relay-websocket"),
        ("connected", "direct"),
    ]


@pytest.mark.parametrize("relay_only", [True, False], ids=["relayed", "punching"])
@pytest.mark.parametrize("moment", [0.0, 2.5, 10.0, 12.4, 12.7])
async def test_a_link_to_the_server_that_dies_without_a_word_makes_a_short_hole(
    net: SimulatedNetwork, open_in: OpenNode, moment: float, relay_only: bool
) -> None:
    """A router that restarts may drop what belongs to no connection it knows, and never say so."""
    streams: set[Endpoint] = set()
    arrivals: list[float] = []
    is_dead = False

    def drop(packet: MemoryPacket) -> bool:
        if not packet.is_stream:
            return is_between(packet, "26.0.0.1", "26.0.0.2")
        ends = {end for end in (packet.source, packet.destination) if end.host == "26.0.0.1"}
        if not is_dead:
            streams.update(ends)
        return is_dead and bool(ends & streams)

    async def note_arrivals(peer: Peer) -> None:
        while True:
            await peer.receive_datagram()
            arrivals.append(trio.current_time())

    async def answer(peer: Peer) -> None:
        while True:
            await peer.send_datagram(await peer.receive_datagram())

    net.internet.drop = drop
    async with (
        net.server(),
        open_in("desk", relay_only=relay_only) as desk,
        open_in("laptop") as laptop,
        trio.open_nursery() as nursery,
    ):
        peer = await desk.connect("laptop")
        nursery.start_soon(answer, await laptop.connect("desk"))
        nursery.start_soon(note_arrivals, peer)
        nursery.start_soon(keep_sending, peer)
        await trio.sleep(2.0 + moment)
        is_dead = True
        await trio.sleep(5.0)
        ended = trio.current_time()
        nursery.cancel_scope.cancel()
    assert len(arrivals) > 50
    assert max(later - earlier for earlier, later in pairwise(arrivals)) < 2.5
    assert ended - arrivals[-1] < 1.0


async def test_a_relay_that_nobody_uses_is_asked_seldom(net: SimulatedNetwork, open_in: OpenNode) -> None:
    async with net.server(), open_in("desk", relay_only=True) as desk, open_in("laptop"):
        await desk.connect("laptop")
        await trio.sleep(120.0)
        sent = 0

        def count(packet: MemoryPacket) -> bool:
            nonlocal sent
            sent += packet.source.host == "26.0.0.1" and len(packet.payload) > 0
            return False

        net.internet.drop = count
        await trio.sleep(60.0)
        assert 0 < sent <= 50


def is_between(packet: MemoryPacket, one: str, other: str) -> bool:
    return {packet.source.host, packet.destination.host} == {one, other}
