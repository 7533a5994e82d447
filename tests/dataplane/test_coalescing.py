"""Datagrams of one flow become one superpacket, and come out of it as they went in."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.dataplane.frames import TCP, UDP, Flow, flows

from tunnel.dataplane.coalescing import MAX_PACKET, coalesce
from tunnel.dataplane.superpacket import MAX_UDP_SEGMENTS, is_sound, to_plain
from tunnel.model.buffers import Buffer
from tunnel.wire.virtio import GSO_UDP_L4, decode_virtio

UDP4, UDP6 = Flow(protocol=UDP), Flow(is_ipv4=False, protocol=UDP)
BOTH = pytest.mark.parametrize("flow", [UDP4, UDP6], ids=["IPv4", "IPv6"])


def plain(frames: list[Buffer]) -> list[bytes]:
    return [bytes(packet) for frame in frames for packet in to_plain(frame)]


def without_ident(packet: bytes) -> bytes:
    """The packet, or an IPv4 one with DF without identification and header checksum (RFC 6864 section 4.1)."""
    is_atomic = packet[0] < 0x60 and packet[6] == 0x40
    return packet[:4] + packet[6:10] + packet[12:] if is_atomic else packet


def datagrams(flow: Flow, count: int, size: int = 64, first: int = 0) -> list[bytes]:
    return [flow.frame(number.to_bytes(2) * (size // 2), ident=(first + number) % 2**16) for number in range(count)]


@given(
    kinds=st.lists(flows(), min_size=1, max_size=3),
    burst=st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(0, 2), st.integers(1, 5)), min_size=1, max_size=20
    ),
    has_views=st.booleans(),
)
def test_the_packets_are_the_same_in_the_same_order(
    kinds: list[Flow], burst: list[tuple[int, int, int, int]], has_views: bool
) -> None:
    """But for the identifications of IPv4 packets with DF, which mean nothing."""
    frames: list[Buffer] = []
    for kind, size, step, repeats in burst:
        flow = kinds[kind % len(kinds)]
        frames += [flow.frame(bytes([at]) * size, ident=at * step) for at in range(repeats)]
    given_in: list[Buffer] = [memoryview(frame) for frame in frames] if has_views else frames
    joined = coalesce(given_in)
    assert list(map(without_ident, plain(joined))) == list(map(without_ident, plain(frames)))
    assert all(is_sound(frame) for frame in joined)


@BOTH
def test_datagrams_of_one_flow_become_one_superpacket(flow: Flow) -> None:
    """This is the flood of small datagrams. It is the very frame that a kernel with UDP_SEGMENT would have written."""
    whole = b"".join(number.to_bytes(2) * 32 for number in range(20))
    assert coalesce(datagrams(flow, 20, first=2**16 - 3)) == [flow.superpacket(whole, 64, ident=2**16 - 3)]


@BOTH
def test_the_last_datagram_may_be_shorter(flow: Flow) -> None:
    frames = [flow.frame(b"four", ident=0), flow.frame(b"five", ident=1), flow.frame(b"six", ident=2)]
    rest = [flow.frame(b"one", ident=3), flow.frame(b"more", ident=4)]
    assert coalesce(frames + rest) == [
        flow.superpacket(b"fourfivesix", 4),
        rest[0],
        rest[1],
    ]
    assert coalesce(rest) == rest


@BOTH
def test_a_superpacket_has_no_more_datagrams_than_a_kernel_takes(flow: Flow) -> None:
    joined = coalesce(datagrams(flow, 2 * MAX_UDP_SEGMENTS + 1))
    assert [len(to_plain(frame)) for frame in joined] == [MAX_UDP_SEGMENTS, MAX_UDP_SEGMENTS, 1]


@BOTH
def test_a_superpacket_fits_the_length_field(flow: Flow) -> None:
    joined = coalesce(datagrams(flow, 64, 1300))
    most = (MAX_PACKET - flow.headers) // 1300
    assert [len(to_plain(frame)) for frame in joined] == [most, 64 - most]
    assert all(is_sound(frame) for frame in joined)


@BOTH
@pytest.mark.parametrize("other", ["ports", "tos", "ttl"])
def test_different_headers_are_not_joined(flow: Flow, other: str) -> None:
    changes = {"ports": replace(flow, ports=(4000, 81)), "tos": replace(flow, tos=3), "ttl": replace(flow, ttl=1)}
    frames: list[Buffer] = [flow.frame(b"one", ident=0), changes[other].frame(b"two", ident=1), flow.frame(b"one")]
    assert coalesce(frames) == frames


@pytest.mark.parametrize("place", [12, 19, 22, 37])
def test_other_addresses_are_not_joined(place: int) -> None:
    first = UDP4.frame(b"payload") if place < 20 else UDP6.frame(b"payload")
    other = bytearray(first)
    other[10 + place] ^= 1
    assert coalesce([first, other]) == [first, other]


def test_another_flow_label_is_not_joined() -> None:
    first = UDP6.frame(b"payload")
    assert len(coalesce([first, first[:13] + b"\x07" + first[14:]])) == 2


def test_without_df_identifications_must_count_up() -> None:
    """They may be needed to put fragments together further on, so they must stay as the sender chose them."""
    flow = replace(UDP4, may_fragment=True)
    counting, others = datagrams(flow, 3, first=2**16 - 2), datagrams(flow, 2, first=9)
    joined = coalesce(counting + others)
    assert plain(joined) == plain([*counting, *others])
    assert [decode_virtio(frame).gso_type for frame in joined] == [GSO_UDP_L4, GSO_UDP_L4]
    assert [len(to_plain(frame)) for frame in joined] == [3, 2]


@pytest.mark.parametrize(
    "frame",
    [
        bytes(10) + UDP4.packet(b"payload"),
        bytes(10) + UDP4.packet(b"payload")[:26] + bytes(2) + b"payload",
        b"\x02" + bytes(9) + UDP4.packet(b"payload"),
        UDP4.packet(b"payload"),
        Flow(protocol=UDP, has_options=True).frame(b"payload"),
        Flow(is_ipv4=False, protocol=UDP, has_options=True).frame(b"payload"),
        Flow(protocol=TCP).frame(b"payload"),
        UDP4.frame(b""),
        UDP6.frame(b""),
        UDP4.superpacket(b"payload", 4),
        UDP4.frame(b"payload")[:16] + b"\x20\x00" + UDP4.frame(b"payload")[18:],
        UDP4.frame(b"payload")[:6] + b"\x14\x00\x10\x00" + UDP4.frame(b"payload")[10:],
        UDP4.frame(b"payload")[:-1],
        UDP6.frame(b"payload")[:-1],
        UDP6.frame(b"payload")[:-7],
        UDP4.frame(b"payload")[:20],
        UDP4.frame(b"payload")[:34] + b"\x00\x0e" + UDP4.frame(b"payload")[36:],
    ],
    ids=[
        "with a complete checksum",
        "without a checksum",
        "verified",
        "plain",
        "with IPv4 options",
        "with IPv6 options",
        "TCP",
        "without payload",
        "without payload over IPv6",
        "a superpacket",
        "a fragment",
        "another partial checksum",
        "cut off",
        "cut off over IPv6",
        "cut off at its payload",
        "cut off in its header",
        "with another UDP length",
    ],
)
def test_everything_else_passes_as_it_is(frame: bytes) -> None:
    frames: list[Buffer] = [frame] * 3
    assert [id(passed) for passed in coalesce(frames)] == [id(frame)] * 3
    between: list[Buffer] = [UDP4.frame(b"equal"), UDP4.frame(b"equal"), frame, UDP6.frame(b"equal"), frame]
    assert coalesce(between)[1:] == between[2:]


def test_an_empty_burst_is_empty() -> None:
    assert coalesce([]) == []
    assert coalesce([UDP4.frame(b"alone")]) == [UDP4.frame(b"alone")]
