"""What the node does when its machine has slept, or may be a copy of one that was running."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from tests.node.conftest import OpenNode, SimulatedNetwork


async def test_a_node_that_slept_surveys_and_asks_its_server(net: SimulatedNetwork, open_in: OpenNode) -> None:
    async with net.server(), open_in("desk") as desk:
        await desk.wait_registered()
        await trio.sleep(5.0)
        before = desk.program.nat_discovery.verdict
        net.host("desk").clock.wake(600.0)
        await trio.sleep(3.0)
        assert desk.program.nat_discovery.verdict is not before


async def test_a_node_that_may_run_from_a_copied_memory_seals_nothing_more_under_its_old_keys(
    net: SimulatedNetwork, open_in: OpenNode
) -> None:
    """A snapshot that is started twice would use each counter of AES-GCM twice; a clock set forward is the sign."""
    async with net.server(), open_in("desk") as desk, open_in("laptop") as laptop:
        peer = await desk.connect("laptop")
        assert await peer.wait_settled() == "connected"
        connection = desk.program.peer_table.find("laptop")
        before = connection.session.slots.current
        assert before is not None
        epoch, sealed = desk.program.identity.epoch, before.sealer.counter
        net.host("desk").clock.wall_offset += 3600.0
        await trio.sleep(0.01)
        assert desk.program.identity.epoch != epoch
        assert connection.session.slots.current is None
        await peer.send_datagram(b"after")
        with trio.fail_after(5.0):
            assert await laptop.peer("desk").receive_datagram() == b"after"
        assert await peer.wait_settled() == "connected"
        assert before.sealer.counter == sealed
        assert connection.session.slots.current is not None


async def test_a_clock_that_is_set_back_or_by_a_little_costs_no_session(
    net: SimulatedNetwork, open_in: OpenNode
) -> None:
    async with net.server(), open_in("desk") as desk, open_in("laptop"):
        peer = await desk.connect("laptop")
        assert await peer.wait_settled() == "connected"
        epoch = desk.program.identity.epoch
        for jump in (-3600.0, 1.0):
            net.host("desk").clock.wall_offset += jump
            await trio.sleep(5.0)
        assert desk.program.identity.epoch == epoch
        assert peer.state == "connected"
