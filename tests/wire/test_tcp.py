"""TCP segments: bytes written by hand, round trips, and junk."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnel.model.errors import MalformedFrame
from tunnel.wire.tcp import (
    ACK,
    FIN,
    MAX_WINDOW_SCALE,
    PSH,
    SYN,
    TcpSegment,
    decode_tcp,
    encode_sack,
    encode_syn_options,
    encode_tcp,
    encode_timestamps,
)

NUMBERS = st.integers(0, 0xFFFFFFFF)
PORTS = st.integers(0, 0xFFFF)


def test_a_segment_without_options_is_read() -> None:
    data = bytes.fromhex("1f90 0050 01020304 0a0b0c0d 5018 2000 abcd 0000") + b"hello"
    assert decode_tcp(data) == TcpSegment(8080, 80, 0x01020304, 0x0A0B0C0D, PSH | ACK, 0x2000, b"hello")
    assert encode_tcp(8080, 80, 0x01020304, 0x0A0B0C0D, PSH | ACK, 0x2000, checksum=0xABCD) == data[:20]


def test_the_syn_of_a_linux_kernel_is_read() -> None:
    """MSS 1460, SACK permitted, timestamps, NOP, window scale 7: forty bytes of header."""
    options = bytes.fromhex("020405b4 0402 080a 00000001 00000000 01 030307")
    data = bytes.fromhex("9c40 0050 00000000 00000000 a002 faf0 0000 0000") + options
    syn = decode_tcp(data)
    assert (syn.mss, syn.window_scale, syn.sack_permitted, syn.timestamp, syn.echo) == (1460, 7, True, 1, 0)
    assert syn.flags == SYN
    assert syn.length == 1
    assert encode_syn_options(1460, 7, True, (1, 0)) == options


def test_the_usual_segment_has_timestamps_alone() -> None:
    data = encode_tcp(1, 2, 3, 4, ACK, 5, encode_timestamps(6, 7)) + b"xy"
    assert decode_tcp(data) == TcpSegment(1, 2, 3, 4, ACK, 5, b"xy", 6, 7)


@given(PORTS, PORTS, NUMBERS, NUMBERS, st.integers(0, 255), PORTS, st.binary(max_size=50))
def test_what_is_encoded_is_decoded(
    source: int, target: int, sequence: int, acknowledgment: int, flags: int, window: int, payload: bytes
) -> None:
    data = encode_tcp(source, target, sequence, acknowledgment, flags, window) + payload
    assert decode_tcp(data) == TcpSegment(source, target, sequence, acknowledgment, flags, window, payload)


@given(
    st.integers(1, 0xFFFF),
    st.none() | st.integers(0, MAX_WINDOW_SCALE),
    st.booleans(),
    st.none() | st.tuples(NUMBERS, NUMBERS),
)
def test_the_options_of_a_syn_are_decoded(
    mss: int, scale: int | None, sack: bool, timestamps: tuple[int, int] | None
) -> None:
    options = encode_syn_options(mss, scale, sack, timestamps)
    assert len(options) % 4 == 0
    syn = decode_tcp(encode_tcp(1, 2, 3, 0, SYN, 0, options))
    assert (syn.mss, syn.window_scale, syn.sack_permitted) == (mss, scale, sack)
    assert (syn.timestamp, syn.echo) == (timestamps or (None, 0))


@given(st.lists(st.tuples(NUMBERS, NUMBERS), max_size=3), NUMBERS, NUMBERS)
def test_sack_blocks_fit_beside_timestamps(blocks: list[tuple[int, int]], value: int, echo: int) -> None:
    options = encode_timestamps(value, echo) + encode_sack(blocks)
    assert len(options) <= 40
    segment = decode_tcp(encode_tcp(1, 2, 3, 4, ACK, 5, options))
    assert segment.sack == tuple(blocks)
    assert (segment.timestamp, segment.echo) == (value, echo)


@pytest.mark.parametrize(
    "options",
    [
        b"\x02\x00\x05\xb4",  # of length 0, which would never end
        b"\x02\x01\x05\xb4",
        b"\x02\x08\x05\xb4",  # longer than the header
        b"\x01\x01\x01\x02",  # cut off behind its kind
        b"\x00\x02\x04\x05",  # behind the end
        b"\x02\x03\x05\x01",  # of a length that it never has
    ],
)
def test_a_malformed_option_is_no_option(options: bytes) -> None:
    """RFC 9293 MUST-7: whatever the length says, nothing crashes and the segment itself is used."""
    assert decode_tcp(encode_tcp(1, 2, 3, 4, ACK, 5, options)) == TcpSegment(1, 2, 3, 4, ACK, 5, b"")


def test_an_unknown_option_is_skipped() -> None:
    segment = decode_tcp(encode_tcp(1, 2, 3, 4, SYN, 5, b"\xfd\x04ab\x02\x04\x02\x18"))
    assert segment.mss == 536


def test_a_larger_window_scale_than_14_is_14() -> None:
    """RFC 7323 section 2.3."""
    assert decode_tcp(encode_tcp(1, 2, 3, 4, SYN, 5, b"\x01\x03\x03\xff")).window_scale == MAX_WINDOW_SCALE


@given(st.binary(max_size=80))
def test_junk_is_decoded_or_refused(junk: bytes) -> None:
    """Nothing but MalformedFrame leaves, whatever arrives."""
    try:
        segment = decode_tcp(junk)
    except MalformedFrame:
        assert len(junk) < 20 or not 20 <= (junk[12] >> 4) * 4 <= len(junk)
    else:
        assert 0 <= len(segment.payload) <= len(junk) - 20
        assert len(segment.sack) <= 4


def test_the_length_counts_syn_and_fin() -> None:
    assert TcpSegment(1, 2, 3, 4, SYN | FIN, 5, b"abc").length == 5
