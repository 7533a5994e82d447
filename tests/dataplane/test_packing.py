"""Which frames share a record: all come out, in order, and no record is larger than it may be unless a packet is."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.dataplane.frames import TCP, UDP, Flow

from tunnel.dataplane.packing import pack
from tunnel.dataplane.superpacket import MAX_TCP_SEGMENTS, MAX_UDP_SEGMENTS, is_sound, to_plain
from tunnel.model.buffers import Buffer
from tunnel.wire.frames import BASE_SIZE, HEADER_BYTES, TAG_BYTES
from tunnel.wire.records import APPLICATION, BUNDLE, LEAST_BUNDLED, MAX_RECORD, decode_bundle

ONE_FRAGMENT = BASE_SIZE - HEADER_BYTES - TAG_BYTES
PAYLOAD = bytes(range(256)) * 250


def small(size: int, number: int = 0) -> bytes:
    """A plain frame of so many bytes."""
    return b"\x45" + bytes([number]) * (size - 1)


def frames_of(records: Sequence[Buffer]) -> list[bytes]:
    """What is in the records, in order."""
    frames: list[Buffer] = []
    for record in records:
        frames += decode_bundle(bytes(record)) if record[:1] == BUNDLE else [record]
    return [bytes(frame) for frame in frames]


def plain(frames: Sequence[bytes]) -> list[bytes]:
    """Each as the IP packets that a plain interface gets; an application's datagram as it is."""
    return [
        bytes(packet) for frame in frames for packet in ([frame] if frame.startswith(APPLICATION) else to_plain(frame))
    ]


FRAMES = st.one_of(
    st.builds(small, st.integers(LEAST_BUNDLED, 3000), st.integers(0, 255)),
    st.builds(lambda size: APPLICATION + bytes(size), st.integers(0, 3000)),
    st.builds(
        lambda protocol, is_ipv4, length, size: Flow(is_ipv4, protocol).superpacket(PAYLOAD[:length], size),
        st.sampled_from((TCP, UDP)),
        st.booleans(),
        st.integers(1, 20_000),
        st.integers(50, 1360),
    ),
)


@given(st.lists(FRAMES, min_size=1, max_size=30), st.integers(ONE_FRAGMENT, MAX_RECORD))
def test_all_come_out_in_order_and_no_record_is_larger_than_it_may_be(frames: list[bytes], limit: int) -> None:
    """Larger is only a record of one packet that is larger itself."""
    records = pack(frames, limit, limit)
    assert plain(frames_of(records)) == plain(frames)
    for record in records:
        first = record[0]
        is_one_packet = first == APPLICATION[0] or (first != BUNDLE[0] and len(to_plain(record)) == 1)
        assert len(record) <= limit or is_one_packet
        if first == APPLICATION[0]:
            assert bytes(record) in frames


def test_a_frame_alone_is_sealed_from_where_it_lies() -> None:
    """No copy is made of a superpacket."""
    frame = memoryview(Flow().superpacket(PAYLOAD[:50_000], 1360))
    assert pack([frame], MAX_RECORD, MAX_RECORD)[0] is frame


@pytest.mark.parametrize(("limit", "sizes"), [(1001, [1001, 1001, 501]), (1000, [901, 901, 701])])
def test_as_many_small_frames_share_a_record_as_fit(limit: int, sizes: list[int]) -> None:
    frames = [small(98, number) for number in range(25)]
    records = pack(frames, limit, limit)
    assert [len(record) for record in records] == sizes
    assert frames_of(records) == frames


@pytest.mark.parametrize("limit", [ONE_FRAGMENT, MAX_RECORD])
def test_an_application_s_datagram_is_a_record_of_its_own_whatever_its_size(limit: int) -> None:
    """It is no frame: its bytes, which look like a superpacket's here, mean nothing."""
    datagrams = [APPLICATION + b"\x01\x01\x01\x00\x01" + bytes(size) for size in (10, 2000, 10)]
    frames = [small(100, 1), datagrams[0], small(100, 2), small(100, 3), datagrams[1], datagrams[2], small(100, 4)]
    assert [bytes(record[:1]) for record in pack(frames, limit, limit)] == [
        b"\x45",
        APPLICATION,
        BUNDLE,
        APPLICATION,
        APPLICATION,
        b"\x45",
    ]
    assert frames_of(pack(frames, limit, limit)) == frames


def test_a_superpacket_that_is_too_large_is_split_at_segments_into_sound_ones() -> None:
    frame = Flow().superpacket(PAYLOAD[:30_000], 1360)
    records = pack([frame], 10_000, 10_000)
    assert len(records) == 4
    assert all(is_sound(record) and len(record) <= 10_000 for record in records)
    assert plain(frames_of(records)) == plain([frame])


def test_where_the_loss_is_high_each_segment_is_a_record() -> None:
    frame = Flow(False).superpacket(PAYLOAD[:10_000], 1020)
    records = pack([frame], ONE_FRAGMENT, ONE_FRAGMENT)
    assert [len(to_plain(record)) for record in records] == [1] * 10
    assert max(map(len, records)) <= ONE_FRAGMENT


def test_a_superpacket_of_udp_is_as_large_as_a_bundle_may_be() -> None:
    """Its datagrams are no stream: each that is lost with another one is a loss more."""
    for protocol, largest in ((TCP, 9660), (UDP, 4200)):
        frame = Flow(protocol=protocol).superpacket(PAYLOAD[:9000], 1360)
        for frames in ([frame], [frame, small(100)]):
            records = pack(frames, 9660, 4200)
            assert largest / 2 < max(map(len, records)) <= largest
            assert plain(frames_of(records)) == plain(frames)


def test_one_packet_is_never_split_whatever_its_size() -> None:
    packet = small(1400)
    assert frames_of(pack([packet, packet], ONE_FRAGMENT, ONE_FRAGMENT)) == [packet, packet]
    assert len(pack([packet, packet], ONE_FRAGMENT, ONE_FRAGMENT)) == 2


@pytest.mark.parametrize(("protocol", "segments"), [(TCP, MAX_TCP_SEGMENTS), (UDP, MAX_UDP_SEGMENTS)])
def test_a_superpacket_of_more_segments_than_a_peer_takes_is_split_whatever_its_size(
    protocol: int, segments: int
) -> None:
    frame = Flow(protocol=protocol).superpacket(PAYLOAD[:3000], 10)
    for frames in ([frame], [small(100), frame, small(100)]):
        records = pack(frames, MAX_RECORD, MAX_RECORD)
        parts = frames_of(records)
        assert plain(parts) == plain(frames)
        assert max(len(to_plain(part)) for part in parts) == segments
        assert len(records) == (-(-300 // segments) if len(frames) == 1 else 1)
