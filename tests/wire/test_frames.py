from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnel.model.errors import MalformedFrame
from tunnel.wire.frames import BASE_SIZE, HEADER_BYTES, Header, Kind, decode_header, encode_header
from tunnel.wire.relay_batch import is_relay_batch
from tunnel.wire.stun import is_stun

HEADERS = st.builds(
    Header,
    kind=st.sampled_from(Kind),
    receiver_index=st.integers(0, 2**32 - 1),
    counter=st.integers(0, 2**64 - 1),
    fragment=st.integers(0, 255),
    fragments=st.integers(0, 255),
)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (Header(Kind.DATA, 0, 1, 0x01020304, 5), "10 00 01 00 01020304 0000000000000005"),
        (Header(Kind.CONTROL, 0, 1, 0, 2**64 - 1), "11 00 01 00 00000000 ffffffffffffffff"),
        (Header(Kind.HANDSHAKE, 2, 3, 2**32 - 1, 1), "12 02 03 00 ffffffff 0000000000000001"),
        (Header(Kind.PROBE, 0, 0, 7, 0), "13 00 00 00 00000007 0000000000000000"),
        (Header(Kind.RELAYED, 255, 255, 7, 0), "14 ff ff 00 00000007 0000000000000000"),
    ],
)
def test_a_header_is_these_bytes(header: Header, expected: str) -> None:
    assert encode_header(header) == bytes.fromhex(expected)
    assert decode_header(bytes.fromhex(expected) + b"sealed") == header


@given(HEADERS, st.binary(max_size=20))
def test_a_header_comes_back_as_it_was(header: Header, sealed: bytes) -> None:
    assert decode_header(encode_header(header) + sealed) == header


@given(
    st.binary(max_size=40)
    | st.builds(lambda kind, rest: bytes([kind]) + rest, st.sampled_from(Kind), st.binary(min_size=15))
)
def test_junk_is_a_header_or_malformed(junk: bytes) -> None:
    """The fourth byte is zero, and not read."""
    try:
        decoded = decode_header(junk)
    except MalformedFrame:
        return
    assert encode_header(decoded) == junk[:3] + b"\0" + junk[4:HEADER_BYTES]


@pytest.mark.parametrize("datagram", [b"", b"\x10" + bytes(14), b"\x00" + bytes(15), b"\x15" + bytes(15)])
def test_a_short_or_unknown_datagram_is_malformed(datagram: bytes) -> None:
    with pytest.raises(MalformedFrame):
        decode_header(datagram)


def test_a_full_size_packet_fits_the_paths_that_we_promise() -> None:
    """1248 bytes on the wire with IPv6 and UDP: what REMEDIES tells people."""
    assert BASE_SIZE + 40 + 8 == 1248


@given(HEADERS)
def test_our_datagrams_are_never_taken_for_stun(header: Header) -> None:
    datagram = encode_header(header)[:4] + b"\x21\x12\xa4\x42" + bytes(24)
    assert not is_stun(datagram)
    assert not is_relay_batch(datagram)
