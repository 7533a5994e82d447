"""UDP of the kernels behind tunnel interfaces: what is sent comes, and superpackets are cut as they cut them."""

from __future__ import annotations

import pytest

from tunnel.dataplane.superpacket import is_sound, to_plain
from tunnel.model.errors import MalformedFrame
from tunnel.verify.memory.inner_udp import InnerDatagram, InnerFlow, decode_frame, encode_frame, encode_packet

FLOWS = {
    4: InnerFlow(bytes([10, 86, 0, 1]), bytes([10, 86, 0, 2]), 20000, 20001),
    6: InnerFlow(bytes([0xFD]) + bytes(14) + b"\1", bytes([0xFD]) + bytes(14) + b"\2", 20000, 20001),
}
PAYLOADS = [bytes([number]) * 301 for number in range(5)]


@pytest.mark.parametrize("version", FLOWS)
def test_a_packet_a_frame_and_a_superpacket_hold_what_was_sent(version: int) -> None:
    flow = FLOWS[version]
    for payload in PAYLOADS:
        assert decode_frame(encode_packet(flow, payload)) == [InnerDatagram(flow, payload)]
        assert decode_frame(encode_frame(flow, [payload])) == [InnerDatagram(flow, payload)]
    assert decode_frame(encode_frame(flow, PAYLOADS)) == [InnerDatagram(flow, payload) for payload in PAYLOADS]


@pytest.mark.parametrize("version", FLOWS)
def test_the_data_plane_makes_the_plain_packets_of_it_that_a_kernel_would(version: int) -> None:
    flow, frame = FLOWS[version], encode_frame(FLOWS[version], PAYLOADS)
    assert is_sound(frame)
    assert [decode_frame(packet) for packet in to_plain(frame)] == [[InnerDatagram(flow, each)] for each in PAYLOADS]


@pytest.mark.parametrize("version", FLOWS)
def test_every_turned_bit_is_found(version: int) -> None:
    packet = encode_packet(FLOWS[version], PAYLOADS[1])
    for at in range(len(packet) * 8):
        turned = bytearray(packet)
        turned[at // 8] ^= 1 << at % 8
        try:
            assert decode_frame(turned) == []
        except MalformedFrame:
            continue


def test_what_is_no_udp_is_malformed() -> None:
    for frame in (b"\x45" + bytes(40), b"\x60" + bytes(60), b"\x7f" * 60, bytes(10) + b"\x45" + bytes(30)):
        with pytest.raises(MalformedFrame):
            decode_frame(frame)
