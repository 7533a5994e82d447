"""A node behind a NAT that keeps no port, in an internet in memory: what it announces is what others can reach."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import trio

from tunnel.model.candidate import CandidateKind
from tunnel.model.endpoint import Endpoint

if TYPE_CHECKING:
    from tests.node.conftest import OpenNode, SimulatedNetwork

    from tunnel.verify.memory.internet import MemoryInternet
    from tunnel.verify.memory.packet import MemoryPacket

INSIDE, OUTSIDE = "192.168.7.2", "25.9.0.1"
FIRST_PORT = 61000


class PortChanger:
    """A NAT: endpoint-independent mapping to ports of its own choice, address and port-dependent filtering."""

    name = "nat"

    def __init__(self, internet: MemoryInternet) -> None:
        self._internet = internet
        self._route = internet.transmit
        self._ports: dict[int, int] = {}
        self._spoken_to: set[tuple[int, Endpoint]] = set()
        self.left_by: set[tuple[int, Endpoint]] = set()
        """(inner port, destination) of each UDP datagram that went out."""
        internet.transmit = self.transmit  # type: ignore[method-assign]

    def transmit(self, packet: MemoryPacket) -> None:
        if packet.is_stream or INSIDE not in (packet.source.host, packet.destination.host):
            self._translate_in(packet)
        elif packet.source.host == INSIDE:
            inner = packet.source.port
            outer = self._ports.setdefault(inner, FIRST_PORT + len(self._ports))
            self.left_by.add((inner, packet.destination))
            self._spoken_to.add((outer, packet.destination))
            self._route(replace(packet, source=Endpoint(OUTSIDE, outer)))

    def _translate_in(self, packet: MemoryPacket) -> None:
        if packet.destination.host != OUTSIDE:
            self._route(packet)
            return
        for inner, outer in self._ports.items():
            if packet.destination.port == outer and (outer, packet.source) in self._spoken_to:
                self._route(replace(packet, destination=Endpoint(INSIDE, inner)))


async def test_the_announced_port_is_the_one_that_the_nat_gave_to_the_socket_of_the_data(
    net: SimulatedNetwork, open_in: OpenNode
) -> None:
    """STUN, punching and data leave by one socket, and what STUN saw is announced, not what the socket calls itself."""
    nat = PortChanger(net.internet)
    net.hosts["desk"] = net.internet.add_host("desk", INSIDE)
    async with net.server(), open_in("desk") as desk, open_in("laptop") as laptop:
        peer = await desk.connect("laptop")
        with trio.fail_after(10.0):
            await peer._connection.notifier.wait_until(lambda: peer.state == "connected")
        assert (await peer.ping()).path is not None
        card = desk.program.announcer.card
        assert card is not None
        reflexive = [each.endpoint for each in card.body.candidates if each.kind is CandidateKind.REFLEXIVE]
        assert reflexive == [Endpoint(OUTSIDE, FIRST_PORT)]
        there = laptop.peer("desk")
        assert there.path is not None
        assert there.path.endpoint == Endpoint(OUTSIDE, FIRST_PORT)
        server, there_host = net.server_host.addresses[0], net.hosts["laptop"].addresses[0]
        [socket] = {inner for inner, destination in nat.left_by if destination.host == there_host}
        asked = {
            destination.port for inner, destination in nat.left_by if (inner, destination.host) == (socket, server)
        }
        assert asked == {3478, 3479}
