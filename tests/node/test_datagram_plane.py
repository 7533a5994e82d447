"""A datagram from anywhere costs a count at most."""

from __future__ import annotations

import logging
import random
from typing import TYPE_CHECKING

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from tunnel.dataplane.flow_index import FlowIndex
from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import DeviceError, MalformedFrame, NotAuthentic
from tunnel.model.way import RELAY, Way
from tunnel.node.datagram_plane import DatagramPlane
from tunnel.verify.memory.machine import MemoryEntropy
from tunnel.wire.circuits import encode_passed
from tunnel.wire.frames import HEADER, Kind
from tunnel.wire.stun import binding_request, encode_stun

if TYPE_CHECKING:
    from tests.node.conftest import OpenNode, SimulatedNetwork

    from tunnel.verify.memory.packet import Fate, MemoryPacket

SOMEWHERE = Way(0, Endpoint("66.6.6.6", 6666))


class Owner:
    """Takes what is for it, or raises what it was told to."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.taken: list[tuple[Kind, bytes]] = []
        self.failures: list[Exception] = []

    def handle_untrusted(self, kind: Kind, datagram: bytes, way: Way) -> None:
        if self.error is not None:
            raise self.error
        self.taken.append((kind, datagram))

    def fail(self, error: Exception) -> None:
        self.failures.append(error)


@pytest.fixture
def indices() -> FlowIndex:
    return FlowIndex(MemoryEntropy(random.Random(1)))


@pytest.fixture
def stun() -> list[bytes]:
    return []


@pytest.fixture
def plane(indices: FlowIndex, stun: list[bytes]) -> DatagramPlane:
    return DatagramPlane(indices, lambda socket, datagram, remote: stun.append(datagram))


def datagram_for(index: int, kind: int = Kind.DATA) -> bytes:
    return HEADER.pack(kind, 0, 0, index, 0) + bytes(16)


def test_a_datagram_goes_to_the_owner_of_its_index(plane: DatagramPlane, indices: FlowIndex) -> None:
    owner, other = Owner(), Owner()
    indices.claim(Kind.PROBE, 7, owner)
    indices.claim(Kind.PROBE, 8, other)
    plane.dispatch_untrusted(datagram_for(7, Kind.PROBE), SOMEWHERE)
    assert (len(owner.taken), other.taken) == (1, [])


def test_of_two_owners_of_one_index_the_keys_decide(plane: DatagramPlane, indices: FlowIndex) -> None:
    stranger, garbler, owner = Owner(NotAuthentic()), Owner(MalformedFrame()), Owner()
    for each in (stranger, garbler, owner):
        indices.claim(Kind.PROBE, 7, each)
    plane.dispatch_untrusted(datagram_for(7, Kind.PROBE), SOMEWHERE)
    assert len(owner.taken) == 1
    assert (plane.counts.not_authentic, plane.counts.malformed) == (1, 1)


def test_control_packets_come_under_the_index_of_data(plane: DatagramPlane, indices: FlowIndex) -> None:
    owner = Owner()
    index = indices.claim(Kind.DATA, None, owner)
    plane.dispatch_untrusted(datagram_for(index, Kind.CONTROL), SOMEWHERE)
    assert [kind for kind, _ in owner.taken] == [Kind.CONTROL]


@pytest.mark.parametrize("size", range(16))
def test_what_is_shorter_than_a_header_is_malformed(plane: DatagramPlane, size: int) -> None:
    plane.dispatch_untrusted(datagram_for(7)[:size], SOMEWHERE)
    assert plane.counts.malformed == 1


@pytest.mark.parametrize("kind", [Kind.RELAYED, 0x00, 0x01, 0x02, 0x0F, 0x15, 0x40, 0xFF])
def test_a_kind_that_does_not_come_by_itself_is_malformed(plane: DatagramPlane, kind: int) -> None:
    plane.dispatch_untrusted(datagram_for(7, kind), SOMEWHERE)
    assert plane.counts.malformed == 1


def test_an_index_that_nobody_has_is_counted(plane: DatagramPlane) -> None:
    plane.dispatch_untrusted(datagram_for(7), SOMEWHERE)
    assert plane.counts.unknown_index == 1


def test_stun_goes_to_the_survey_and_never_over_the_relay(plane: DatagramPlane, stun: list[bytes]) -> None:
    message = encode_stun(binding_request(bytes(12)))
    plane.dispatch_untrusted(message, SOMEWHERE)
    assert stun == [message]
    plane.dispatch_untrusted(message, RELAY)
    assert stun == [message]
    assert plane.counts.malformed == 1


def test_what_a_udp_relay_passes_on_goes_to_the_circuits_once(indices: FlowIndex) -> None:
    """A relayed datagram inside a relayed datagram is nobody's."""
    relayed: list[bytes] = []
    plane = DatagramPlane(indices, lambda *_: None, lambda datagram, remote: relayed.append(datagram))
    datagram = encode_passed(77, datagram_for(7))
    plane.dispatch_untrusted(datagram, SOMEWHERE)
    assert relayed == [datagram]
    plane.dispatch_untrusted(datagram, SOMEWHERE._replace(circuit=77))
    plane.dispatch_untrusted(datagram, RELAY)
    assert relayed == [datagram]
    assert plane.counts.malformed == 2


async def test_what_goes_over_a_circuit_goes_to_the_server_with_the_circuit_in_front(
    plane: DatagramPlane, net: SimulatedNetwork
) -> None:
    server = await net.server_host.open_socket(Endpoint("25.0.0.1", 3478))
    await plane.open(net.internet.add_host("desk", "26.0.9.1"), 4242)
    assert plane.send(Way(0, server.local, 77), b"sealed")
    assert await server.receive_batch() == [(encode_passed(77, b"sealed"), Endpoint("26.0.9.1", 4242))]
    plane.close()


def test_a_bug_that_a_datagram_finds_is_its_owner_s_trouble(plane: DatagramPlane, indices: FlowIndex) -> None:
    owner, bug = Owner(RuntimeError("a bug")), RuntimeError("a bug")
    owner.error = bug
    indices.claim(Kind.PROBE, 7, owner)
    plane.dispatch_untrusted(datagram_for(7, Kind.PROBE), SOMEWHERE)
    assert owner.failures == [bug]
    assert plane.counts.failed == 1


async def test_both_families_share_a_port(plane: DatagramPlane, net: SimulatedNetwork) -> None:
    await plane.open(net.internet.add_host("both", "26.0.9.1", "2001:db8::9"), 0)
    assert {socket.local.port for socket in plane.sockets} == {plane.sockets[0].local.port}
    assert plane.families() == [(0, False), (1, True)]
    plane.close()


async def test_a_taken_port_is_an_error_that_names_it(plane: DatagramPlane, net: SimulatedNetwork) -> None:
    host = net.internet.add_host("busy", "26.0.9.1")
    await host.open_socket(Endpoint("0.0.0.0", 4242))
    with pytest.raises(DeviceError, match="4242"):
        await plane.open(host, 4242)


async def test_an_ipv6_port_that_is_taken_leaves_ipv4(plane: DatagramPlane, net: SimulatedNetwork) -> None:
    host = net.internet.add_host("busy", "26.0.9.1", "2001:db8::9")
    await host.open_socket(Endpoint("::", 4242))
    await plane.open(host, 4242)
    assert plane.families() == [(0, False)]
    plane.close()


async def test_more_sockets_receive_until_they_are_closed_and_no_number_comes_again(
    plane: DatagramPlane, indices: FlowIndex, net: SimulatedNetwork
) -> None:
    host, stranger = net.internet.add_host("many", "26.0.9.1"), net.internet.add_host("far", "26.0.9.2")
    owner, far = Owner(), Endpoint("26.0.9.2", 4242)
    indices.claim(Kind.PROBE, 7, owner)
    with pytest.raises(DeviceError):
        await plane.open_extra()
    await plane.open(host, 0)
    source, stays = await stranger.open_socket(far), plane.families()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(plane.receive_all)
        await trio.sleep(0.1)
        first, second = await plane.open_extra(), await plane.open_extra()
        assert plane.families() == stays
        assert plane.send(Way(second, far), b"out", None)
        ((_, seen),) = await source.receive_batch()
        source.send_nowait(datagram_for(7, Kind.PROBE), seen)
        await trio.sleep(0.1)
        assert len(owner.taken) == 1
        plane.close_extra(second)
        plane.close_extra(second)
        assert not plane.send(Way(second, far), b"out", None)
        assert await plane.open_extra() not in (first, second)
        nursery.cancel_scope.cancel()
    plane.close()
    assert not plane.send(Way(first, far), b"out", None)


async def test_whatever_comes_in_a_datagram_two_connected_nodes_go_on(
    net: SimulatedNetwork, open_in: OpenNode, caplog: pytest.LogCaptureFixture
) -> None:
    """Junk, and what begins well, for every index that is in use, by UDP and by the relay; and recordings, damaged."""
    async with net.server(), open_in("desk") as desk, open_in("laptop") as laptop:
        peer = await desk.connect("laptop")
        await peer.ping()
        program = desk.program
        in_use = sorted({index for _, index in program._indices._owners})
        assert len(in_use) >= 3
        ways = [RELAY, SOMEWHERE, Way(0, Endpoint("26.0.0.2", laptop.program.datagrams.sockets[0].local.port))]
        headers = st.builds(
            HEADER.pack,
            st.sampled_from([*Kind, 0, 255]),
            st.integers(0, 255),
            st.integers(0, 65535),
            st.one_of(st.sampled_from(in_use), st.integers(0, 2**32 - 1)),
            st.integers(0, 2**64 - 1),
        )
        bodies = st.one_of(st.binary(max_size=64), st.integers(0, 65500).map(bytes))

        @settings(max_examples=500)
        @given(st.one_of(bodies, st.builds(bytes.__add__, headers, bodies)), st.sampled_from(ways))
        def receive(datagram: bytes, way: Way) -> None:
            program.datagrams.dispatch_untrusted(datagram, way)

        states = len(program._indices)
        receive()
        assert program.datagrams.counts.failed == 0
        assert program.datagrams.counts.not_authentic > 0
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
        route = laptop.program.peer_table.find("desk").paths.route
        for number, datagram in enumerate(recorded):
            for place in (number % len(datagram), len(datagram) - 1, 0, 4, 12):
                turned = bytearray(datagram)
                turned[place] ^= 1 << number % 8
                laptop.program.datagrams.dispatch_untrusted(bytes(turned), Way(0, Endpoint("66.6.6.6", 6)))
        assert laptop.status().peers[0].rx_bytes == received
        assert laptop.program.peer_table.find("desk").paths.route == route
        assert laptop.program.datagrams.counts.failed == 0
        assert at_laptop.state == "connected"
