"""ICMP errors, byte by byte, and what is never answered with one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnel.model.errors import MalformedFrame
from tunnel.wire.icmp import encode_unreachable
from tunnel.wire.ip_packet import destination_of, source_of

PING4 = bytes.fromhex("4500001c 00010000 40010000 0a560001 0a560002 0800f7ff 00000000")
PING6 = bytes.fromhex(
    "60000000 00083a40 fd000000000000000000000000000001 fd000000000000000000000000000002 8000000000000000"
)


def test_a_ping_is_answered_as_the_host_that_it_is_for_would() -> None:
    assert encode_unreachable(PING4) == bytes.fromhex(
        "45000038 00000000 40016617 0a560002 0a560001"  # to us, from there
        "03016331 00000000"  # host unreachable
        "4500001c 00010000 40010000 0a560001 0a560002 0800f7ff 00000000"
    )
    assert (
        encode_unreachable(PING6)
        == bytes.fromhex(
            "60000000 00383a40 fd000000000000000000000000000002 fd000000000000000000000000000001"
            "0103f037 00000000"  # address unreachable
        )
        + PING6
    )


def folded(covered: bytes) -> int:
    """RFC 1071, to check with: 0xFFFF over what holds its own checksum."""
    total = sum(int.from_bytes(covered[at : at + 2]) for at in range(0, len(covered), 2))
    return total % 0xFFFF or 0xFFFF


@given(st.binary(min_size=8, max_size=1400))
def test_checksums_are_right_and_no_answer_is_longer_than_may_be(payload: bytes) -> None:
    answer4 = encode_unreachable(PING4[:9] + b"\x11" + PING4[10:20] + payload)
    assert answer4 is not None
    assert len(answer4) == int.from_bytes(answer4[2:4]) == 56
    assert folded(answer4[:20]) == folded(answer4[20:]) == 0xFFFF
    answer6 = encode_unreachable(PING6[:6] + b"\x11" + PING6[7:40] + payload)
    assert answer6 is not None
    assert len(answer6) == 40 + int.from_bytes(answer6[4:6]) <= 1280
    message = answer6[40:] + bytes(len(answer6) % 2)
    assert folded(answer6[8:40] + (len(answer6) - 40).to_bytes(4) + b"\0\0\0\x3a" + message) == 0xFFFF


@pytest.mark.parametrize(
    "packet",
    [
        PING4[:20] + b"\x03" + PING4[21:],
        PING4[:20] + b"\x0b" + PING4[21:],
        PING4[:6] + b"\x00\x02" + PING4[8:],
        PING4[:20],
        PING6[:40] + b"\x01" + PING6[41:],
        PING6[:40],
        PING6[:6] + b"\x2c" + PING6[7:40] + bytes.fromhex("3a00 0008 00000001"),
        PING6[:6] + b"\x2c" + PING6[7:42],
    ],
    ids=[
        *("unreachable", "time exceeded", "a later fragment", "cut off"),
        *("v6 error", "v6 cut off", "a later v6 fragment", "v6 fragment cut off"),
    ],
)
def test_errors_and_later_fragments_are_not_answered(packet: bytes) -> None:
    """RFC 1122, section 3.2.2: two hosts would answer each other's errors for ever."""
    assert encode_unreachable(packet) is None


@given(st.binary(max_size=80) | st.binary(max_size=80).map(lambda rest: b"\x60" + rest))
def test_junk_is_malformed_or_answered_to_its_source(junk: bytes) -> None:
    try:
        answer = encode_unreachable(junk)
    except MalformedFrame:
        return
    assert answer is None or (source_of(answer), destination_of(answer)) == (destination_of(junk), source_of(junk))
