"""Control packets and handshake payloads: round trips, bytes by hand, and junk."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnel.model.errors import MalformedFrame
from tunnel.wire.ip_packet import ip_version
from tunnel.wire.session_packets import Control, Echo, EchoReply, Farewell, Keep, Tally, decode_control, encode_control


@pytest.mark.parametrize(
    ("message", "encoded"),
    [
        (Echo(b"12345678"), b"\x0112345678"),
        (EchoReply(b"12345678"), b"\x0212345678"),
        (Farewell(), b"\x03"),
        (
            Tally(258, 1, 3, 2),
            bytes.fromhex("04 0000000000000102 0000000000000001 0000000000000003 0000000000000002 00"),
        ),
        (Tally(0, 0, avoids_udp=True), b"\x04" + bytes(32) + b"\x01"),
        (Keep(), b""),
    ],
)
def test_each_message_has_its_bytes(message: Control, encoded: bytes) -> None:
    assert encode_control(message) == encoded
    assert decode_control(encoded) == message


@pytest.mark.parametrize(
    "junk",
    [
        b"\x01",
        b"\x011234567",
        b"\x01123456789",
        b"\x02",
        b"\x03\x00",
        b"\x00",
        b"\x04",
        b"\x04" + bytes(32) + b"\x02",
        b"\xff",
    ],
)
def test_what_no_control_packet_says_is_malformed(junk: bytes) -> None:
    with pytest.raises(MalformedFrame):
        decode_control(junk)


@given(st.binary(max_size=64))
def test_junk_is_malformed_or_a_message_that_encodes_to_itself(junk: bytes) -> None:
    try:
        message = decode_control(junk)
    except MalformedFrame:
        return
    assert encode_control(message) == junk


@given(st.binary(max_size=64))
def test_an_application_s_datagram_is_never_taken_for_an_ip_packet(datagram: bytes) -> None:
    with pytest.raises(MalformedFrame):
        ip_version(b"\x00" + datagram)
