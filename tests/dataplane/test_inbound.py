"""The way in: whose a datagram is, what opens, and that a stranger changes no more than a counter."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from tests.dataplane.flows import DIRECT, Life, agree, open_flow

from tunnel.crypto.sealing import Sealer
from tunnel.dataplane.circuit_table import CircuitTable
from tunnel.dataplane.flow import Flow
from tunnel.dataplane.flow_index import FlowIndex
from tunnel.dataplane.inbound import Inbound
from tunnel.dataplane.key_slots import Keys
from tunnel.dataplane.mux import Mux
from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import MalformedFrame, NotAuthentic
from tunnel.model.way import RELAY, Way
from tunnel.verify.memory.machine import MemoryEntropy
from tunnel.wire.circuits import encode_passed
from tunnel.wire.frames import HEADER, Header, Kind
from tunnel.wire.session_packets import Echo, Farewell, encode_control
from tunnel.wire.stun import binding_request, encode_stun

REMOTE = DIRECT.remote or Endpoint("", 0)
SERVER = Endpoint("25.0.0.1", 3478)
CIRCUIT = Way(0, SERVER, 77)
KEY_LIFE = 180.0


class Owner:
    """Takes probes, or raises what it was told to."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.taken: list[tuple[Header, Way]] = []
        self.failures: list[Exception] = []

    def handle_untrusted(self, header: Header, datagram: bytes, way: Way) -> None:
        if self.error is not None:
            raise self.error
        self.taken.append((header, way))

    def fail(self, error: Exception) -> None:
        self.failures.append(error)


@dataclass
class Desk:
    """A node's way in with one flow, and everything around it written down."""

    delivered: list[list[bytes]] = field(default_factory=list)
    stun: list[tuple[int, bytes, Endpoint]] = field(default_factory=list)
    relayed: list[bytes] = field(default_factory=list)
    error: Exception | None = None
    """Raised by whoever takes data."""
    table: CircuitTable = field(default_factory=CircuitTable)
    index: FlowIndex = field(default_factory=lambda: FlowIndex(MemoryEntropy(random.Random(1))))
    flow: Flow = field(init=False)
    life: Life = field(init=False)
    keys: Keys = field(init=False)
    inbound: Inbound = field(init=False)

    def __post_init__(self) -> None:
        desk = self

        class Stun:
            def handle_untrusted(self, socket: int, datagram: bytes, remote: Endpoint) -> None:
                desk.stun.append((socket, datagram, remote))

        class Relay:
            def handle_untrusted(self, datagram: bytes, remote: Endpoint) -> None:
                desk.relayed.append(datagram)

        mux = Mux(self._take)
        self.inbound = Inbound(self.index, mux, self.table, key_life=KEY_LIFE, stun=[Stun()], relay=Relay())
        self.flow, self.life = open_flow(self.index)
        self.flow.wanted_at = 0.0
        self.flow.received.due = float("inf")
        self.keys = agree(self.flow, self.index.draw(self.flow), 8)

    def _take(self, flow: Flow, packets: Sequence[bytes]) -> None:
        if self.error is not None:
            raise self.error
        assert flow is self.flow
        self.delivered.append(list(packets))

    def sealed(self, *plaintexts: bytes, kind: Kind = Kind.DATA, counter: int = 0) -> list[bytes]:
        """As the peer seals under the current keys."""
        sealer = Sealer(bytes(31) + b"\x01")
        sealer.counter = counter
        return [sealer.seal(kind, self.keys.own_index, plaintext) for plaintext in plaintexts]

    def receive(self, *datagrams: bytes, way: Way = DIRECT, now: float = 0.5) -> None:
        self.inbound.dispatch_untrusted(datagrams, way, now)

    @property
    def counts(self) -> tuple[int, int, int, int]:
        counts = self.inbound.counts
        return counts.malformed, counts.unknown_index, counts.not_authentic, counts.failed


@pytest.fixture
def desk() -> Desk:
    return Desk()


def probe_for(index: int, kind: int = Kind.PROBE) -> bytes:
    return HEADER.pack(kind, 0, 0, index, 3) + bytes(16)


def test_a_batch_of_one_flow_is_delivered_at_once_and_told_once(desk: Desk) -> None:
    desk.inbound.receive(0, [(datagram, REMOTE) for datagram in desk.sealed(b"one", b"two", b"three")], 0.5)
    assert desk.delivered == [[b"one", b"two", b"three"]]
    assert desk.life.told == [("heard", DIRECT, 0.5)]
    received = desk.flow.received
    assert (received.by_udp, received.by_link, received.came, received.counted) == (11, 0, 3, 3)
    assert (desk.flow.rx_bytes, desk.flow.used) == (11, 0.5)
    assert desk.counts == (0, 0, 0, 0)


def test_of_two_ways_in_one_batch_each_is_told_and_the_order_is_kept(desk: Desk) -> None:
    elsewhere = Endpoint("25.0.0.10", 10)
    one, two, three = desk.sealed(b"one", b"two", b"three")
    desk.inbound.receive(0, [(one, REMOTE), (two, elsewhere), (three, REMOTE)], 0.5)
    assert desk.delivered == [[b"one"], [b"two"], [b"three"]]
    assert desk.life.told == [("heard", way, 0.5) for way in (DIRECT, Way(0, elsewhere), DIRECT)]


def test_a_control_packet_takes_effect_between_the_data_before_it_and_behind_it(desk: Desk) -> None:
    (one,), (echo,), (two,) = (
        desk.sealed(b"one"),
        desk.sealed(encode_control(Echo(bytes(8))), kind=Kind.CONTROL, counter=1),
        desk.sealed(b"two", counter=2),
    )
    desk.receive(one, echo, two)
    heard = ("heard", DIRECT, 0.5)
    assert desk.delivered == [[b"one"], [b"two"]]
    assert desk.life.told == [heard, heard, Echo(bytes(8)), heard]


def test_over_the_link_bytes_are_counted_apart(desk: Desk) -> None:
    desk.receive(*desk.sealed(b"one", b"two"), way=RELAY)
    received = desk.flow.received
    assert (received.by_udp, received.by_link, received.came) == (0, 6, 0)


def test_a_replay_and_a_turned_bit_change_a_count_and_nothing_else(desk: Desk) -> None:
    one, two = desk.sealed(b"one", b"two")
    desk.receive(one, one, two[:-1] + bytes([two[-1] ^ 1]), two[:31])
    assert desk.delivered == [[b"one"]]
    assert desk.counts == (1, 0, 2, 0)


def test_what_only_strangers_sent_is_told_to_nobody(desk: Desk) -> None:
    desk.receive(HEADER.pack(Kind.DATA, 0, 0, desk.keys.own_index, 0) + bytes(32))
    assert desk.life.told == []
    assert desk.flow.received.came == 0


def test_keys_that_have_ended_open_nothing(desk: Desk) -> None:
    desk.receive(*desk.sealed(b"late"), now=KEY_LIFE + 0.1)
    assert (desk.delivered, desk.counts) == ([], (0, 0, 1, 0))


def test_where_direct_paths_are_forbidden_what_comes_directly_is_not_heard(desk: Desk) -> None:
    desk.flow.is_direct_allowed = False
    one, two, three = desk.sealed(b"one", b"two", b"three")
    desk.receive(one)
    desk.receive(two, way=CIRCUIT)
    desk.receive(three, way=RELAY)
    assert desk.delivered == [[b"two"], [b"three"]]


def test_the_first_packet_under_the_next_keys_confirms_them(desk: Desk) -> None:
    before, desk.flow.keys.next, desk.flow.keys.current = desk.keys, desk.keys, None
    desk.receive(*desk.sealed(b"one", b"two"))
    assert desk.flow.keys.current is before
    assert desk.life.told == ["confirmed", ("heard", DIRECT, 0.5)]


def test_data_is_owed_no_answer_once_something_came_in(desk: Desk) -> None:
    desk.keys.owed = 0.1
    desk.receive(*desk.sealed(encode_control(Farewell()), kind=Kind.CONTROL))
    assert desk.keys.owed == float("inf")


def test_data_makes_the_peer_wanted_and_is_looked_at_when_that_is_due(desk: Desk) -> None:
    desk.flow.received.due = 5.0
    one, two = desk.sealed(b"one", b"two")
    desk.receive(one, now=4.9)
    desk.receive(two, now=5.0)
    assert [told for told in desk.life.told if isinstance(told, str)] == ["want", "want", "got_data"]


def test_a_datagram_goes_to_the_owner_of_its_index_with_its_header(desk: Desk) -> None:
    owner, other = Owner(), Owner()
    desk.index.claim(Kind.PROBE, 7, owner)
    desk.index.claim(Kind.PROBE, 8, other)
    desk.receive(probe_for(7))
    assert owner.taken == [(Header(Kind.PROBE, 0, 0, 7, 3), DIRECT)]
    assert other.taken == []


def test_of_two_owners_of_one_index_the_keys_decide(desk: Desk) -> None:
    stranger, garbler, owner = Owner(NotAuthentic()), Owner(MalformedFrame()), Owner()
    for each in (stranger, garbler, owner):
        desk.index.claim(Kind.HANDSHAKE, 7, each)
    desk.receive(probe_for(7, Kind.HANDSHAKE))
    assert len(owner.taken) == 1
    assert desk.counts == (1, 0, 1, 0)


@pytest.mark.parametrize("size", range(16))
@pytest.mark.parametrize("kind", [Kind.DATA, Kind.RELAYED])
def test_what_is_shorter_than_a_header_is_malformed(desk: Desk, size: int, kind: int) -> None:
    desk.inbound.receive(0, [(probe_for(7, kind)[:size], REMOTE)], 0.5)
    assert desk.counts == (1, 0, 0, 0)


@pytest.mark.parametrize("kind", [0x00, 0x01, 0x02, 0x0F, 0x15, 0x40, 0xFF])
def test_a_kind_that_nobody_knows_is_malformed(desk: Desk, kind: int) -> None:
    desk.receive(probe_for(7, kind))
    assert desk.counts == (1, 0, 0, 0)


@pytest.mark.parametrize("kind", [Kind.DATA, Kind.CONTROL, Kind.PROBE, Kind.HANDSHAKE])
def test_an_index_that_nobody_has_is_counted(desk: Desk, kind: Kind) -> None:
    desk.receive(probe_for(7, kind))
    assert desk.counts == (0, 1, 0, 0)


def test_stun_goes_to_its_takers_and_never_over_a_relay(desk: Desk) -> None:
    message = encode_stun(binding_request(bytes(12)))
    desk.inbound.receive(1, [(message, REMOTE)], 0.5)
    assert desk.stun == [(1, message, REMOTE)]
    desk.receive(message, way=RELAY)
    desk.receive(message, way=CIRCUIT)
    assert len(desk.stun) == 1
    assert desk.counts == (2, 0, 0, 0)


def test_behind_a_circuit_s_head_is_a_datagram_of_the_circuit_s_way(desk: Desk) -> None:
    desk.table.relays, desk.table.ways[77] = (SERVER,), CIRCUIT
    desk.inbound.receive(0, [(encode_passed(77, datagram), SERVER) for datagram in desk.sealed(b"one", b"two")], 0.5)
    assert desk.delivered == [[b"one", b"two"]]
    assert desk.life.told == [("heard", CIRCUIT, 0.5)]


def test_what_is_not_from_the_relay_or_of_no_circuit_is_the_relay_taker_s_affair(desk: Desk) -> None:
    desk.table.relays, desk.table.ways[77] = (SERVER,), CIRCUIT
    (one,) = desk.sealed(b"one")
    for number, remote in ((77, REMOTE), (78, SERVER)):
        desk.inbound.receive(0, [(encode_passed(number, one), remote)], 0.5)
    assert len(desk.relayed) == 2
    assert desk.delivered == []


def test_a_relayed_datagram_inside_a_relayed_datagram_is_nobody_s(desk: Desk) -> None:
    desk.table.relays, desk.table.ways[77] = (SERVER,), CIRCUIT
    (one,) = desk.sealed(b"one")
    desk.inbound.receive(0, [(encode_passed(77, encode_passed(77, one)), SERVER)], 0.5)
    desk.receive(encode_passed(77, one), way=RELAY)
    assert (desk.delivered, desk.relayed, desk.counts) == ([], [], (2, 0, 0, 0))


def test_a_bug_that_a_datagram_finds_is_its_peer_s_trouble_alone(desk: Desk) -> None:
    owner, bug = Owner(RuntimeError("a bug")), RuntimeError("another")
    desk.index.claim(Kind.PROBE, 7, owner)
    desk.error = bug
    desk.receive(probe_for(7), *desk.sealed(b"one"), probe_for(7))
    assert owner.failures == [owner.error, owner.error]
    assert desk.life.failures == [bug]
    assert desk.counts == (0, 0, 0, 3)
