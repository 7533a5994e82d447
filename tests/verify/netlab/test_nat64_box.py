"""The lab's NAT64, packet by packet; on real kernels it stands in tests/journeys/test_reaching.py."""

from __future__ import annotations

import ipaddress
import struct

import pytest

from tunnel.verify.netlab.nat64_box import Nat64

PREFIX = ipaddress.IPv6Address("64:ff9b::").packed[:12]
OUTER = ipaddress.IPv4Address("25.98.0.1").packed
PHONE = ipaddress.IPv6Address("2a25:1:1::10").packed
SERVER = ipaddress.IPv4Address("25.0.0.1").packed
UDP = 17


def sums_up(data: bytes) -> bool:
    """Whether the Internet checksum in it is right (RFC 1071): all words together are all ones."""
    padded = data + b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total == 0xFFFF


def datagram(source_port: int, port: int, payload: bytes) -> bytes:
    return struct.pack("!HHHH", source_port, port, 8 + len(payload), 0) + payload


def from_phone(source_port: int = 5000, source: bytes = PHONE, destination: bytes = PREFIX + SERVER) -> bytes:
    body = datagram(source_port, 3478, b"hello")
    return struct.pack("!IHBB", 6 << 28, len(body), UDP, 64) + source + destination + body


def from_server(port: int, source_port: int = 3478, destination: bytes = OUTER) -> bytes:
    body = datagram(source_port, port, b"back!")
    return struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 0, 0, 60, UDP, 0) + SERVER + destination + body


def test_a_datagram_goes_out_as_ipv4_and_its_answer_comes_back_as_ipv6() -> None:
    box = Nat64(PREFIX, OUTER)
    out = box.translate(from_phone())
    assert out is not None
    assert (out[0], out[8], out[12:16], out[16:20]) == (0x45, 63, OUTER, SERVER)
    assert struct.unpack("!HH", out[20:24]) == (5000, 3478)
    assert out[28:] == b"hello"
    assert sums_up(out[:20])
    assert sums_up(OUTER + SERVER + struct.pack("!HH", UDP, len(out) - 20) + out[20:])
    back = box.translate(from_server(5000))
    assert back is not None
    assert (back[0] >> 4, back[7], back[8:24], back[24:40]) == (6, 59, PREFIX + SERVER, PHONE)
    assert back[48:] == b"back!"
    assert sums_up(back[8:40] + struct.pack("!II", len(back) - 40, UDP) + back[40:])


def test_two_hosts_with_one_port_get_two_and_keep_them_for_all_destinations() -> None:
    box = Nat64(PREFIX, OUTER)
    other = ipaddress.IPv6Address("2a25:1:1::11").packed
    sent = [box.translate(from_phone(source=source)) for source in (PHONE, other, other)]
    assert [struct.unpack("!H", packet[20:22])[0] for packet in sent if packet is not None] == [5000, 5001, 5001]


@pytest.mark.parametrize(
    "packet",
    [
        pytest.param(from_server(5001), id="a port of nobody"),
        pytest.param(from_server(5000, source_port=3479), id="from a port that was not spoken to"),
        pytest.param(from_server(5000, destination=SERVER), id="for somebody else"),
        pytest.param(from_phone(destination=PHONE), id="no IPv4 behind it"),
    ],
)
def test_what_has_no_place_is_dropped(packet: bytes) -> None:
    box = Nat64(PREFIX, OUTER)
    assert box.translate(from_phone()) is not None
    assert box.translate(packet) is None
