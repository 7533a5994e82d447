"""What `status` shows of a whole node: each fact from whom it is, at every moment of the node's life."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from tests.node.conftest import OpenNode, SimulatedNetwork


async def test_the_round_trip_to_the_server_is_told_while_the_link_stands_and_else_why_it_does_not(
    net: SimulatedNetwork, open_in: OpenNode
) -> None:
    """A figure from before would read as if the server answered still."""
    async with open_in("desk") as desk:
        async with net.server():
            await desk.wait_registered()
            await trio.sleep(1.0)
            server = desk.status().server
            assert (server.url, server.state, server.reason) == (desk.invite.server, "registered", None)
            assert server.rtt is not None
        await trio.sleep(5.0)
        server = desk.status().server
        assert server.state != "registered"
        assert server.rtt is None
        assert server.reason


async def test_peers_are_told_in_the_order_of_their_ids_whoever_came_first(
    net: SimulatedNetwork, open_in: OpenNode
) -> None:
    """So that two looks at one network differ in what has changed alone."""
    async with net.server(), open_in("desk") as desk, open_in("laptop") as laptop, open_in("phone") as phone:
        await desk.wait_registered()
        await trio.sleep(1.0)
        assert [peer.id for peer in desk.status().peers] == sorted([laptop.id, phone.id])


async def test_a_peer_says_the_same_in_the_node_s_status_and_alone(net: SimulatedNetwork, open_in: OpenNode) -> None:
    async with net.server(), open_in("desk") as desk, open_in("laptop"):
        await desk.wait_registered()
        await trio.sleep(1.0)
        assert desk.status().peers == (desk.peer("laptop").status(),)
