from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from tunnel.crypto.sealing import MAX_SEALS, Opener, Sealer
from tunnel.model.errors import LocalProtocolError, MalformedFrame, NotAuthentic
from tunnel.wire.frames import SEALED_OVERHEAD, TAG_BYTES, Header, Kind, decode_header, encode_header

KEY = bytes(range(32))
KINDS = st.sampled_from(Kind)


def opened(opener: Opener, datagram: bytes) -> bytes:
    """With the counter that stands in its header."""
    return opener.open(datagram, int.from_bytes(datagram[8:16]))


def test_the_ciphertext_is_that_of_gcm_test_case_14() -> None:
    """McGrew and Viega, The Galois/Counter Mode of Operation, appendix B: zero key, zero nonce, zero block."""
    datagram = Sealer(bytes(32)).seal(Kind.DATA, 0, bytes(16))
    assert datagram[16:32].hex() == "cea7403d4d606b6e074ec5d3baf39d18"


def test_a_datagram_is_its_header_then_aes_gcm_under_the_counter() -> None:
    sealer = Sealer(KEY)
    sealer.counter = 0x0102030405060708 % MAX_SEALS
    counter = sealer.counter.to_bytes(8, "big")
    header = b"\x11\x00\x01\x00\xde\xad\xbe\xef" + counter
    expected = header + AESGCM(KEY).encrypt(bytes(4) + counter, b"words", header)
    assert sealer.seal(Kind.CONTROL, 0xDEADBEEF, b"words") == expected


@given(KINDS, st.integers(0, 2**32 - 1), st.binary(max_size=100))
def test_a_datagram_opens_as_it_was_sealed(kind: Kind, index: int, plaintext: bytes) -> None:
    datagram = Sealer(KEY).seal(kind, index, plaintext)
    assert decode_header(datagram) == Header(kind, 0, 1, index, 0)
    assert len(datagram) == len(plaintext) + SEALED_OVERHEAD
    assert opened(Opener(KEY), datagram) == plaintext


@given(KINDS, st.integers(0, 2**32 - 1), st.binary(max_size=100), st.integers(1, 64))
def test_a_record_opens_as_it_was_sealed(kind: Kind, index: int, plaintext: bytes, fragments: int) -> None:
    room = bytearray(len(plaintext) + TAG_BYTES)
    header = Sealer(KEY).seal_into(kind, index, fragments, plaintext, memoryview(room))
    assert decode_header(header) == Header(kind, 0, fragments, index, 0)
    assert Opener(KEY).open_record(header, room, 0) == plaintext


def test_a_record_of_one_fragment_is_a_whole_datagram() -> None:
    room = bytearray(5 + TAG_BYTES)
    header = Sealer(KEY).seal_into(Kind.DATA, 7, 1, b"words", memoryview(room))
    assert header + room == Sealer(KEY).seal(Kind.DATA, 7, b"words")


def test_each_record_has_the_next_counter() -> None:
    sealer, room = Sealer(KEY), memoryview(bytearray(4 + TAG_BYTES))
    counters = [decode_header(sealer.seal(Kind.DATA, 1, b"same")).counter for _ in range(3)]
    counters += [decode_header(sealer.seal_into(Kind.DATA, 1, 2, b"same", room)).counter for _ in range(3)]
    assert counters == [0, 1, 2, 3, 4, 5]
    assert sealer.counter == 6


@given(st.permutations(range(6)))
def test_datagrams_open_in_any_order_and_each_once(order: list[int]) -> None:
    sealer, opener = Sealer(KEY), Opener(KEY)
    datagrams = [sealer.seal(Kind.DATA, 1, bytes([number])) for number in range(6)]
    for number in order:
        assert opened(opener, datagrams[number]) == bytes([number])
    for number in order:
        with pytest.raises(NotAuthentic, match="before"):
            opened(opener, datagrams[number])


def test_a_datagram_older_than_the_window_is_refused() -> None:
    sealer, opener = Sealer(KEY), Opener(KEY)
    old = sealer.seal(Kind.DATA, 1, b"old")
    sealer.counter = 8192
    opened(opener, sealer.seal(Kind.DATA, 1, b"new"))
    with pytest.raises(NotAuthentic):
        opened(opener, old)


@given(st.integers(0, 8 * (SEALED_OVERHEAD + 4) - 1))
def test_no_bit_of_header_or_body_can_be_changed(position: int) -> None:
    forged = bytearray(Sealer(KEY).seal(Kind.DATA, 7, b"body"))
    forged[position // 8] ^= 1 << position % 8
    with pytest.raises(NotAuthentic):
        opened(Opener(KEY), bytes(forged))


def test_a_forged_counter_does_not_move_the_window() -> None:
    """Else one forged packet with a high counter would shut out all that follow."""
    sealer, opener = Sealer(KEY), Opener(KEY)
    true = sealer.seal(Kind.DATA, 7, b"true")
    forged = true[:8] + b"\xff" * 8 + true[16:]
    with pytest.raises(NotAuthentic):
        opened(opener, forged)
    assert opened(opener, true) == b"true"


def test_our_own_datagram_sent_back_to_us_does_not_open() -> None:
    """Directions have different keys."""
    sealer, opener = Sealer(KEY), Opener(bytes(32))
    with pytest.raises(NotAuthentic):
        opened(opener, sealer.seal(Kind.DATA, 7, b"echo"))


@given(st.binary(max_size=100))
def test_junk_is_malformed_or_not_authentic_and_nothing_worse(junk: bytes) -> None:
    with pytest.raises(MalformedFrame if len(junk) < SEALED_OVERHEAD else NotAuthentic):
        opened(Opener(KEY), junk)


def test_a_key_that_sealed_all_it_may_seals_no_more() -> None:
    sealer = Sealer(KEY)
    sealer.counter = MAX_SEALS - 1
    assert opened(Opener(KEY), sealer.seal(Kind.DATA, 1, b"last")) == b"last"
    with pytest.raises(LocalProtocolError):
        sealer.seal(Kind.DATA, 1, b"one too many")
    with pytest.raises(LocalProtocolError):
        sealer.seal_into(Kind.DATA, 1, 2, b"one too many", memoryview(bytearray(12 + TAG_BYTES)))
    assert sealer.counter == MAX_SEALS


@pytest.mark.parametrize("counter", [MAX_SEALS, (1 << 64) - 1])
def test_a_counter_that_no_sealer_reaches_is_not_opened(counter: int) -> None:
    """The seal holds: a member made it. Packets are counted by their counters, and the sum must fit into a tally."""
    opener = Opener(KEY)
    header = encode_header(Header(Kind.DATA, 0, 0, 7, counter))
    with pytest.raises(NotAuthentic):
        opened(opener, header + AESGCM(KEY).encrypt(bytes(4) + counter.to_bytes(8, "big"), b"far", header))
    assert opened(opener, Sealer(KEY).seal(Kind.DATA, 7, b"near")) == b"near"


@pytest.mark.parametrize("key", [b"", bytes(16), bytes(33)])
def test_only_256_bit_keys_are_taken(key: bytes) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Sealer(key)
    with pytest.raises(ValueError, match="32 bytes"):
        Opener(key)


def test_no_text_shows_the_key() -> None:
    assert repr(Sealer(KEY)) == "Sealer(counter=0)"
    assert repr(Opener(KEY)) == "Opener()"
