"""Superpackets are cut as a kernel cuts them, and a header that lies is found out."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.dataplane.frames import ACK, CWR, FIN, PSH, UDP, VIRTIO, Flow, flows

from tunnel.dataplane.superpacket import MAX_TCP_SEGMENTS, MAX_UDP_SEGMENTS, is_sound, split, to_plain
from tunnel.model.buffers import Buffer
from tunnel.wire.virtio import decode_virtio

PAYLOAD = bytes(range(256)) * 20


def plain(frames: list[Buffer]) -> list[bytes]:
    return [bytes(packet) for frame in frames for packet in to_plain(frame)]


@given(
    flow=flows(),
    bytes_of_payload=st.integers(1, 400),
    size=st.integers(8, 60),
    most=st.integers(1, 70),
    sequence=st.integers(0, 2**32 - 1),
    ident=st.integers(0, 2**16 - 1),
    flags=st.integers(0, 255),
)
@example(Flow(), 100, 10, 3, 2**32 - 20, 2**16 - 2, FIN | PSH | ACK | CWR)
@example(Flow(False, UDP), 101, 10, 3, 0, 0, 0)
def test_a_superpacket_is_cut_as_if_each_segment_had_been_made_alone(
    flow: Flow, bytes_of_payload: int, size: int, most: int, sequence: int, ident: int, flags: int
) -> None:
    """What a receiver gets is the same whether its kernel or `to_plain` cuts, and whether `split` has cut before."""
    payload = PAYLOAD[:bytes_of_payload]
    frame = flow.superpacket(payload, size, sequence=sequence, ident=ident, flags=flags)
    segments = flow.segments(payload, size, sequence=sequence, ident=ident, flags=flags)
    if len(segments) > MAX_UDP_SEGMENTS:
        return
    assert is_sound(frame)
    assert plain([frame]) == segments
    parts = split(memoryview(frame), most)
    assert [len(to_plain(part)) for part in parts[:-1]] == [most] * (len(parts) - 1)
    assert plain(parts) == segments
    assert all(is_sound(part) for part in parts)


def test_a_superpacket_with_few_segments_stays_as_it_is() -> None:
    """The usual case must cost nothing."""
    frame = Flow().superpacket(PAYLOAD[:1000], 100, flags=ACK | CWR)
    assert split(frame, 10)[0] is frame
    assert len(split(frame, 9)) == 2


@pytest.mark.parametrize("frame", [Flow().frame(b"small"), Flow().packet(b"plain"), bytes(10) + Flow().packet(b"x")])
def test_what_is_no_superpacket_is_not_split(frame: bytes) -> None:
    assert split(frame, 1)[0] is frame


@pytest.mark.parametrize(
    ("flow", "most"), [(Flow(), MAX_TCP_SEGMENTS), (Flow(protocol=UDP), MAX_UDP_SEGMENTS)], ids=["TCP", "UDP"]
)
def test_no_part_has_more_segments_than_a_peer_accepts(flow: Flow, most: int) -> None:
    """Whatever the caller allows: a kernel makes superpackets of thousands of segments for a tiny MSS."""
    frame = flow.superpacket(PAYLOAD, 10)
    assert not is_sound(frame)
    parts = split(frame, 1000)
    assert [len(to_plain(part)) for part in parts] == [most] * (512 // most)
    assert all(is_sound(part) for part in parts)


@pytest.mark.parametrize("size", [10, 100])
def test_only_the_first_part_says_that_cwr_is_set(size: int) -> None:
    """The bit makes a kernel clear CWR in all segments but the first; the later parts have none to clear."""
    parts = split(Flow().superpacket(PAYLOAD[: 6 * size], size, flags=ACK | CWR), 2)
    assert [decode_virtio(part).gso_type for part in parts] == [0x81, 1, 1]
    assert [part[10 + 20 + 13] & CWR for part in parts] == [CWR, 0, 0]


def test_a_part_of_one_segment_is_an_ordinary_packet_with_a_partial_checksum() -> None:
    flow = Flow()
    parts = split(flow.superpacket(PAYLOAD[:250], 100, ident=7, sequence=70), 2)
    assert parts[1] == flow.frame(PAYLOAD[200:250], ident=9, sequence=270)
    assert [bytes(part) for part in split(flow.superpacket(PAYLOAD[:20], 10), 1)] == [
        flow.frame(PAYLOAD[:10]),
        flow.frame(PAYLOAD[10:20], ident=1, sequence=10),
    ]


def test_a_split_superpacket_by_hand() -> None:
    """A TCP superpacket of three segments: FIN and PSH move to the end, CWR stays in front."""
    frame = bytes.fromhex(
        "0181 2800 0400 1400 1000"
        "4500 0032 ffff 4000 4006 2618 0a560001 0a560002"
        "1000 0050 fffffffc 00000001 5099 0040 14d3 0000"
        "6f6e6531 74776f32 7468"
    )
    assert split(frame, 2) == [
        bytes.fromhex(
            "0181 2800 0400 1400 1000"
            "4500 0030 ffff 4000 4006 261a 0a560001 0a560002"
            "1000 0050 fffffffc 00000001 5090 0040 14d1 0000"
            "6f6e6531 74776f32"
        ),
        bytes.fromhex(
            "0100 0000 0000 1400 1000"
            "4500 002a 0001 4000 4006 261f 0a560001 0a560002"
            "1000 0050 00000004 00000001 5019 0040 14cb 0000"
            "7468"
        ),
    ]


@given(flow=flows(), bytes_of_payload=st.integers(0, 1000), ident=st.integers(0, 2**16 - 1))
def test_a_partial_checksum_is_completed(flow: Flow, bytes_of_payload: int, ident: int) -> None:
    payload = PAYLOAD[:bytes_of_payload]
    frame = flow.frame(payload, ident=ident)
    assert is_sound(frame)
    assert plain([frame, memoryview(frame)]) == [flow.packet(payload, ident=ident)] * 2


@pytest.mark.parametrize("flags", [0, 2])
def test_a_packet_that_needs_nothing_is_passed_on(flags: int) -> None:
    packet = Flow().packet(b"whole")
    frame = bytes((flags,)) + bytes(9) + packet
    assert is_sound(frame)
    assert plain([frame]) == [packet]
    assert to_plain(packet)[0] is packet


def test_a_completed_udp_checksum_is_never_zero() -> None:
    """Zero would say that there is none (RFC 768)."""
    flow = Flow(protocol=UDP)
    to_zero = flow.packet(bytes(2))[26:28]
    assert plain([flow.frame(to_zero)])[0][26:28] == b"\xff\xff"
    assert plain([flow.superpacket(to_zero * 3, 2)])[1][26:28] == b"\xff\xff"


def test_a_completed_tcp_checksum_may_be_zero() -> None:
    """There it is a number like others."""
    flow = Flow()
    to_zero = flow.packet(bytes(2))[36:38]
    assert plain([flow.frame(to_zero)])[0][36:38] == b"\0\0"


TCP4, TCP6 = Flow(), Flow(is_ipv4=False)
UDP4, UDP6 = Flow(protocol=UDP), Flow(is_ipv4=False, protocol=UDP)
SUPER4, SUPER6 = TCP4.superpacket(PAYLOAD[:300], 100), TCP6.superpacket(PAYLOAD[:300], 100)
SUPER_UDP4, SUPER_UDP6 = UDP4.superpacket(PAYLOAD[:300], 100), UDP6.superpacket(PAYLOAD[:300], 100)
SMALL4, SMALL6 = UDP4.frame(b"small"), UDP6.frame(b"small")
EXTENDED = Flow(is_ipv4=False, has_options=True).superpacket(PAYLOAD[:300], 100)


class Looked(bytes):
    """Counts how often somebody looks into it."""

    times = 0

    def __getitem__(self, key: Any) -> Any:
        Looked.times += 1
        return super().__getitem__(key)


def test_a_chain_of_extension_headers_without_end_is_not_followed_to_its_end() -> None:
    """One frame of 60 KiB kept a node busy for 5 ms."""
    chain = b"\x3c\x00".ljust(8, b"\x00") * 7000
    packet = SUPER6[PACKET : PACKET + 4] + len(chain).to_bytes(2) + b"\x3c" + SUPER6[PACKET + 7 : PACKET + 40] + chain
    assert not is_sound(Looked(SUPER6[:PACKET] + packet))
    assert Looked.times < 200


def changed(frame: bytes, at: int, new: str) -> bytes:
    written = bytes.fromhex(new)
    return frame[:at] + written + frame[at + len(written) :]


FLAGS, TYPE, HDR_LEN, GSO_SIZE, CSUM_START, CSUM_OFFSET, PACKET = 0, 1, 2, 4, 6, 8, 10


@pytest.mark.parametrize(
    "frame",
    [SUPER4, SUPER6, SUPER_UDP4, SUPER_UDP6, SMALL4, SMALL6, EXTENDED, changed(SUPER4, TYPE, "81")]
    + [changed(SUPER4, HDR_LEN, new) for new in ("0000", "5401")]
    + [changed(bytes(10) + SMALL4[10:], FLAGS, "02"), changed(SUPER4, GSO_SIZE, "8000"), bytes(10) + TCP4.packet(b"")]
    + [TCP4.superpacket(PAYLOAD[:1024], 8), UDP4.superpacket(PAYLOAD[:64], 1), UDP4.superpacket(b"one", 3)]
    + [Flow(has_options=True).superpacket(PAYLOAD[:300], 100), UDP4.superpacket(b"three", 64)],
)
def test_what_kernels_write_is_sound(frame: bytes) -> None:
    """Honest traffic must not suffer. An hdr_len is only a hint; older kernels call one segment a superpacket."""
    assert is_sound(frame)
    assert is_sound(memoryview(bytearray(frame)))


LIES = {
    "cut off in its virtio header": SUPER4[:9],
    "cut off in its IP header": SUPER4[:29],
    "cut off in its IPv6 header": bytes(10) + SUPER6[10:49],
    "an unknown flag": changed(SMALL4, FLAGS, "05"),
    "partial and verified": changed(SMALL4, FLAGS, "03"),
    "segments and verified": changed(SUPER4, FLAGS, "03"),
    "segments without a partial checksum": changed(SUPER4, FLAGS, "00"),
    "UFO": changed(SUPER_UDP4, TYPE, "03"),
    "an unknown kind of segments": changed(SUPER4, TYPE, "02"),
    "a tunnel's segments": changed(SUPER4, TYPE, "21"),
    "ECN without segments": changed(SMALL4, TYPE, "80"),
    "ECN in UDP": changed(SUPER_UDP4, TYPE, "85"),
    "TCPV6 over IPv4": changed(SUPER4, TYPE, "04"),
    "TCPV4 over IPv6": changed(SUPER6, TYPE, "01"),
    "TCPV4 with UDP": changed(SUPER_UDP4, TYPE, "01"),
    "UDP_L4 with TCP": changed(SUPER4, TYPE, "05"),
    "sizes without segments": changed(SMALL4, GSO_SIZE, "0100"),
    "a header length without segments": changed(SMALL4, HDR_LEN, "1c00"),
    "a checksum's place without a checksum": changed(SMALL4, FLAGS, "00"),
    "a checksum's place although it is verified": changed(SMALL4, FLAGS, "02"),
    "headers longer than the packet": changed(SUPER4, HDR_LEN, "5501"),
    "no size": changed(SUPER4, GSO_SIZE, "0000"),
    "no size of UDP": changed(SUPER_UDP4, GSO_SIZE, "0000"),
    "less than the least MSS": changed(SUPER4, GSO_SIZE, "0700"),
    "GSO_BY_FRAGS": changed(SUPER4, GSO_SIZE, "ffff"),
    "too many segments of TCP": TCP4.superpacket(PAYLOAD[:1025], 8),
    "too many segments of UDP": UDP4.superpacket(PAYLOAD[:65], 1),
    "no payload": TCP4.superpacket(b"", 100),
    "no payload of UDP": UDP4.superpacket(b"", 100),
    "a checksum before the transport header": changed(SUPER4, CSUM_START, "1300"),
    "a checksum behind the transport header": changed(SUPER6, CSUM_START, "2a00"),
    "a checksum far behind": changed(SUPER6, CSUM_START, "2801"),
    "a checksum outside the packet": changed(SMALL4, CSUM_START, "ffff"),
    "a checksum in the IP header": changed(SMALL4, CSUM_START, "0000"),
    "a checksum in the ports": changed(SMALL4, CSUM_OFFSET, "0000"),
    "a checksum of TCP in UDP": changed(SMALL4, CSUM_OFFSET, "1000"),
    "a checksum of UDP in TCP": changed(SUPER4, CSUM_OFFSET, "0600"),
    "a partial checksum of ICMP": changed(SMALL4, PACKET + 9, "01"),
    "a partial checksum of ICMPv6": changed(changed(SMALL6, PACKET + 6, "3a"), CSUM_OFFSET, "0200"),
    "a partial checksum in a first fragment": changed(SMALL4, PACKET + 6, "2000"),
    "a partial checksum in a later fragment": changed(SMALL4, PACKET + 6, "0001"),
    "segments in a fragment": changed(SUPER4, PACKET + 6, "2000"),
    "a partial checksum behind an IPv6 fragment header": changed(EXTENDED, PACKET + 6, "2c"),
    "extension headers that end elsewhere": changed(EXTENDED, PACKET + 41, "01"),
    "extension headers beyond the packet": changed(EXTENDED, PACKET + 40, "00ff"),
    "an IPv4 length beyond the packet": changed(SMALL4, PACKET + 2, "0022"),
    "an IPv4 length short of the packet": changed(bytes(10) + SMALL4[10:], PACKET + 2, "0020"),
    "an IPv6 length beyond the packet": changed(SMALL6, PACKET + 4, "000e"),
    "an IPv6 length short of the packet": changed(bytes(10) + SMALL6[10:], PACKET + 4, "000c"),
    "an IPv4 header of 16 bytes": changed(SMALL4, PACKET, "44"),
    "an IPv4 header beyond the packet": changed(bytes(10) + SMALL4[10:], PACKET, "4f"),
    "another IPv4 header": changed(SMALL4, PACKET, "46"),
    "IP version 5": changed(SMALL4, PACKET, "55"),
    "IP version 7": changed(SMALL6, PACKET, "70"),
    "a TCP header of 16 bytes": changed(SUPER4, PACKET + 32, "40"),
    "a TCP header beyond the packet": changed(TCP4.superpacket(PAYLOAD[:20], 10), PACKET + 32, "f0"),
    "a UDP length of one segment": changed(SUPER_UDP4, PACKET + 24, "006c"),
    "TCP cut off": VIRTIO.pack(1, 0, 0, 0, 20, 16) + changed(TCP4.packet(b"")[:39], 2, "0027"),
    "UDP cut off": VIRTIO.pack(1, 0, 0, 0, 20, 6) + changed(UDP4.packet(b"")[:27], 2, "001b"),
}


@pytest.mark.parametrize("frame", LIES.values(), ids=LIES)
def test_a_header_that_lies_is_refused(frame: bytes) -> None:
    assert not is_sound(frame)
    assert not is_sound(memoryview(frame))


@given(st.binary(max_size=120))
def test_junk_is_judged_without_an_error(junk: bytes) -> None:
    assert is_sound(junk) in (True, False)


@given(
    frame=st.sampled_from((SUPER4, SUPER6, SUPER_UDP4, SUPER_UDP6, SMALL4, SMALL6, EXTENDED)),
    changes=st.lists(st.tuples(st.integers(0, 80), st.integers(0, 255)), min_size=1, max_size=3),
    cut=st.integers(0, 400),
)
def test_what_is_sound_can_be_cut(frame: bytes, changes: list[tuple[int, int]], cut: int) -> None:
    """Whatever a peer changes: the packets have the lengths that they claim, and there are not many of them."""
    mutated = bytearray(frame[: cut or None])
    for at, value in changes:
        if at < len(mutated):
            mutated[at] = value
    if not is_sound(mutated):
        return
    packets = plain([mutated])
    assert 1 <= len(packets) <= MAX_TCP_SEGMENTS
    assert packets == plain(split(mutated, 2))
    for packet in packets:
        claimed = struct.unpack_from("!H", packet, 2 if packet[0] < 0x60 else 4)[0] + (packet[0] >= 0x60) * 40
        assert claimed == len(packet)
    assert sum(map(len, packets)) <= len(mutated) + 128 * 120
