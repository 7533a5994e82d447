"""The way out: what is sealed, what leaves by which exit, what waits, and what the peer connection is told."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from tests.dataplane.flows import DIRECT, agree, open_flow
from tests.dataplane.frames import Flow as Segments

from tunnel.crypto.sealing import Opener
from tunnel.dataplane.outbound import WANT_GAP, Outbound
from tunnel.model.endpoint import Endpoint
from tunnel.model.way import RELAY, Way
from tunnel.network.datagrams import MAX_RECEIVED, Transmit
from tunnel.wire.circuits import HEAD_BYTES, encode_passed
from tunnel.wire.frames import BASE_SIZE, HEADER_BYTES, TAG_BYTES, Header, Kind, decode_header
from tunnel.wire.records import APPLICATION, MAX_RECORD, encode_bundle

CIRCUIT = Way(0, Endpoint("25.0.0.1", 3478), 77)
APPLICATIONS = tuple(APPLICATION + text for text in (b"one", b"two", b"three"))
"""Records of their own, each of one fragment."""


@dataclass
class Exits:
    """Keeps what leaves, datagrams whole, and the order."""

    left: list[Transmit] = field(default_factory=list)
    """`buffers` has one for each datagram."""
    noted: list[tuple[bytes, int]] = field(default_factory=list)
    takes: bool = True
    outbound: Outbound = field(init=False)

    def __post_init__(self) -> None:
        self.outbound = Outbound({0: self.send, RELAY.socket: self.send}, self.note)

    def send(self, transmit: Transmit) -> int:
        datagrams = [b"".join(parts) for parts in transmit.datagrams()]
        self.left.append(transmit._replace(buffers=datagrams, parts=1))
        return len(datagrams) if self.takes else 0

    def note(self, sealed: memoryview, piece: int) -> None:
        self.noted.append((bytes(sealed), piece))

    def datagrams(self, way: Way) -> list[bytes]:
        """What left by this way, in order."""
        return [bytes(datagram) for transmit in self.left if transmit.way == way for datagram in transmit.buffers]


@pytest.fixture
def exits() -> Exits:
    return Exits()


def test_a_batch_is_sealed_in_order_and_told_once(exits: Exits) -> None:
    flow, life = open_flow()
    keys = agree(flow, 7, 8)
    flow.route = (DIRECT,)
    exits.outbound.send_data(flow, APPLICATIONS, 5.0)
    datagrams = exits.datagrams(DIRECT)
    opener = Opener(bytes(32))
    headers = [decode_header(datagram) for datagram in datagrams]
    assert headers == [Header(Kind.DATA, 0, 1, 8, counter) for counter in range(3)]
    assert tuple(opener.open(datagram, counter) for counter, datagram in enumerate(datagrams)) == APPLICATIONS
    assert (flow.tx_bytes, flow.used, keys.used, keys.owed) == (14, 5.0, 5.0, 5.0)
    assert life.told == ["first_data", "want", ("sent", 5.0, True)]
    assert exits.outbound.unsent == 0


def test_small_frames_of_a_batch_share_a_record(exits: Exits) -> None:
    flow, life = open_flow()
    agree(flow, 7, 8)
    flow.route = (DIRECT,)
    frames = [b"\x45one", b"\x60two"]
    exits.outbound.send_data(flow, frames, 5.0)
    (datagram,) = exits.datagrams(DIRECT)
    assert Opener(bytes(32)).open(datagram, 0) == encode_bundle(frames)
    assert life.told == ["first_data", "want", ("sent", 5.0, True)]


def test_each_way_of_the_route_gets_the_same_datagrams_a_circuit_behind_its_head(exits: Exits) -> None:
    flow, _ = open_flow()
    agree(flow, 7, 8)
    flow.route = (DIRECT, CIRCUIT, RELAY)
    exits.outbound.send(flow, Kind.DATA, APPLICATIONS, 0.0)
    direct = exits.datagrams(DIRECT)
    assert exits.datagrams(CIRCUIT) == [encode_passed(77, datagram) for datagram in direct]
    assert exits.datagrams(RELAY) == direct
    assert {transmit.handle for transmit in exits.left} == {flow.node.handle}
    noted = [(datagram[HEADER_BYTES:], BASE_SIZE - HEADER_BYTES) for datagram in direct for _ in range(2)]
    assert exits.noted == noted, "all that leaves by UDP, as it is sealed"


def test_a_large_record_is_sealed_once_and_cut_for_each_way_by_udp(exits: Exits) -> None:
    flow, _ = open_flow()
    agree(flow, 7, 8)
    flow.route = (DIRECT, CIRCUIT, RELAY)
    frame = b"\x45" + bytes(range(256)) * 20
    exits.outbound.send(flow, Kind.DATA, [frame], 0.0)
    direct, circuit, relay = exits.left
    fragments = -(-(len(frame) + TAG_BYTES) // (BASE_SIZE - HEADER_BYTES))
    assert [decode_header(bytes(each)) for each in direct.buffers] == [
        Header(Kind.DATA, number, fragments, 8, 0) for number in range(fragments)
    ]
    assert {len(datagram) for datagram in direct.buffers[:-1]} == {BASE_SIZE}
    assert 0 < len(direct.buffers[-1]) <= BASE_SIZE
    assert list(circuit.buffers) == [encode_passed(77, bytes(datagram)) for datagram in direct.buffers]
    assert (direct.segment_size, circuit.segment_size) == (BASE_SIZE, BASE_SIZE + HEAD_BYTES)
    (whole,) = relay.buffers
    assert Opener(bytes(32)).open(bytes(whole), 0) == frame
    assert whole[HEADER_BYTES:] == b"".join(datagram[HEADER_BYTES:] for datagram in direct.buffers)
    assert len(exits.noted) == 2


@pytest.mark.parametrize(
    ("sizes", "rows"),
    [
        ([100, 100, 100], [3]),
        ([100, 100, 60, 60], [3, 1]),
        ([100, 60, 100, 100], [2, 2]),
        ([60, 100, 100], [1, 2]),
        ([1, 1], [2]),
        ([1100] * 60, [55, 5]),
        ([100] * 70, [64, 6]),
        ([1100, BASE_SIZE, 1100], [1, 2, 1]),
    ],
)
@pytest.mark.parametrize("way", [DIRECT, CIRCUIT])
def test_records_of_one_datagram_each_leave_in_rows_that_one_call_sends(
    exits: Exits, way: Way, sizes: list[int], rows: list[int]
) -> None:
    """On a path with loss a superpacket becomes forty of them. All of a row have the same size but the last."""
    flow, _ = open_flow()
    agree(flow, 7, 8)
    flow.route = (way,)
    plaintexts = [APPLICATION + bytes([number]) * (size - 1) for number, size in enumerate(sizes)]
    exits.outbound.send(flow, Kind.DATA, plaintexts, 0.0)
    assert [len(transmit.buffers) for transmit in exits.left] == rows
    head, opener, opened = HEAD_BYTES if way is CIRCUIT else 0, Opener(bytes(32)), []
    for transmit in exits.left:
        *all_but_last, last = [len(datagram) for datagram in transmit.buffers]
        assert len(transmit.buffers) == 1 or set(all_but_last) == {transmit.segment_size}
        assert last <= (transmit.segment_size or last)
        assert sum((*all_but_last, last)) <= MAX_RECEIVED
        for datagram in transmit.buffers:
            assert bytes(datagram[:head]) == (encode_passed(77, b"") if head else b"")
            if decode_header(bytes(datagram[head:])).fragments == 1:
                opened.append(opener.open(bytes(datagram[head:]), decode_header(bytes(datagram[head:])).counter))
    assert opened == [plaintext for plaintext in plaintexts if len(plaintext) < BASE_SIZE]
    assert flow.tx_bytes == sum(sizes)


def test_a_record_has_as_many_fragments_as_the_loss_of_the_path_allows(exits: Exits) -> None:
    flow, _ = open_flow()
    agree(flow, 7, 8)
    flow.route = (DIRECT,)
    flow.record_size.bundled = 2
    frames = [b"\x45" + bytes(499)] * 20
    exits.outbound.send_data(flow, frames, 0.0)
    counts = [decode_header(datagram).fragments for datagram in exits.datagrams(DIRECT)]
    assert max(counts) == 2
    assert len(exits.left) == 5, "four frames fit a record of two fragments"


def test_a_superpacket_is_split_by_another_loss_than_small_packets_share_records_by(exits: Exits) -> None:
    flow, _ = open_flow()
    agree(flow, 7, 8)
    flow.route = (DIRECT,)
    flow.record_size.fragments, flow.record_size.bundled = 4, 1
    exits.outbound.send_data(flow, [Segments().superpacket(bytes(40_000), 1000)], 0.0)
    counts = [decode_header(datagram).fragments for datagram in exits.datagrams(DIRECT)]
    assert max(counts) == 4


def test_a_packet_that_no_record_holds_is_dropped_and_counted(exits: Exits) -> None:
    """With an MTU that somebody raised the interface gives packets of up to 65535 bytes. One ended the node."""
    flow, _ = open_flow()
    agree(flow, 7, 8)
    flow.route = (DIRECT, RELAY)
    exits.outbound.send_data(flow, [b"\x45" * (MAX_RECORD + 1), APPLICATIONS[0]], 5.0)
    assert exits.outbound.unsent == 1
    assert [len(exits.datagrams(way)) for way in flow.route] == [1, 1]
    exits.outbound.send_data(flow, [b"\x45" * MAX_RECORD], 5.0)
    assert exits.outbound.unsent == 1


def test_without_a_route_packets_wait_until_they_are_flushed(exits: Exits) -> None:
    flow, life = open_flow()
    agree(flow, 7, 8)
    exits.outbound.send_data(flow, APPLICATIONS, 0.0)
    assert (exits.left, flow.tx_bytes) == ([], 0)
    flow.route = (DIRECT,)
    exits.outbound.flush(flow, 1.0)
    assert len(exits.datagrams(DIRECT)) == 3
    assert life.told[-1] == ("sent", 1.0, True)
    exits.outbound.flush(flow, 1.0)
    assert len(exits.datagrams(DIRECT)) == 3


def test_without_keys_packets_wait_and_keys_are_wanted(exits: Exits) -> None:
    flow, life = open_flow()
    flow.route = (RELAY,)
    exits.outbound.send(flow, Kind.CONTROL, (b"\x03",), 0.0)
    exits.outbound.send_data(flow, APPLICATIONS, 0.0)
    assert exits.left == []
    assert life.told.count("want_keys") == 2
    agree(flow, 7, 8)
    exits.outbound.flush(flow, 0.0)
    kinds = [decode_header(datagram).kind for datagram in exits.datagrams(RELAY)]
    assert kinds == [Kind.CONTROL, *[Kind.DATA] * 3], "oldest first"


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
    exits.outbound.send_data(flow, APPLICATIONS, 5.0 + WANT_GAP)
    assert "want" not in life.told
    exits.outbound.send_data(flow, APPLICATIONS, 5.1 + WANT_GAP)
    assert life.told.count("want") == 1
    assert life.told.count("first_data") == 1


@pytest.mark.parametrize("has_keys", [True, False])
def test_messages_do_not_make_the_peer_wanted(exits: Exits, has_keys: bool) -> None:
    """Tallies go out also because of forged fragments: whoever sends these would keep the connection in use."""
    flow, life = open_flow()
    if has_keys:
        agree(flow, 7, 8)
    flow.route = (DIRECT,)
    exits.outbound.send(flow, Kind.CONTROL, (b"",), 5.0)
    assert "want" not in life.told


def test_what_no_exit_takes_is_counted(exits: Exits) -> None:
    flow, _ = open_flow()
    agree(flow, 7, 8)
    exits.takes = False
    flow.route = (DIRECT, Way(99, DIRECT.remote))
    exits.outbound.send(flow, Kind.DATA, APPLICATIONS, 0.0)
    assert exits.outbound.unsent == 6
