"""The node's UDP sockets: numbers, ports, and that whatever comes in costs a count at most."""

from __future__ import annotations

import logging
import random
from typing import TYPE_CHECKING

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from tunnel.dataplane.circuit_table import CircuitTable
from tunnel.dataplane.flow_index import FlowIndex
from tunnel.dataplane.inbound import Inbound
from tunnel.dataplane.mux import Mux
from tunnel.dataplane.outbound import Exit
from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import DeviceError
from tunnel.model.way import RELAY, Way
from tunnel.network.datagrams import Segments, Transmit
from tunnel.node.udp_sockets import UdpSockets
from tunnel.verify.memory.datagrams import MemoryDatagramSocket
from tunnel.verify.memory.machine import MemoryEntropy
from tunnel.wire.circuits import encode_passed
from tunnel.wire.frames import HEADER, Header, Kind

if TYPE_CHECKING:
    from tests.node.conftest import OpenNode, SimulatedNetwork

    from tunnel.verify.memory.packet import Fate, MemoryPacket

SOMEWHERE = Way(0, Endpoint("66.6.6.6", 6666))


class Owner:
    """Takes what is for it."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []

    def handle_untrusted(self, header: Header, datagram: bytes, way: Way) -> None:
        self.taken.append(datagram)

    def fail(self, error: Exception) -> None:
        raise error


@pytest.fixture
def exits() -> dict[int, Exit]:
    return {}


@pytest.fixture
def udp(exits: dict[int, Exit]) -> UdpSockets:
    return UdpSockets(exits)


@pytest.fixture
def index() -> FlowIndex:
    return FlowIndex(MemoryEntropy(random.Random(1)))


class NoRelay:
    """Nobody asked for a circuit."""

    def handle_untrusted(self, datagram: bytes, remote: Endpoint) -> None:
        """Not of use."""


@pytest.fixture
def inbound(index: FlowIndex) -> Inbound:
    mux = Mux(lambda _, __: None)
    return Inbound(index, mux, CircuitTable(), key_life=1.0, stun=(), relay=NoRelay())


async def test_what_goes_over_a_circuit_goes_to_the_server_with_the_circuit_in_front(
    udp: UdpSockets, net: SimulatedNetwork
) -> None:
    server = await net.server_host.open_socket(Endpoint("25.0.0.1", 3478))
    await udp.open(net.internet.add_host("desk", "26.0.9.1"), 4242)
    assert udp.send(Way(0, server.local, 77), b"sealed")
    assert await server.receive_batch() == [(encode_passed(77, b"sealed"), Endpoint("26.0.9.1", 4242))]
    udp.close()


async def test_a_batch_leaves_by_the_exit_of_its_socket(
    udp: UdpSockets, exits: dict[int, Exit], net: SimulatedNetwork
) -> None:
    far = await net.server_host.open_socket(Endpoint("25.0.0.1", 3478))
    await udp.open(net.internet.add_host("desk", "26.0.9.1"), 4242)
    assert exits[0](Transmit(Way(0, far.local), [b"one", b"two", bytes(2000)])) == 2
    assert [datagram for datagram, _ in await far.receive_batch()] == [b"one", b"two"]
    udp.close()
    assert exits == {}


async def test_both_families_share_a_port(udp: UdpSockets, net: SimulatedNetwork) -> None:
    await udp.open(net.internet.add_host("both", "26.0.9.1", "2001:db8::9"), 0)
    assert {socket.local.port for socket in udp.sockets} == {udp.sockets[0].local.port}
    assert udp.families() == [(0, False), (1, True)]
    udp.close()


async def test_a_taken_port_is_an_error_that_names_it(udp: UdpSockets, net: SimulatedNetwork) -> None:
    host = net.internet.add_host("busy", "26.0.9.1")
    await host.open_socket(Endpoint("0.0.0.0", 4242))
    with pytest.raises(DeviceError, match="4242"):
        await udp.open(host, 4242)


async def test_an_ipv6_port_that_is_taken_leaves_ipv4(udp: UdpSockets, net: SimulatedNetwork) -> None:
    host = net.internet.add_host("busy", "26.0.9.1", "2001:db8::9")
    await host.open_socket(Endpoint("::", 4242))
    await udp.open(host, 4242)
    assert udp.families() == [(0, False)]
    udp.close()


async def test_more_sockets_receive_until_they_are_closed_and_no_number_comes_again(
    udp: UdpSockets, inbound: Inbound, index: FlowIndex, net: SimulatedNetwork
) -> None:
    host, stranger = net.internet.add_host("many", "26.0.9.1"), net.internet.add_host("far", "26.0.9.2")
    owner, far = Owner(), Endpoint("26.0.9.2", 4242)
    index.claim(Kind.PROBE, 7, owner)
    with pytest.raises(DeviceError):
        await udp.open_extra()
    await udp.open(host, 0)
    source, stays = await stranger.open_socket(far), udp.families()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(udp.receive_all, inbound)
        await trio.sleep(0.1)
        first, second = await udp.open_extra(), await udp.open_extra()
        assert udp.families() == stays
        assert udp.send(Way(second, far), b"out", None)
        ((_, seen),) = await source.receive_batch()
        source.send_nowait(HEADER.pack(Kind.PROBE, 0, 0, 7, 0) + bytes(16), seen)
        await trio.sleep(0.1)
        assert len(owner.taken) == 1
        udp.close_extra(second)
        udp.close_extra(second)
        assert not udp.send(Way(second, far), b"out", None)
        assert await udp.open_extra() not in (first, second)
        nursery.cancel_scope.cancel()
    udp.close()
    assert not udp.send(Way(first, far), b"out", None)


async def test_what_the_kernel_has_not_sent_counts_on_all_sockets(
    udp: UdpSockets, inbound: Inbound, net: SimulatedNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A path may begin at a socket of a punch for as long as it lives."""
    monkeypatch.setattr(MemoryDatagramSocket, "unsent_bytes", lambda _: 1000)
    await udp.open(net.internet.add_host("both", "26.0.9.1", "2001:db8::9"), 0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(udp.receive_all, inbound)
        await trio.sleep(0.1)
        assert udp.unsent_bytes() == 2000
        number = await udp.open_extra()
        assert udp.unsent_bytes() == 3000
        udp.close_extra(number)
        assert udp.unsent_bytes() == 2000
        nursery.cancel_scope.cancel()
    udp.close()


async def test_whatever_comes_in_a_datagram_two_connected_nodes_go_on(
    net: SimulatedNetwork, open_in: OpenNode, caplog: pytest.LogCaptureFixture
) -> None:
    """Junk, and what begins well, for every index that is in use, by UDP and by the relay; and recordings, damaged."""
    async with net.server(), open_in("desk") as desk, open_in("laptop") as laptop:
        peer = await desk.connect("laptop")
        await peer.ping()
        program = desk.program
        in_use = sorted(program._indices.indices())
        assert len(in_use) >= 3
        ways = [RELAY, SOMEWHERE, Way(0, Endpoint("26.0.0.2", laptop.program.datagrams.sockets[0].local.port))]
        headers = st.builds(
            HEADER.pack,
            st.sampled_from([*Kind, 0, 255]),
            st.integers(0, 255),
            st.integers(0, 255),
            st.one_of(st.sampled_from(in_use), st.integers(0, 2**32 - 1)),
            st.integers(0, 2**64 - 1),
        )
        bodies = st.one_of(st.binary(max_size=64), st.integers(0, 65500).map(bytes))

        @settings(max_examples=500)
        @given(
            st.one_of(bodies, st.builds(bytes.__add__, headers, bodies)), st.sampled_from(ways), st.integers(0, 1500)
        )
        def receive(datagram: bytes, way: Way, segment_size: int) -> None:
            now = trio.current_time()
            if way.remote is None:
                program.inbound.receive_relayed((datagram,), now)
            else:
                program.inbound.receive(way.socket, (Segments(datagram, way.remote, segment_size),), now)

        states = len(program._indices)
        receive()
        assert program.inbound.counts.failed == 0
        assert program.inbound.counts.not_authentic > 0
        assert len(program._indices) == states
        assert len(program.peer_table) == 1
        assert (await peer.ping()).rtt > 0
        assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_a_datagram_that_a_bit_was_turned_in_is_nobody_s(net: SimulatedNetwork, open_in: OpenNode) -> None:
    """Everything that really travels between two nodes, once more with one bit turned, before the true one comes."""
    async with net.server(), open_in("desk") as desk, open_in("laptop") as laptop:
        recorded: list[bytes] = []

        def record(packet: MemoryPacket, _: Fate) -> None:
            if not packet.is_stream and (packet.source.host, packet.destination.host) == ("26.0.0.1", "26.0.0.2"):
                recorded.append(packet.payload)

        net.internet.watch = record
        peer = await desk.connect("laptop")
        at_laptop = await laptop.connect("desk")
        for _ in range(20):
            await peer.send_datagram(b"hello")
            await trio.sleep(0.1)
        assert len(recorded) > 20
        received = laptop.status().peers[0].rx_bytes
        route = laptop.program.peer_table.find("desk").flow.route
        stranger = Endpoint("66.6.6.6", 6)
        for number, datagram in enumerate(recorded):
            for place in (number % len(datagram), len(datagram) - 1, 0, 4, 12):
                turned = bytearray(datagram)
                turned[place] ^= 1 << number % 8
                laptop.program.inbound.receive(0, (Segments(bytes(turned), stranger),), trio.current_time())
        assert laptop.status().peers[0].rx_bytes == received
        assert laptop.program.peer_table.find("desk").flow.route == route
        assert laptop.program.inbound.counts.failed == 0
        assert at_laptop.state == "connected"
