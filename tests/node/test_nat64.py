"""A node that has IPv6 alone, behind a NAT64; its server and its peer have IPv4 alone. In an internet in memory."""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from typing import TYPE_CHECKING

import trio

from tunnel.model.endpoint import Endpoint
from tunnel.model.nat import Mapping, Udp
from tunnel.verify.memory.packet import Fate

if TYPE_CHECKING:
    from tests.node.conftest import OpenNode, SimulatedNetwork

    from tunnel.verify.memory.internet import MemoryInternet
    from tunnel.verify.memory.packet import MemoryPacket

PHONE = "2001:db8:7::1"
OUTSIDE = "25.99.0.1"
PREFIX = int(ipaddress.IPv6Address("2001:db8:64::"))


class Nat64:
    """RFC 6146 in a nutshell: endpoint-independent mapping, address and port-dependent filtering, UDP and streams."""

    def __init__(self, internet: MemoryInternet) -> None:
        self._internet = internet
        self._route = internet.transmit
        self._spoken_to: set[tuple[int, Endpoint]] = set()
        internet.transmit = self.transmit  # type: ignore[method-assign]

    def transmit(self, packet: MemoryPacket) -> None:
        source, destination = packet.source, packet.destination
        if source.host == PHONE:
            inner = int(ipaddress.IPv6Address(destination.host)) - PREFIX
            if not 0 <= inner < 2**32:
                self._internet.settle(packet, Fate.UNROUTABLE)
                return
            remote = Endpoint(str(ipaddress.IPv4Address(inner)), destination.port)
            self._spoken_to.add((source.port, remote))
            self._route(replace(packet, source=Endpoint(OUTSIDE, source.port), destination=remote))
        elif destination.host == OUTSIDE:
            if (destination.port, source) in self._spoken_to:
                shown = Endpoint(
                    str(ipaddress.IPv6Address(PREFIX + int(ipaddress.IPv4Address(source.host)))), source.port
                )
                self._route(replace(packet, source=shown, destination=Endpoint(PHONE, destination.port)))
        else:
            self._route(packet)


async def test_a_phone_with_ipv6_alone_reaches_an_ipv4_server_by_its_literal_and_an_ipv4_peer_directly(
    net: SimulatedNetwork, open_in: OpenNode
) -> None:
    """Many mobile networks are so. The name server translates names; literals and candidates are ours to translate."""
    Nat64(net.internet)
    net.internet.names["ipv4only.arpa"] = ("192.0.0.170", "2001:db8:64::c000:aa")
    net.hosts["phone"] = net.internet.add_host("phone", PHONE)
    async with net.server(), open_in("phone") as phone, open_in("desk") as desk:
        with trio.fail_after(30.0):
            await phone.wait_registered()
            await desk.wait_registered()
            peer = await phone.connect("desk")
            while (path := peer.status().path) is None or path.kind != "direct":
                await peer.send_datagram(b"x")
                await trio.sleep(0.1)
        assert path.endpoint is not None
        assert str(path.endpoint).startswith("[2001:db8:64::")
        nat = phone.status().nat
        assert (nat.mapping, nat.udp) == (Mapping.ENDPOINT_INDEPENDENT, Udp.OPEN)
        found = await phone.program.check_network()
        assert found.nat64 == ("2001:db8:64::/96",)
        assert [endpoint.host for endpoint in found.survey.reflexive] == [OUTSIDE]
        assert found.ipv6.is_reached is None, "nobody with IPv6 was asked"
