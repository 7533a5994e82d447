"""`netcheck` in the node: one survey from now on, and all that the node's parts know beside it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import trio
from tests.node.conftest import SERVER_ADDRESS, SERVER_SETTINGS, WELCOME

from tunnel.model.endpoint import Endpoint

if TYPE_CHECKING:
    from tests.node.conftest import OpenNode, PuppetServer, SimulatedNetwork


async def test_it_says_the_same_as_status_of_the_same_things(net: SimulatedNetwork, open_in: OpenNode) -> None:
    async with net.server(), open_in("desk") as desk:
        await desk.wait_registered()
        await trio.sleep(5.0)
        found = await desk.program.check_network()
        status = desk.status()
        assert found.survey.report == status.nat
        assert [(each.family, each.state) for each in found.port_mappings] == [
            (each.family, each.state) for each in status.port_mappings
        ]
        assert {health.server for health in found.servers} == {str(endpoint) for endpoint in SERVER_SETTINGS.udp}
        assert found.keepalive == desk.program.nat_discovery.keepalive


async def test_the_classic_verdict_is_asked_of_our_own_server(net: SimulatedNetwork, open_in: OpenNode) -> None:
    async with net.server(), open_in("desk") as desk:
        await desk.wait_registered()
        found = await desk.program.check_network()
        assert found.second_opinion is not None
        assert found.agrees is not False


async def test_without_an_ipv4_stun_endpoint_of_our_server_there_is_no_classic_verdict(
    puppet: PuppetServer, open_in: OpenNode
) -> None:
    """Others are not asked: they did not offer it."""
    puppet.welcome = replace(WELCOME, stun=())
    async with open_in("desk", stun=(f"{SERVER_ADDRESS}:3478",)) as desk:
        await desk.wait_registered()
        with trio.fail_after(20.0):
            found = await desk.program.check_network()
        assert found.second_opinion is None
        assert found.survey.silent == (str(Endpoint(SERVER_ADDRESS, 3478)),)
