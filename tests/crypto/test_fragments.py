from __future__ import annotations

import hashlib
import hmac
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnel.crypto.fragments import MAX_CHUNK, MAX_FRAGMENTS, Reassembly, encode_fragments
from tunnel.model.errors import LocalProtocolError, MalformedFrame, NotAuthentic
from tunnel.wire.frames import HEADER, HEADER_BYTES, Header, Kind, decode_header

MAC = bytes([7]) * 32
PATIENCE = 2.0
LONG = random.Random(1).randbytes(3000)
OTHER = random.Random(2).randbytes(3000)


def fragments(message: bytes = LONG, message_id: int = 1) -> list[bytes]:
    return encode_fragments(message, mac=MAC, index=0xDEADBEEF, message_id=message_id)


def add(reassembly: Reassembly, datagram: bytes, now: float) -> bytes | None:
    """With the header that stands in front of it; of what is shorter than one any."""
    header = Header._make(HEADER.unpack(datagram[:HEADER_BYTES].ljust(HEADER_BYTES, b"\0")))
    return reassembly.add_untrusted(header, datagram, now)


def signed(body: bytes) -> bytes:
    """Any body with a MAC that fits: what a faulty peer can make."""
    return body + hmac.new(MAC, body, hashlib.sha256).digest()[:16]


def test_a_fragment_is_these_bytes() -> None:
    body = bytes.fromhex("12 00 01 00 deadbeef 0000000000000009") + b"hello"
    assert encode_fragments(b"hello", mac=MAC, index=0xDEADBEEF, message_id=9) == [signed(body)]


@given(st.integers(1, MAX_FRAGMENTS * MAX_CHUNK), st.randoms(use_true_random=False))
def test_a_message_comes_together_in_any_order(size: int, chance: random.Random) -> None:
    message = random.Random(size).randbytes(size)
    datagrams = fragments(message)
    assert len(datagrams) == -(-size // MAX_CHUNK)
    assert max(map(len, datagrams)) <= 1232
    chance.shuffle(datagrams)
    reassembly = Reassembly(MAC, PATIENCE)
    answers = [add(reassembly, datagram, 0.0) for datagram in datagrams]
    assert answers == [None] * (len(datagrams) - 1) + [message]


def test_headers_say_kind_fragment_count_index_and_message() -> None:
    headers = [decode_header(datagram) for datagram in fragments(message_id=2**64 - 1)]
    assert [header.fragment for header in headers] == [0, 1, 2]
    assert {(header.kind, header.fragments, header.receiver_index, header.counter) for header in headers} == {
        (Kind.HANDSHAKE, 3, 0xDEADBEEF, 2**64 - 1)
    }


@pytest.mark.parametrize("size", [0, MAX_FRAGMENTS * MAX_CHUNK + 1])
def test_a_message_that_does_not_fit_is_a_bug_here(size: int) -> None:
    with pytest.raises(LocalProtocolError):
        fragments(bytes(size))


def test_a_copy_of_a_fragment_changes_nothing() -> None:
    reassembly = Reassembly(MAC, PATIENCE)
    first, second, third = fragments()
    assert [add(reassembly, datagram, 0.0) for datagram in (first, first, second, first)] == [None] * 4
    assert add(reassembly, third, 0.0) == LONG


def test_the_copies_of_a_whole_message_are_dropped_for_a_while() -> None:
    """It came over the relay and the direct path: the handshake shall see it once."""
    reassembly = Reassembly(MAC, PATIENCE)
    twice = [*fragments(), *fragments()]
    assert [add(reassembly, datagram, 1.0) for datagram in twice] == [None, None, LONG, None, None, None]
    later = [add(reassembly, datagram, 1.0 + PATIENCE) for datagram in fragments()]
    assert later == [None, None, LONG]


def test_a_message_that_does_not_come_whole_in_time_is_forgotten() -> None:
    reassembly = Reassembly(MAC, PATIENCE)
    first, second, third = fragments()
    add(reassembly, first, 0.0)
    add(reassembly, second, PATIENCE - 0.01)
    assert add(reassembly, third, PATIENCE) is None
    assert add(reassembly, first, PATIENCE) is None
    assert add(reassembly, second, PATIENCE) == LONG


def test_of_two_messages_at_once_the_later_one_comes_through() -> None:
    """Interleaved over two carriers, neither would ever be whole if each fragment pushed the other message out."""
    reassembly = Reassembly(MAC, PATIENCE)
    answers = [
        add(reassembly, datagram, 0.0)
        for pair in zip(fragments(LONG, 1), fragments(OTHER, 2), strict=True)
        for datagram in pair
    ]
    assert answers == [None] * 5 + [OTHER]


def test_a_recorded_older_message_does_not_disturb_a_newer_one() -> None:
    reassembly = Reassembly(MAC, PATIENCE)
    first, second, third = fragments(LONG, 1000)
    add(reassembly, first, 0.0)
    for recorded in fragments(OTHER, 999):
        assert add(reassembly, recorded, 0.0) is None
    assert [add(reassembly, second, 0.0), add(reassembly, third, 0.0)] == [None, LONG]


def test_a_peer_that_started_again_with_the_same_id_is_understood() -> None:
    """What it sends now does not fit what it sent before: the new message is the true one."""
    old, new = fragments(LONG, 1), fragments(OTHER, 1)
    reassembly = Reassembly(MAC, PATIENCE)
    answers = [add(reassembly, datagram, 0.0) for datagram in (old[0], old[1], new[0], new[2], new[1])]
    assert answers == [None, None, None, None, OTHER]


def test_a_message_of_another_length_under_the_same_id_is_understood() -> None:
    reassembly = Reassembly(MAC, PATIENCE)
    old, new = fragments(LONG, 1), fragments(OTHER[:2000], 1)
    answers = [add(reassembly, datagram, 0.0) for datagram in (old[2], *new)]
    assert answers == [None, None, OTHER[:2000]]


@given(st.integers(0, 8 * 30))
def test_no_bit_can_be_changed_by_a_stranger(position: int) -> None:
    forged = bytearray(fragments()[0])
    forged[position // 8] ^= 1 << position % 8
    reassembly = Reassembly(MAC, PATIENCE)
    with pytest.raises(MalformedFrame if position < 8 else NotAuthentic):
        add(reassembly, bytes(forged), 0.0)


def test_nothing_is_kept_of_what_has_no_true_mac() -> None:
    reassembly = Reassembly(MAC, PATIENCE)
    for datagram in encode_fragments(LONG, mac=bytes(32), index=1, message_id=2**64 - 1):
        with pytest.raises(NotAuthentic):
            add(reassembly, datagram, 0.0)
    assert repr(reassembly) == "Reassembly(0 of 0 datagrams)"
    assert [add(reassembly, datagram, 0.0) for datagram in fragments()] == [None, None, LONG]


@given(st.binary(max_size=80) | st.binary(min_size=1217, max_size=1400) | st.binary(max_size=60).map(b"\x12".__add__))
def test_junk_is_malformed_or_not_authentic_and_nothing_worse(junk: bytes) -> None:
    with pytest.raises((MalformedFrame, NotAuthentic)):
        add(Reassembly(MAC, PATIENCE), junk, 0.0)


@pytest.mark.parametrize(
    ("fragment", "count", "size"),
    [(0, 0, 5), (1, 1, 5), (0, 5, 5), (4, 5, 5), (254, 255, 5), (0, 1, 0), (0, 1, MAX_CHUNK + 1)],
)
def test_a_faulty_peers_fragment_is_malformed(fragment: int, count: int, size: int) -> None:
    body = bytes([Kind.HANDSHAKE, fragment, count, 0]) + bytes(12) + bytes(size)
    with pytest.raises(MalformedFrame):
        add(Reassembly(MAC, PATIENCE), signed(body), 0.0)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.floats(0, 1)), max_size=40))
def test_fragments_of_different_messages_are_never_mixed(steps: list[tuple[int, int, float]]) -> None:
    messages = [random.Random(number).randbytes(3000) for number in range(4)]
    made = [fragments(message, number) for number, message in enumerate(messages)]
    reassembly, now = Reassembly(MAC, PATIENCE), 0.0
    for number, segment, pause in steps:
        now += pause
        assert add(reassembly, made[number][segment], now) in (None, messages[number])
