from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnel.model.errors import MalformedFrame
from tunnel.wire.relay_batch import MAX_ENTRIES, decode_relay_batch, encode_relay_batch, is_relay_batch
from tunnel.wire.signals import Ping, encode_signal

HANDLE = b"\x01\x02\x03\x04\x05\x06\x07\x08"
ENTRIES = st.lists(st.tuples(st.binary(min_size=8, max_size=8), st.binary(min_size=1, max_size=40)), max_size=6)


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ([], "c1"),
        ([(HANDLE, b"\xaa\xbb")], "c1 0102030405060708 0002 aabb"),
        ([(HANDLE, b"\xaa"), (b"\xff" * 8, b"\xbb")], "c1 0102030405060708 0001 aa ffffffffffffffff 0001 bb"),
    ],
)
def test_a_batch_is_these_bytes(entries: list[tuple[bytes, bytes]], expected: str) -> None:
    assert encode_relay_batch(entries) == bytes.fromhex(expected)
    assert list(decode_relay_batch(bytes.fromhex(expected))) == entries


@given(ENTRIES)
def test_a_batch_comes_back_as_it_was(entries: list[tuple[bytes, bytes]]) -> None:
    message = encode_relay_batch(entries)
    assert is_relay_batch(message)
    assert list(decode_relay_batch(message)) == entries


@given(st.binary(max_size=60).map(lambda rest: b"\xc1" + rest))
def test_junk_is_a_batch_or_malformed(junk: bytes) -> None:
    try:
        entries = list(decode_relay_batch(junk))
    except MalformedFrame:
        return
    assert encode_relay_batch(entries) == junk


@pytest.mark.parametrize("size", range(1, 11))
def test_the_good_entries_before_a_broken_one_come_out(size: int) -> None:
    """A relay passes on what it understood; what follows a broken entry has no beginning."""
    message = encode_relay_batch([(HANDLE, b"good")]) + encode_relay_batch([(HANDLE, b"x")])[1 : 1 + size]
    decoded = decode_relay_batch(message)
    assert next(decoded) == (HANDLE, b"good")
    with pytest.raises(MalformedFrame):
        next(decoded)


def test_a_batch_of_too_many_entries_is_damaged_behind_those_that_may_be_in_it() -> None:
    """Each costs the server more than its bytes."""
    entries = [(HANDLE, b"x")] * (MAX_ENTRIES + 1)
    assert list(decode_relay_batch(encode_relay_batch(entries[:-1]))) == entries[:-1]
    decoded = decode_relay_batch(encode_relay_batch(entries))
    assert [next(decoded) for _ in range(MAX_ENTRIES)] == entries[:-1]
    with pytest.raises(MalformedFrame, match="more than 256 entries"):
        next(decoded)


def test_an_empty_datagram_is_malformed() -> None:
    with pytest.raises(MalformedFrame):
        list(decode_relay_batch(encode_relay_batch([(HANDLE, b"")])))


def test_the_longest_datagram_fits_an_entry() -> None:
    entry = (HANDLE, bytes(65535))
    assert list(decode_relay_batch(encode_relay_batch([entry]))) == [entry]


@pytest.mark.parametrize("message", [b"", b"\xc1", b"\x10", encode_signal(Ping(1))])
def test_the_first_byte_tells_a_batch_from_a_signal(message: bytes) -> None:
    assert is_relay_batch(message) == (message == b"\xc1")


def test_what_is_no_batch_is_malformed() -> None:
    for message in (b"", b"\xc0" + HANDLE + b"\x00\x01x"):
        with pytest.raises(MalformedFrame):
            list(decode_relay_batch(message))
