"""The way in: whose a datagram is, what opens, and that a stranger changes no more than a counter."""

from __future__ import annotations

import pytest
from tests.dataplane.desk import CIRCUIT, KEY_LIFE, REMOTE, SERVER, Desk, Owner, probe_for
from tests.dataplane.flows import DIRECT

from tunnel.dataplane.flow import Received
from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import MalformedFrame, NotAuthentic
from tunnel.model.way import RELAY, Way
from tunnel.network.datagrams import Segments
from tunnel.wire.circuits import encode_passed
from tunnel.wire.frames import HEADER, Header, Kind
from tunnel.wire.session_packets import Echo, Farewell, encode_control
from tunnel.wire.stun import binding_request, encode_stun


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_a_batch_of_one_flow_is_delivered_in_order_and_told_once(desk: Desk) -> None:
    desk.receive(*desk.sealed(b"one", b"two", b"three"))
    assert desk.delivered == [b"one", b"two", b"three"]
    assert desk.life.told == [("heard", DIRECT, 0.5)]
    received = desk.flow.received
    assert (received.by_udp, received.by_link, received.came, received.counted) == (11, 0, 3, 3)
    assert (desk.flow.rx_bytes, desk.flow.used) == (11, 0.5)
    assert desk.counts == (0, 0, 0, 0)


def test_of_two_ways_in_one_batch_each_is_told_and_the_order_is_kept(desk: Desk) -> None:
    elsewhere = Endpoint("25.0.0.10", 10)
    one, two, three = desk.sealed(b"one", b"two", b"three")
    desk.inbound.receive(0, [Segments(one, REMOTE), Segments(two, elsewhere), Segments(three, REMOTE)], 0.5)
    assert desk.delivered == [b"one", b"two", b"three"]
    assert desk.life.told == [("heard", way, 0.5) for way in (DIRECT, Way(0, elsewhere), DIRECT)]


def test_a_control_packet_takes_effect_between_the_data_before_it_and_behind_it(desk: Desk) -> None:
    (one,), (echo,), (two,) = (
        desk.sealed(b"one"),
        desk.sealed(encode_control(Echo(bytes(8))), kind=Kind.CONTROL, counter=1),
        desk.sealed(b"two", counter=2),
    )
    desk.receive(one, echo, two)
    heard = ("heard", DIRECT, 0.5)
    assert desk.delivered == [b"one", b"two"]
    assert desk.life.told == [heard, heard, Echo(bytes(8))]


def test_each_batch_is_told_anew(desk: Desk) -> None:
    for each in desk.sealed(b"one", b"two"):
        desk.receive(each)
    assert desk.life.told == [("heard", DIRECT, 0.5)] * 2


def test_over_the_link_bytes_are_counted_apart(desk: Desk) -> None:
    desk.receive(*desk.sealed(b"one", b"two"), way=RELAY)
    received = desk.flow.received
    assert (received.by_udp, received.by_link, received.came) == (0, 6, 0)


def test_a_replay_and_a_turned_bit_change_a_count_and_nothing_else(desk: Desk) -> None:
    one, two = desk.sealed(b"one", b"two")
    desk.receive(one, one, two[:-1] + bytes([two[-1] ^ 1]), two[:31])
    assert desk.delivered == [b"one"]
    assert desk.counts == (0, 0, 3, 0)


def test_what_only_strangers_sent_is_told_to_nobody(desk: Desk) -> None:
    desk.receive(HEADER.pack(Kind.DATA, 0, 1, desk.keys.own_index, 0) + bytes(32))
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
    assert desk.delivered == [b"two", b"three"]


def test_the_first_packet_under_the_next_keys_confirms_them(desk: Desk) -> None:
    before, desk.flow.keys.next, desk.flow.keys.current = desk.keys, desk.keys, None
    desk.receive(*desk.sealed(b"one", b"two"))
    assert desk.flow.keys.current is before
    assert desk.life.told == ["confirmed", ("heard", DIRECT, 0.5)]


def test_data_is_owed_no_answer_once_something_came_in(desk: Desk) -> None:
    desk.keys.owed = 0.1
    desk.receive(*desk.sealed(encode_control(Farewell()), kind=Kind.CONTROL))
    assert desk.keys.owed == float("inf")


def test_what_is_missing_behind_a_full_socket_is_not_told_as_lost(desk: Desk) -> None:
    received = desk.flow.received = Received(desk.inbound.overflows)
    one, *_, two = desk.sealed(b"one", b"lost", b"lost", b"two")
    desk.receive(one)
    desk.inbound.receive(0, [Segments(two, REMOTE, is_behind_gap=True)], 1.0)
    assert (received.counted, received.came) == (4, 2)
    received.leave_out_overflows()
    assert received.counted == received.came == 2


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
    desk.inbound.receive(0, [Segments(probe_for(7, kind)[:size], REMOTE)], 0.5)
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
    desk.inbound.receive(1, [Segments(message, REMOTE)], 0.5)
    assert desk.stun == [(1, message, REMOTE)]
    desk.receive(message, way=RELAY)
    desk.receive(message, way=CIRCUIT)
    assert len(desk.stun) == 1
    assert desk.counts == (2, 0, 0, 0)


def test_behind_a_circuit_s_head_is_a_datagram_of_the_circuit_s_way(desk: Desk) -> None:
    desk.receive(*desk.sealed(b"one", b"two"), way=CIRCUIT)
    assert desk.delivered == [b"one", b"two"]
    assert desk.life.told == [("heard", CIRCUIT, 0.5)]


def test_what_is_not_from_the_relay_or_of_no_circuit_is_the_relay_taker_s_affair(desk: Desk) -> None:
    desk.table.relays, desk.table.ways[77] = (SERVER,), CIRCUIT
    (one,) = desk.sealed(b"one")
    for number, remote in ((77, REMOTE), (78, SERVER)):
        desk.inbound.receive(0, [Segments(encode_passed(number, one), remote)], 0.5)
    assert len(desk.relayed) == 2
    assert desk.delivered == []


def test_a_relayed_datagram_inside_a_relayed_datagram_is_nobody_s(desk: Desk) -> None:
    desk.table.relays, desk.table.ways[77] = (SERVER,), CIRCUIT
    (one,) = desk.sealed(b"one")
    desk.inbound.receive(0, [Segments(encode_passed(77, encode_passed(77, one)), SERVER)], 0.5)
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
