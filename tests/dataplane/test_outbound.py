"""The way out: what is sealed, what leaves by which exit, what waits, and what the peer connection is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from tests.dataplane.flows import DIRECT, agree, open_flow

from tunnel.crypto.sealing import Opener
from tunnel.dataplane.outbound import WANT_GAP, Outbound
from tunnel.model.endpoint import Endpoint
from tunnel.model.way import RELAY, Way
from tunnel.network.ports import Transmit
from tunnel.wire.circuits import encode_passed
from tunnel.wire.frames import Kind, decode_header

CIRCUIT = Way(0, Endpoint("25.0.0.1", 3478), 77)
PACKETS = (b"one", b"two", b"three")


@dataclass
class Exits:
    """Keeps what leaves, and the order."""

    left: list[Transmit] = field(default_factory=list)
    noted: list[bytes] = field(default_factory=list)
    takes: bool = True
    outbound: Outbound = field(init=False)

    def __post_init__(self) -> None:
        self.outbound = Outbound({0: self.send, RELAY.socket: self.send}, self.note)

    def send(self, transmit: Transmit) -> int:
        self.left.append(transmit)
        return len(transmit.buffers) if self.takes else 0

    def note(self, datagrams: Sequence[bytes]) -> None:
        self.noted.extend(datagrams)


@pytest.fixture
def exits() -> Exits:
    return Exits()


def test_a_batch_is_sealed_in_order_and_leaves_as_one(exits: Exits) -> None:
    flow, life = open_flow()
    keys = agree(flow, 7, 8)
    flow.route = (DIRECT,)
    exits.outbound.send_data(flow, PACKETS, 5.0)
    ((way, buffers, _, _),) = exits.left
    assert way == DIRECT
    opener = Opener(bytes(32))
    headers = [decode_header(datagram) for datagram in buffers]
    assert [(header.kind, header.receiver_index, header.counter) for header in headers] == [
        (Kind.DATA, 8, counter) for counter in range(3)
    ]
    assert tuple(opener.open(datagram, counter) for counter, datagram in enumerate(buffers)) == PACKETS
    assert (flow.tx_bytes, flow.used, keys.used, keys.owed) == (11, 5.0, 5.0, 5.0)
    assert life.told == ["first_data", "want", ("sent", 5.0, True)]
    assert exits.outbound.unsent == 0


def test_each_way_of_the_route_gets_the_same_datagrams_a_circuit_behind_its_head(exits: Exits) -> None:
    flow, _ = open_flow()
    agree(flow, 7, 8)
    flow.route = (DIRECT, CIRCUIT, RELAY)
    exits.outbound.send(flow, Kind.DATA, PACKETS, 0.0)
    direct, circuit, relay = exits.left
    assert circuit.buffers == [encode_passed(77, datagram) for datagram in direct.buffers]
    assert (relay.way, relay.buffers, relay.handle) == (RELAY, direct.buffers, flow.node.handle)
    assert exits.noted == [*direct.buffers, *direct.buffers], "all that leaves by UDP, as it is sealed"


def test_without_a_route_packets_wait_until_they_are_flushed(exits: Exits) -> None:
    flow, life = open_flow()
    agree(flow, 7, 8)
    exits.outbound.send_data(flow, PACKETS, 0.0)
    assert (exits.left, flow.tx_bytes) == ([], 0)
    flow.route = (DIRECT,)
    exits.outbound.flush(flow, 1.0)
    assert [len(transmit.buffers) for transmit in exits.left] == [3]
    assert life.told[-1] == ("sent", 1.0, True)
    exits.outbound.flush(flow, 1.0)
    assert len(exits.left) == 1


def test_without_keys_packets_wait_and_keys_are_wanted(exits: Exits) -> None:
    flow, life = open_flow()
    flow.route = (RELAY,)
    exits.outbound.send(flow, Kind.CONTROL, (b"\x03",), 0.0)
    exits.outbound.send_data(flow, PACKETS, 0.0)
    assert exits.left == []
    assert life.told.count("want_keys") == 2
    agree(flow, 7, 8)
    exits.outbound.flush(flow, 0.0)
    kinds = [[decode_header(datagram).kind for datagram in transmit.buffers] for transmit in exits.left]
    assert kinds == [[Kind.CONTROL], [Kind.DATA] * 3], "oldest first"


def test_control_packets_are_owed_no_answer_and_are_no_use(exits: Exits) -> None:
    flow, life = open_flow()
    keys = agree(flow, 7, 8)
    flow.route = (DIRECT,)
    exits.outbound.send(flow, Kind.CONTROL, (b"",), 5.0)
    assert keys.owed == float("inf")
    assert flow.used == float("-inf")
    assert life.told[-1] == ("sent", 5.0, False)


def test_the_peer_is_wanted_once_a_second_at_most(exits: Exits) -> None:
    flow, life = open_flow()
    flow.wanted_at = 5.0
    exits.outbound.send_data(flow, PACKETS, 5.0 + WANT_GAP)
    assert "want" not in life.told
    exits.outbound.send_data(flow, PACKETS, 5.1 + WANT_GAP)
    assert life.told.count("want") == 1
    assert life.told.count("first_data") == 1


def test_what_no_exit_takes_is_counted(exits: Exits) -> None:
    flow, _ = open_flow()
    agree(flow, 7, 8)
    exits.takes = False
    flow.route = (DIRECT, Way(99, DIRECT.remote))
    exits.outbound.send(flow, Kind.DATA, PACKETS, 0.0)
    assert exits.outbound.unsent == 6
