"""A server with several addresses, asked at one that it would not choose itself."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trio
from tests.node.conftest import invite_to

from tunnel.model.endpoint import Endpoint
from tunnel.model.nat import Mapping, Udp

if TYPE_CHECKING:
    from tests.node.conftest import OpenNode, SimulatedNetwork

    from tunnel.verify.memory.packet import MemoryPacket

WILD = Endpoint("0.0.0.0", 8443)
PORTS = (Endpoint("0.0.0.0", 3478), Endpoint("0.0.0.0", 3479))


@pytest.mark.parametrize("dialed", ["25.0.0.1", "25.0.0.2"])
async def test_a_server_on_the_wildcard_address_is_a_stun_server_at_each_of_its_addresses(
    net: SimulatedNetwork, open_in: OpenNode, dialed: str
) -> None:
    """Its answer comes from the address that was asked, or the node calls UDP blocked."""
    net.server_host.change_addresses("25.0.0.1", "25.0.0.2")
    invite = replace(invite_to(), server=f"ws://{dialed}:8443")
    async with net.server(listen=WILD, udp=PORTS), open_in("desk", invite=invite) as desk:
        await desk.wait_registered()
        await trio.sleep(2.0)
        assert desk.program.nat_discovery.own == (Endpoint(dialed, 3478), Endpoint(dialed, 3479))
        assert desk.status().nat.udp is Udp.OPEN
        assert desk.status().nat.mapping is Mapping.NONE


async def test_the_udp_relay_answers_each_side_from_the_address_that_it_asked(
    net: SimulatedNetwork, open_in: OpenNode
) -> None:
    net.server_host.change_addresses("25.0.0.1", "25.0.0.2")
    net.internet.drop = lambda packet: (
        packet.segment is None and not {packet.source.host, packet.destination.host} & {"25.0.0.1", "25.0.0.2"}
    )
    second = replace(invite_to(), server="ws://25.0.0.2:8443")
    async with (
        net.server(listen=WILD, udp=PORTS),
        open_in("desk") as desk,
        open_in("laptop", invite=second) as laptop,
    ):
        with trio.fail_after(60.0):
            await desk.wait_registered()
            await laptop.wait_registered()
            peer = await desk.connect("laptop")
            while (path := peer.status().path) is None or path.kind != "relay-udp":
                await peer.send_datagram(b"x")
                await trio.sleep(0.5)


async def test_a_node_that_is_seen_at_an_address_of_the_servers_network_says_so(
    net: SimulatedNetwork, open_in: OpenNode
) -> None:
    """A container's port forward: no verdict rests on it, and a person is told what to do."""
    route = net.internet.transmit

    def forward(packet: MemoryPacket) -> None:
        if packet.segment is None and packet.destination.host == "25.0.0.1":
            packet = replace(packet, source=Endpoint("172.17.0.1", packet.source.port))
        elif packet.segment is None and packet.destination.host == "172.17.0.1":
            packet = replace(packet, destination=Endpoint("26.0.0.1", packet.destination.port))
        route(packet)

    net.internet.transmit = forward  # type: ignore[method-assign]
    async with net.server(), open_in("desk") as desk:
        await desk.wait_registered()
        await trio.sleep(5.0)
        nat, notes = desk.status().nat, desk.status().notes
        assert (nat.mapping, nat.udp) == (Mapping.UNKNOWN, Udp.OPEN)
        assert [note for note in notes if "172.17.0.1" in note]


async def test_a_server_behind_a_port_forward_is_asked_at_the_address_that_was_dialed(
    net: SimulatedNetwork, open_in: OpenNode
) -> None:
    """It knows its private address alone, and a node that believed it would call UDP blocked."""
    net.server_host.change_addresses("10.0.0.5")
    route = net.internet.transmit

    def forward(packet: MemoryPacket) -> None:
        if packet.destination.host == "25.0.0.1":
            packet = replace(packet, destination=packet.destination._replace(host="10.0.0.5"))
        elif packet.source.host == "10.0.0.5":
            packet = replace(packet, source=packet.source._replace(host="25.0.0.1"))
        route(packet)

    net.internet.transmit = forward  # type: ignore[method-assign]
    inner = Endpoint("10.0.0.5", 8443)
    ports = tuple(inner._replace(port=port) for port in (3478, 3479))
    async with net.server(listen=inner, udp=ports, http=None), open_in("desk") as desk:
        await desk.wait_registered()
        await trio.sleep(2.0)
        assert desk.program.nat_discovery.own == (Endpoint("25.0.0.1", 3478), Endpoint("25.0.0.1", 3479))
        assert desk.status().nat.udp is Udp.OPEN
