from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnel.model.errors import MalformedFrame
from tunnel.wire.ip_packet import addresses_of, destination_of, ip_version, leads_on, source_of

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
    [b"", b"E", PING4[:19], UDP6[:39], b"D" + PING4[1:], b"H" + PING4[1:], b"\x05" + PING4[1:], b"u" + UDP6[1:]],
    ids=[
        "empty",
        "one byte",
        "short v4",
        "short v6",
        "v4 header of 16 bytes",
        "header cut off",
        "version 0",
        "version 7",
    ],
)
def test_what_is_no_ip_packet_is_malformed(packet: bytes) -> None:
    for read in (ip_version, source_of, destination_of, addresses_of):
        with pytest.raises(MalformedFrame):
            read(packet)


@given(st.binary(max_size=80) | st.binary(max_size=80).map(lambda rest: b"\x60" + rest))
def test_junk_has_whole_addresses_or_is_malformed(junk: bytes) -> None:
    try:
        version = ip_version(junk)
    except MalformedFrame:
        return
    assert addresses_of(junk) == (source_of(junk), destination_of(junk))
    assert len(source_of(junk)) == len(destination_of(junk)) == {4: 4, 6: 16}[version]
    assert leads_on(junk) in (True, False)


def ip4(options: str) -> bytes:
    """A packet with these IPv4 options."""
    return bytes([0x45 + len(options) // 8]) + PING4[1:20] + bytes.fromhex(options) + PING4[20:]


def ip6(first: int, headers: str) -> bytes:
    """A packet with these IPv6 extension headers, the first of this kind."""
    return UDP6[:6] + bytes([first]) + UDP6[7:40] + bytes.fromhex(headers) + UDP6[40:]


ROUTE6 = "1102 0001 00000000 fd000000000000000000000000000099"  # then UDP; 2 x 8 bytes more; type 0, 1 segment left


@pytest.mark.parametrize(
    "packet",
    [
        ip4("8307 04c0a80101 00"),
        ip4("8907 04c0a80101 00"),
        ip4("01010101 8307 04c0a80101 00"),
        ip4("94040000 8307 04c0a80101 00"),
        ip6(43, ROUTE6),
        ip6(0, "2b00 010400000000" + ROUTE6),
        ip6(60, "2b00 010400000000" + ROUTE6),
        ip6(44, "2b00 0001 00000007" + ROUTE6),
        ip6(43, "2b00 0000 00000000" + ROUTE6),
        ip6(44, "3c00 0001 00000007 2b00 010400000000")[:56],
    ],
    ids=[
        "loose",
        "strict",
        "behind padding",
        "behind another option",
        "routing header",
        "behind hop-by-hop options",
        "behind destination options",
        "in a first fragment",
        "behind a routing header at its end",
        "in the second fragment, as the first one says",
    ],
)
def test_a_packet_that_asks_to_be_passed_on_is_found_out(packet: bytes) -> None:
    """RFC 791 section 3.1, RFC 8200 section 4.4: a kernel that may forward obeys them."""
    assert leads_on(packet)


@pytest.mark.parametrize(
    "packet",
    [
        PING4,
        UDP6,
        ip4("94040000"),
        ip4("00000000 8307 04c0a80101 00"),
        ip4("01010144"),
        ip4("44000000"),
        ip6(0, "1100 010400000000"),
        ip6(43, "1100 0000 00000000"),
        ip6(44, "2b00 0008 00000007" + ROUTE6),
        ip6(44, "1100 0001 00000007"),
        ip6(44, "3c00 0001 00000007 1100 010400000000"),
        ip6(43, "11ff")[:44],
    ],
    ids=[
        "plain v4",
        "plain v6",
        "router alert",
        "behind the end",
        "cut off",
        "an option of no length",
        "hop-by-hop",
        "no segment left",
        "a later fragment",
        "a first fragment",
        "a first fragment that shows all headers",
        "cut off v6",
    ],
)
def test_a_packet_that_ends_at_its_destination_is_none_of_those(packet: bytes) -> None:
    assert not leads_on(packet)


class Looked(bytes):
    """Counts how often somebody looks into it."""

    times = 0

    def __getitem__(self, key: Any) -> Any:
        Looked.times += 1
        found = super().__getitem__(key)
        return Looked(found) if isinstance(found, bytes) else found


@pytest.mark.parametrize(("count", "leads"), [(1, False), (100, False), (7000, True)])
def test_a_chain_of_headers_without_end_is_not_followed_to_its_end(count: int, leads: bool) -> None:
    """One packet of 60 KiB kept a node busy for 5 ms."""
    Looked.times = 0
    assert leads_on(Looked(ip6(60, "3c00 000000000000" * (count - 1) + "1100 000000000000"))) is leads
    assert Looked.times < 1000
