from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnel.model.errors import MalformedFrame
from tunnel.wire.ip_packet import destination_of, ip_version, source_of

PING4 = bytes.fromhex("4500001c 00010000 40010000 0a560001 0a560002 0800f7ff00000000")
UDP6 = bytes.fromhex(
    "60000000 00081140 fd000000000000000000000000000001 fd000000000000000000000000000002 0035003500080000"
)


def test_the_addresses_of_an_ipv4_packet_are_found() -> None:
    assert (ip_version(PING4), source_of(PING4), destination_of(PING4)) == (4, b"\x0a\x56\x00\x01", b"\x0a\x56\x00\x02")


def test_the_addresses_of_an_ipv6_packet_are_found() -> None:
    assert ip_version(UDP6) == 6
    assert source_of(UDP6) == b"\xfd" + bytes(14) + b"\x01"
    assert destination_of(UDP6) == b"\xfd" + bytes(14) + b"\x02"


@pytest.mark.parametrize(
    "packet",
    [b"", b"\x45", PING4[:19], UDP6[:39], b"\x44" + PING4[1:], b"\x05" + PING4[1:], b"\x75" + UDP6[1:]],
    ids=["empty", "one byte", "short v4", "short v6", "v4 header of 16 bytes", "version 0", "version 7"],
)
def test_what_is_no_ip_packet_is_malformed(packet: bytes) -> None:
    for read in (ip_version, source_of, destination_of):
        with pytest.raises(MalformedFrame):
            read(packet)


@given(st.binary(max_size=80) | st.binary(max_size=80).map(lambda rest: b"\x60" + rest))
def test_junk_has_whole_addresses_or_is_malformed(junk: bytes) -> None:
    try:
        version = ip_version(junk)
    except MalformedFrame:
        return
    assert len(source_of(junk)) == len(destination_of(junk)) == {4: 4, 6: 16}[version]
