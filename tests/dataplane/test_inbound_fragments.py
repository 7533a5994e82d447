"""The way in of records in pieces: the fast row (all fragments in one read) does what the slow way does.

A read here is what UDP_GRO may make of the datagrams of one sender: neighbors of one size, the last perhaps shorter.

What a forged fragment (right index, right counter, other bytes) can do: break the one record that it claims to be of,
if it comes before the true one and the true ones do not come in one read. It takes room in the flow's reassembly, where
the oldest gives way, for PATIENCE seconds. It makes the peer believe in loss. It cannot bring bytes into a plaintext,
touch another record, move the replay window, or be kept if the flow could not open its record now.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.dataplane.desk import CIRCUIT, KEY_LIFE, REMOTE, SERVER, Desk, Owner, joined, probe_for
from tests.dataplane.flows import DIRECT, agree, open_flow
from tests.dataplane.reads import reads_of

import tunnel.dataplane.inbound as inbound_module
from tunnel.dataplane.reassembly import MAX_NODE_BYTES, MAX_RECORDS, PATIENCE
from tunnel.model.endpoint import Endpoint
from tunnel.model.way import RELAY
from tunnel.network.datagrams import MAX_SEGMENTS, Segments
from tunnel.wire.circuits import encode_passed
from tunnel.wire.frames import BASE_SIZE, HEADER, HEADER_BYTES, Kind
from tunnel.wire.session_packets import Echo, encode_control
from tunnel.wire.stun import binding_request, encode_stun

RECORD = b"\x45" + bytes(range(256)) * 40
SIZE = 1200


@pytest.fixture
def desk() -> Desk:
    return Desk()


def is_clean(desk: Desk) -> bool:
    """Nothing was dropped, and nothing is held any more."""
    return desk.counts == (0, 0, 0, 0) and desk.inbound.budget.dropped == 0 and holds_nothing(desk)


def holds_nothing(desk: Desk) -> bool:
    return not desk.flow.reassembly and desk.inbound.budget.free == MAX_NODE_BYTES


def turned(datagram: bytes) -> bytes:
    """The same with another last bit."""
    return datagram[:-1] + bytes([datagram[-1] ^ 1])


# The fast row


def test_all_fragments_in_one_read_are_opened_at_once_and_nothing_is_kept(desk: Desk) -> None:
    desk.read(*desk.fragments(RECORD, SIZE))
    assert desk.delivered == [RECORD]
    assert desk.flow.reassembly is None
    assert (desk.flow.received.came, desk.flow.received.counted) == (9, 9)
    assert desk.life.told == [("heard", DIRECT, 0.5)]
    assert is_clean(desk)


@pytest.mark.parametrize("count", [2, 3, 63, MAX_SEGMENTS])
@pytest.mark.parametrize("last", [1, 100, SIZE - HEADER_BYTES])
def test_a_row_of_any_length_is_one_record(desk: Desk, count: int, last: int) -> None:
    size = (count - 1) * (SIZE - HEADER_BYTES) + last - 16
    desk.read(*desk.fragments(RECORD[:1] + bytes(size - 1), SIZE))
    assert [len(plaintext) for plaintext in desk.delivered] == [size]
    assert is_clean(desk)


def test_of_a_row_one_header_is_unpacked(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    unpacked = list[int]()

    def unpack(data: bytes, at: int) -> tuple[int, ...]:
        unpacked.append(at)
        return HEADER.unpack_from(data, at)

    monkeypatch.setattr(inbound_module, "_unpack_header", unpack)
    desk.read(*desk.fragments(RECORD, SIZE)[:-1], desk.fragments(RECORD, SIZE)[-1])
    assert (desk.delivered, unpacked) == ([RECORD], [0])


def test_the_views_of_one_size_stay_whatever_other_sizes_come(desk: Desk) -> None:
    """A peer that sends records in odd sizes costs itself the fast way, and nobody else."""
    plaintext = RECORD[:3000]
    desk.read(*desk.fragments(plaintext, SIZE))
    ((key, views),) = desk.inbound._pieces._known.items()
    for number in range(1, 100):
        desk.read(*desk.fragments(plaintext, SIZE + number, counter=number))
        if number % 10 == 0:
            desk.read(*desk.fragments(plaintext, SIZE, counter=100 + number))
    known = desk.inbound._pieces._known
    assert known[key] is views
    assert len(known) <= 16
    assert set(desk.delivered) == {plaintext}


def test_of_tiny_datagrams_no_more_views_are_made_than_a_record_has_fragments(desk: Desk) -> None:
    desk.read(*desk.fragments(RECORD[:40], HEADER_BYTES + 1))
    assert desk.delivered == [RECORD[:40]]
    assert [len(views) for views in desk.inbound._pieces._known.values()] == [MAX_SEGMENTS]


def test_several_rows_and_whole_records_lie_in_one_read(desk: Desk) -> None:
    """Their sizes may be equal by chance; only the last may be shorter."""
    full = RECORD[: 3 * (SIZE - HEADER_BYTES) - 16]
    whole = RECORD[: SIZE - HEADER_BYTES - 16]
    first, second = (desk.fragments(full, SIZE, counter=counter) for counter in (0, 2))
    (between,) = desk.fragments(whole, SIZE, counter=1)
    last = desk.fragments(RECORD[:1500], SIZE, counter=3)
    desk.read(*first, between, *second, *last)
    assert desk.delivered == [full, whole, full, RECORD[:1500]]
    assert desk.flow.reassembly is None
    assert is_clean(desk)


def test_behind_the_heads_of_circuits_it_is_the_same(desk: Desk) -> None:
    desk.table.relays, desk.table.ways[77] = (SERVER,), CIRCUIT
    desk.read(*(encode_passed(77, fragment) for fragment in desk.fragments(RECORD, SIZE)), remote=SERVER)
    assert desk.delivered == [RECORD]
    assert desk.life.told == [("heard", CIRCUIT, 0.5)]
    assert desk.flow.reassembly is None
    assert is_clean(desk)


def test_over_the_link_a_record_is_whole_whatever_its_header_says_of_fragments(desk: Desk) -> None:
    """The same seal goes by each way of a route."""
    fragments = desk.fragments(RECORD, SIZE)
    whole = fragments[0] + b"".join(fragment[HEADER_BYTES:] for fragment in fragments[1:])
    desk.receive(whole, way=RELAY)
    assert desk.delivered == [RECORD]
    assert (desk.flow.received.by_link, desk.flow.received.came) == (len(RECORD), 0)
    desk.read(*fragments)
    assert (desk.delivered, desk.counts) == ([RECORD], (0, 0, len(fragments), 0)), "each comes too late"


# The slow way


def test_one_by_one_the_last_missing_fragment_opens_the_record(desk: Desk) -> None:
    fragments = desk.fragments(RECORD, SIZE)
    for fragment in fragments[:0:-1]:
        desk.receive(fragment)
        assert desk.delivered == []
    desk.receive(fragments[0])
    assert desk.delivered == [RECORD]
    assert is_clean(desk)


def test_a_record_that_one_read_ends_and_the_next_begins_is_joined(desk: Desk) -> None:
    fragments = desk.fragments(RECORD, SIZE)
    desk.read(*fragments[:4])
    desk.read(*fragments[4:])
    assert desk.delivered == [RECORD]
    assert is_clean(desk)


def test_fragments_of_one_record_may_come_by_several_ways(desk: Desk) -> None:
    desk.table.relays, desk.table.ways[77] = (SERVER,), CIRCUIT
    fragments = desk.fragments(RECORD, SIZE)
    desk.read(*fragments[:4])
    desk.read(*(encode_passed(77, fragment) for fragment in fragments[4:]), remote=SERVER)
    assert desk.delivered == [RECORD]
    assert is_clean(desk)


def test_a_control_record_in_pieces_is_heard(desk: Desk) -> None:
    """None is so long today; the wire knows no difference."""
    for fragment in desk.fragments(encode_control(Echo(bytes(8))), HEADER_BYTES + 10, kind=Kind.CONTROL):
        desk.receive(fragment)
    assert desk.life.told[-1] == Echo(bytes(8))


def test_in_one_read_lie_also_stun_probes_and_what_is_for_another_flow(desk: Desk) -> None:
    """All have one size here, as they must in one read."""
    fragments = desk.fragments(RECORD[:100], 60)
    owner, stun = Owner(), encode_stun(binding_request(bytes(12))).ljust(60, b"\0")
    stun = stun[:2] + (40).to_bytes(2) + stun[4:]
    desk.index.claim(Kind.PROBE, 7, owner)
    probe = probe_for(7).ljust(60, b"\0")
    unknown = HEADER.pack(Kind.DATA, 0, 3, desk.keys.own_index ^ 1, 0).ljust(60, b"\0")
    strange = b"\xff" * 60
    desk.read(fragments[0], stun, fragments[1], probe, unknown, strange, *fragments[2:])
    assert desk.delivered == [RECORD[:100]]
    assert (len(desk.stun), len(owner.taken)) == (1, 1)
    assert desk.counts == (1, 1, 0, 0)
    assert holds_nothing(desk)


def test_records_of_several_flows_lie_in_one_read_in_a_row_or_mixed(desk: Desk) -> None:
    """As a relay sends them, whose endpoint is one for all peers."""
    other, life = open_flow(desk.index, 3)
    other.wanted_at = 0.0
    index = agree(other, desk.index.draw(other), 9).own_index
    ours = [desk.fragments(RECORD[:116], 60, counter=counter) for counter in range(2)]
    theirs = [desk.fragments(RECORD[116:232], 60, counter=counter, index=index) for counter in range(2)]
    desk.read(*ours[0], *theirs[0])
    desk.read(*(each for pair in zip(ours[1], theirs[1], strict=True) for each in pair))
    assert desk.delivered == [RECORD[:116]] * 2
    assert desk.delivered_to_others == [RECORD[116:232]] * 2
    heard = ("heard", DIRECT, 0.5)
    assert (desk.life.told.count(heard), life.told.count(heard)) == (2, 2)
    assert is_clean(desk)


def test_a_last_datagram_shorter_than_its_header_is_malformed_and_the_rest_is_kept(desk: Desk) -> None:
    fragments = desk.fragments(RECORD, SIZE)
    desk.read(*fragments[:-1], fragments[-1][:15])
    assert (desk.delivered, desk.counts) == ([], (1, 0, 0, 0))
    desk.receive(fragments[-1])
    assert desk.delivered == [RECORD]


def test_fragments_out_of_order_in_one_read_are_no_row(desk: Desk) -> None:
    first, *between, last = desk.fragments(RECORD, SIZE)
    desk.read(first, *reversed(between), last)
    assert desk.delivered == [RECORD]
    assert is_clean(desk)


def test_a_row_that_only_looks_like_one_opens_nothing_and_breaks_no_other_record(desk: Desk) -> None:
    """Counters that differ by 256 end in one byte: a row is told by the last bytes, and the seal decides."""
    ours = desk.fragments(RECORD[:2000], SIZE, counter=5)
    other = desk.fragments(RECORD[:2000], SIZE, counter=5 + 256)
    desk.read(ours[0], other[1])
    assert (desk.delivered, desk.counts) == ([], (0, 0, 1, 0))
    desk.read(*desk.fragments(RECORD, SIZE, counter=6))
    assert desk.delivered == [RECORD]


# Both ways are one


RECORDS = st.lists(
    st.tuples(st.integers(1, 12_000), st.sampled_from((100, BASE_SIZE, 1452)), st.booleans()),
    min_size=1,
    max_size=MAX_RECORDS,
)
"""Length, size of its datagrams, whether it comes by a circuit."""


def datagrams_of(desk: Desk, records: Sequence[tuple[int, int, bool]]) -> list[tuple[bytes, Endpoint]]:
    """What the peer and the relay send, in order, with short records of other kinds in between."""
    desk.table.relays, desk.table.ways[77] = (SERVER,), CIRCUIT
    sent = list[tuple[bytes, Endpoint]]()
    for counter, (length, size, is_relayed) in enumerate(records):
        size = max(size, HEADER_BYTES + -(-(length + 16) // MAX_SEGMENTS))
        fragments = desk.fragments(RECORD[:1] + bytes([counter]) * (length - 1), size, counter=counter)
        sent += [(encode_passed(77, each), SERVER) if is_relayed else (each, REMOTE) for each in fragments]
    return sent


def feed(desk: Desk, sent: Sequence[tuple[bytes, Endpoint]], may_join: Callable[[], bool]) -> None:
    for remote in (REMOTE, SERVER):
        own = [datagram for datagram, source in sent if source == remote]
        for read in reads_of(own, may_join):
            desk.read(*read, remote=remote)


@given(records=RECORDS, seed=st.integers(0, 2**32), share=st.floats(0.0, 1.0))
def test_in_order_each_record_comes_once_however_they_are_split_into_reads(
    records: list[tuple[int, int, bool]], seed: int, share: float
) -> None:
    chance = random.Random(seed)
    desk = Desk()
    sent = datagrams_of(desk, records)
    feed(desk, sent, lambda: chance.random() < share)
    assert sorted(map(len, desk.delivered)) == sorted(length for length, _, _ in records)
    assert {plaintext[-1] for plaintext in desk.delivered if len(plaintext) > 1} == {
        counter for counter, (length, _, _) in enumerate(records) if length > 1
    }
    assert desk.flow.received.came == len(sent)
    if len({is_relayed for _, _, is_relayed in records}) == 1:
        assert desk.flow.received.counted == len(sent), "nothing was lost or came late"
    assert is_clean(desk)


@given(records=RECORDS, seed=st.integers(0, 2**32), share=st.floats(0.0, 1.0), copies=st.floats(0.0, 0.5))
def test_in_any_order_with_duplicates_each_record_comes_once_and_each_other_datagram_is_counted(
    records: list[tuple[int, int, bool]], seed: int, share: float, copies: float
) -> None:
    chance = random.Random(seed)
    desk = Desk()
    once = datagrams_of(desk, records)
    sent = once + [each for each in once if chance.random() < copies]
    chance.shuffle(sent)
    feed(desk, sent, lambda: chance.random() < share)
    desk.inbound.budget.drop_stale(0.5 + 2 * PATIENCE)
    assert sorted(map(len, desk.delivered)) == sorted(length for length, _, _ in records)
    malformed, unknown, not_authentic, failed = desk.counts
    assert (malformed, unknown, failed) == (0, 0, 0)
    assert not_authentic + desk.inbound.budget.dropped == len(sent) - len(once)
    assert holds_nothing(desk)


def test_of_what_was_opened_in_one_read_earlier_pieces_are_not_kept_and_count_as_no_loss(desk: Desk) -> None:
    """As when a packet takes two ways at once."""
    fragments = desk.fragments(RECORD, SIZE)
    desk.receive(fragments[3])
    desk.read(*fragments)
    assert desk.delivered == [RECORD]
    assert (desk.flow.received.came, desk.flow.received.counted) == (9, 9)
    assert desk.inbound.budget.dropped == 1
    assert holds_nothing(desk)


# What is refused before anything is kept


@pytest.mark.parametrize("number", [0, 3, 8])
def test_a_fragment_of_a_record_that_was_opened_is_refused(desk: Desk, number: int) -> None:
    fragments = desk.fragments(RECORD, SIZE)
    desk.read(*fragments)
    desk.receive(fragments[number])
    assert (desk.flow.reassembly, desk.counts) == (None, (0, 0, 1, 0))


def test_a_fragment_whose_counter_is_old_is_refused(desk: Desk) -> None:
    desk.receive(*desk.sealed(b"\x45new", counter=1 << 20))
    desk.receive(*desk.fragments(RECORD, SIZE, counter=5))
    assert (desk.flow.reassembly, desk.counts) == (None, (0, 0, 9, 0))


def test_a_fragment_under_keys_that_have_ended_is_refused(desk: Desk) -> None:
    desk.receive(*desk.fragments(RECORD, SIZE), now=KEY_LIFE + 0.1)
    assert (desk.flow.reassembly, desk.counts) == (None, (0, 0, 9, 0))


def test_a_fragment_for_an_index_that_nobody_has_is_refused(desk: Desk) -> None:
    fragments = desk.fragments(RECORD, SIZE)
    other = (desk.keys.own_index ^ 1).to_bytes(4)
    desk.receive(*(fragment[:4] + other + fragment[8:] for fragment in fragments))
    assert (desk.flow.reassembly, desk.counts) == (None, (0, 9, 0, 0))


def test_where_direct_paths_are_forbidden_a_fragment_that_comes_directly_is_refused(desk: Desk) -> None:
    desk.flow.is_direct_allowed = False
    desk.receive(*desk.fragments(RECORD, SIZE))
    assert (desk.flow.reassembly, desk.counts) == (None, (0, 0, 9, 0))


@pytest.mark.parametrize(("fragment", "fragments"), [(0, 0), (1, 0), (2, 2), (0, 65), (255, 255), (64, 64)])
def test_numbers_that_no_record_has_are_malformed_and_nothing_is_kept(
    desk: Desk, fragment: int, fragments: int
) -> None:
    desk.receive(HEADER.pack(Kind.DATA, fragment, fragments, desk.keys.own_index, 1) + bytes(100))
    assert (desk.delivered, desk.counts) == ([], (1, 0, 0, 0))
    assert holds_nothing(desk)


@pytest.mark.parametrize("claimed", [1, 2, 8, 10, 64])
def test_a_wrong_count_of_fragments_opens_nothing(desk: Desk, claimed: int) -> None:
    """The count is under the seal, as part of the header of fragment 0."""
    fragments = [each[:2] + bytes([claimed]) + each[3:] for each in desk.fragments(RECORD, SIZE)]
    desk.read(*fragments)
    desk.receive(*fragments)
    assert desk.delivered == []
    desk.read(*desk.fragments(RECORD, SIZE))
    assert desk.delivered == [RECORD], "and the true record still does"


# A forged fragment


@pytest.mark.parametrize("number", [0, 3, 8])
@pytest.mark.parametrize("is_row", [True, False])
def test_a_forged_fragment_breaks_its_record_and_no_other(desk: Desk, number: int, is_row: bool) -> None:
    """It comes in the place of the true one: as if that had been lost."""
    fragments = desk.fragments(RECORD, SIZE, counter=1)
    fragments[number] = turned(fragments[number])
    before, after = desk.fragments(RECORD, SIZE, counter=0), desk.fragments(RECORD, SIZE, counter=2)
    if is_row:
        desk.read(*before)
        desk.read(*fragments)
        desk.read(*after)
    else:
        desk.receive(*before, *fragments, *after)
    assert desk.delivered == [RECORD, RECORD]
    assert desk.counts == (0, 0, 1, 0), "the record counts once"
    assert holds_nothing(desk)


@pytest.mark.parametrize("number", [0, 3, 8])
def test_a_forged_fragment_that_comes_first_breaks_nothing_that_comes_in_one_read(desk: Desk, number: int) -> None:
    fragments = desk.fragments(RECORD, SIZE)
    desk.receive(turned(fragments[number]))
    desk.read(*fragments)
    assert desk.delivered == [RECORD]
    assert holds_nothing(desk)


@pytest.mark.parametrize("number", [0, 3, 7])
def test_a_forged_fragment_that_comes_first_breaks_what_comes_one_by_one(desk: Desk, number: int) -> None:
    fragments = desk.fragments(RECORD, SIZE)
    desk.receive(turned(fragments[number]), *fragments)
    assert (desk.delivered, desk.counts) == ([], (0, 0, 2, 0)), "the true fragment, and the record"
    assert holds_nothing(desk)
    desk.receive(*fragments)
    assert desk.delivered == [RECORD], "the replay window did not move"


@pytest.mark.parametrize("number", [0, 3, 8])
def test_a_forged_fragment_that_comes_last_is_too_late(desk: Desk, number: int) -> None:
    fragments = desk.fragments(RECORD, SIZE)
    desk.receive(*fragments, turned(fragments[number]))
    assert (desk.delivered, desk.counts) == ([RECORD], (0, 0, 1, 0))
    assert holds_nothing(desk)


def test_between_the_fragments_of_a_read_a_forged_one_breaks_no_more_than_its_record(desk: Desk) -> None:
    full = RECORD[: 3 * (SIZE - HEADER_BYTES) - 16]
    first, second, third = (desk.fragments(full, SIZE, counter=counter) for counter in range(3))
    for number in range(3):
        forged = HEADER.pack(Kind.DATA, number, 3, desk.keys.own_index, 1) + bytes(SIZE - HEADER_BYTES)
        for place in range(4):
            own = Desk()
            own.read(*first, *second[:place], forged, *second[place:], *third)
            assert own.delivered in ([full, full], [full, full, full])


def test_two_records_under_one_counter_the_first_that_opens_counts(desk: Desk) -> None:
    """A member that seals twice under one counter breaks its own nonce, and gets one record through."""
    one, two = desk.fragments(RECORD, SIZE), desk.fragments(RECORD[::-1], SIZE)
    desk.read(*two)
    desk.read(*one)
    desk.receive(*one)
    assert desk.delivered == [RECORD[::-1]]
    other = Desk()
    mixed = [one[0], two[1], *one[2:]]
    other.receive(*mixed)
    other.read(*mixed)
    assert other.delivered == []


def test_what_was_given_up_counts_as_lost_but_for_what_came(desk: Desk) -> None:
    """Nine fragments were sent of which six came; then one record came whole."""
    desk.receive(*desk.fragments(RECORD, SIZE, counter=0)[:6])
    desk.read(*desk.fragments(RECORD, SIZE, counter=1), now=0.5 + PATIENCE)
    desk.inbound.budget.drop_stale(0.5 + 2 * PATIENCE)
    desk.receive(*desk.sealed(b"\x45", counter=2), now=0.5 + 2 * PATIENCE)
    received = desk.flow.received
    assert desk.inbound.budget.dropped == 6
    assert received.came == 6 + 9 + 1
    assert received.counted in (8 + 9 + 1, 9 + 9 + 1)


@given(
    counts=st.lists(st.integers(1, 12), min_size=1, max_size=25),
    seed=st.integers(0, 2**32),
    loss=st.floats(0.0, 0.9),
    share=st.floats(0.0, 1.0),
)
def test_what_is_told_of_losses_is_true(counts: list[int], seed: int, loss: float, share: float) -> None:
    """Of a record of which nothing came only one datagram is counted: who knows how many it had."""
    chance, desk, sent, came = random.Random(seed), Desk(), 0, 0
    counts = [1, *counts, 1]
    for counter, count in enumerate(counts):
        now = 0.5 + counter * PATIENCE
        plaintext = RECORD[:1] + bytes(count * (SIZE - HEADER_BYTES) - 17)
        is_end = counter in (0, len(counts) - 1)
        fragments = [
            each for each in desk.fragments(plaintext, SIZE, counter=counter) if is_end or chance.random() >= loss
        ]
        for read in reads_of(fragments, lambda: chance.random() < share):
            desk.read(*read, now=now)
        desk.inbound.budget.drop_stale(now + 2 * PATIENCE)
        sent += count if fragments else 1
        came += len(fragments)
    assert (desk.flow.received.counted, desk.flow.received.came) == (sent, came)


HOSTILE = st.tuples(
    st.sampled_from((Kind.DATA, Kind.CONTROL)),
    st.integers(0, 66) | st.just(255),
    st.integers(0, 66) | st.just(255),
    st.integers(0, 12) | st.sampled_from((1 << 20, (1 << 36) - 1, 1 << 36, (1 << 64) - 1)),
    st.sampled_from((0, 1, 16, 17, 84, 1184, 9000, 50_000)),
    st.sampled_from((0.0, 0.0, 0.0, PATIENCE / 3, PATIENCE)),
    st.booleans(),
)


@given(st.lists(HOSTILE, max_size=60), st.booleans())
def test_whatever_a_stranger_says_to_a_true_index_nothing_is_delivered_and_all_is_counted(
    said: list[tuple[int, int, int, int, int, float, bool]], is_joined: bool
) -> None:
    desk, now, count = Desk(), 1.0, 0
    for kind, fragment, fragments, counter, size, pause, is_doubled in said:
        now += pause
        datagram = HEADER.pack(kind, fragment, fragments, desk.keys.own_index, counter) + bytes(size)
        own = [datagram] * (1 + is_doubled)
        count += len(own)
        if is_joined and sum(map(len, own)) < 65_000:
            desk.read(*own, now=now)
        else:
            desk.inbound.receive(0, [Segments(each, REMOTE) for each in own], now)
        assert desk.inbound.budget.free >= 0
    desk.inbound.budget.drop_stale(now + 2 * PATIENCE)
    assert desk.delivered == []
    assert desk.life.told == []
    malformed, unknown, not_authentic, failed = desk.counts
    assert (unknown, failed) == (0, 0)
    assert malformed + not_authentic + desk.inbound.budget.dropped <= count
    assert count == 0 or malformed + not_authentic + desk.inbound.budget.dropped > 0
    assert holds_nothing(desk)
    desk.read(*desk.fragments(RECORD, SIZE, counter=1), now=now)
    assert desk.delivered == [RECORD]


def test_the_helper_joins_as_a_kernel_does() -> None:
    read = joined([b"ab", b"cd", b"e"], REMOTE, bytearray(10))
    assert (read.data, read.segment_size) == (b"abcde", 2)
    reads = list(reads_of([b"ab", b"cd", b"e", b"f", b"gh"], lambda: True))
    assert reads == [[b"ab", b"cd", b"e"], [b"f"], [b"gh"]]


def test_a_peer_of_whose_records_none_is_whole_is_looked_at_when_that_is_due(desk: Desk) -> None:
    """It must hear how much is lost: its records are too large."""
    desk.flow.received.due = 5.0
    pieces = desk.fragments(RECORD, SIZE)
    desk.read(pieces[0], now=4.9)
    assert "got_data" not in desk.life.told
    desk.read(pieces[2], now=5.0)
    assert (desk.delivered, desk.life.told) == ([], ["got_data"])


def test_a_bug_that_a_fragment_finds_is_its_peer_s_trouble_alone(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """It need not be authentic: what raised here would end the node."""
    bug = RuntimeError("a bug")

    def look(_now: float) -> None:
        raise bug

    desk.flow.received.due = 0.0
    monkeypatch.setattr(desk.life, "note_got_data", look)
    desk.read(desk.fragments(RECORD, SIZE)[0])
    assert desk.life.failures == [bug]
    assert desk.inbound.counts.failed == 1
