"""The plaintext of a record: what its first byte says, and bundles, also from a member that lies."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnel.model.errors import MalformedFrame
from tunnel.network.datagrams import MAX_SEGMENTS
from tunnel.wire.frames import BASE_SIZE, HEADER_BYTES, TAG_BYTES
from tunnel.wire.records import (
    APPLICATION,
    BUNDLE,
    LEAST_BUNDLED,
    MAX_RECORD,
    decode_bundle,
    encode_bundle,
    start_of_packet,
)
from tunnel.wire.virtio import VIRTIO_BYTES

FRAMES = st.lists(st.binary(min_size=LEAST_BUNDLED, max_size=60), max_size=10)
FULL = "45" + "00" * (LEAST_BUNDLED - 1)


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        ([], "80"),
        ([bytes.fromhex(FULL)], "80 0014" + FULL),
        ([bytes.fromhex(FULL) + b"ab", b"\x00\x01" + bytes(20)], "80 0016" + FULL + "6162 0016 0001" + "00" * 20),
        ([bytes(258)], "80 0102" + "00" * 258),
    ],
)
def test_a_bundle_is_these_bytes(frames: list[bytes], expected: str) -> None:
    assert encode_bundle(frames) == bytes.fromhex(expected)
    assert decode_bundle(bytes.fromhex(expected)) == frames


@given(FRAMES)
def test_frames_come_back_as_they_were(frames: list[bytes]) -> None:
    assert decode_bundle(encode_bundle([memoryview(frame) for frame in frames])) == frames


def test_the_longest_frame_fits_a_bundle() -> None:
    assert decode_bundle(encode_bundle([bytes(65535), bytes(20)])) == [bytes(65535), bytes(20)]


@pytest.mark.parametrize(
    "lying",
    [
        "80 00",
        "80 0000",
        "80 0000 45",
        "80 0002 45",
        "80 ffff 45",
        "80 0001 45",
        "80 0013" + FULL[2:],
        f"80 0014 {FULL} 00",
        f"80 0014 {FULL} 0000",
        f"80 0014 {FULL} 0001 45",
        f"80 0014 {FULL} 0015 {FULL}",
    ],
)
def test_of_a_bundle_that_lies_no_frame_is_used(lying: str) -> None:
    with pytest.raises(MalformedFrame):
        decode_bundle(bytes.fromhex(lying))


@given(st.one_of(st.binary(max_size=60), FRAMES.map(lambda frames: encode_bundle(frames)[1:])))
def test_junk_is_a_bundle_or_malformed(junk: bytes) -> None:
    """What decodes encodes to the same bytes: nothing is left over, and nothing is read twice."""
    try:
        frames = decode_bundle(BUNDLE + junk)
    except MalformedFrame:
        return
    assert encode_bundle(frames) == BUNDLE + junk
    assert all(len(frame) >= LEAST_BUNDLED for frame in frames)


@given(FRAMES.filter(bool), st.data())
def test_a_bundle_that_was_cut_short_is_malformed_or_has_fewer_frames(frames: list[bytes], data: st.DataObject) -> None:
    bundle = encode_bundle(frames)
    end = data.draw(st.integers(1, len(bundle) - 1))
    try:
        assert decode_bundle(bundle[:end]) == frames[: len(decode_bundle(bundle[:end]))]
    except MalformedFrame:
        return


@pytest.mark.parametrize("first", range(256))
def test_the_first_byte_of_a_frame_says_where_its_packet_begins(first: int) -> None:
    """A version of IP has bit 0x40; whether the rest makes sense is checked where the packet is read."""
    assert start_of_packet(bytes([first])) == (0 if first & 0x40 else VIRTIO_BYTES)


def test_an_empty_frame_is_malformed() -> None:
    with pytest.raises(MalformedFrame):
        start_of_packet(b"")


def test_no_first_byte_means_two_things() -> None:
    flags, versions = set(range(4)), {*range(0x40, 0x50), *range(0x60, 0x70)}
    assert not {BUNDLE[0], APPLICATION[0]} & (flags | versions)


def test_the_largest_record_fits_64_fragments_of_the_least_size() -> None:
    assert MAX_RECORD + TAG_BYTES <= MAX_SEGMENTS * (BASE_SIZE - HEADER_BYTES)
