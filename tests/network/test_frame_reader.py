"""Following the headers of frames: wherever the bytes are cut, the frames are found where they are."""

from __future__ import annotations

import random
import struct

import pytest

from tunnel.network.frame_headers import FrameHeaders, Overlong

ALL = 1 << 30


def frame(first: int, payload: bytes, *, masked: bool = True) -> bytes:
    mask, size = 0x80 if masked else 0, len(payload)
    if size < 126:
        told = bytes([mask | size])
    elif size < 65536:
        told = bytes([mask | 126]) + struct.pack("!H", size)
    else:
        told = bytes([mask | 127]) + struct.pack("!Q", size)
    return bytes([first]) + told + (bytes(4) if masked else b"") + payload


def walk(heads: FrameHeaders, pieces: list[bytes]) -> int:
    begun = 0
    for piece in pieces:
        at, frames = heads.walk_untrusted(piece, 0, ALL)
        assert at == len(piece)
        begun += frames
    return begun


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("seed", range(20))
def test_frames_are_counted_however_the_bytes_are_cut(seed: int, masked: bool) -> None:
    chance = random.Random(seed)
    sizes = [chance.choice((0, 1, 125, 126, 127, 300, 65535, 65536, 70_000)) for _ in range(10)]
    kinds = [chance.choice((0x82, 0x89, 0x8A)) for _ in sizes]
    sent = b"".join(
        frame(kind, b"\x00" * size, masked=masked) for kind, size in zip(kinds, sizes, strict=True)
    )  # zeros look like fragments to a walk that is out of step
    pieces, at = [], 0
    while at < len(sent):
        step = chance.choice((1, 2, 3, 9, 5000, 100_000))
        pieces.append(sent[at : at + step])
        at += step
    heads = FrameHeaders()
    assert walk(heads, pieces) == len(sizes)
    assert heads.controls == sum(kind != 0x82 for kind in kinds)


def test_a_walk_stops_before_the_frame_that_is_too_many() -> None:
    """So that a read of thousands of tiny frames is parsed in small pieces."""
    sent = frame(0x82, b"x") * 10
    assert FrameHeaders().walk_untrusted(sent, 0, 3) == (3 * len(frame(0x82, b"x")), 3)


def test_a_walk_that_stopped_goes_on_where_it_was() -> None:
    heads, sent, at, begun = FrameHeaders(), frame(0x82, b"xy") * 10 + frame(0x89, b""), 0, []
    while at < len(sent):
        at, frames = heads.walk_untrusted(sent, at, 4)
        begun.append(frames)
    assert begun == [4, 4, 3]


@pytest.mark.parametrize("kind", [0x02, 0x01, 0x00, 0x80, 0x09])
def test_a_fragment_is_refused_by_its_first_byte(kind: int) -> None:
    with pytest.raises(Overlong, match="fragment"):
        FrameHeaders().walk_untrusted(bytes([kind]), 0, ALL)


def test_a_stranger_may_send_more_when_the_first_message_came_out() -> None:
    heads = FrameHeaders(max_first=100)
    assert walk(heads, [frame(0x82, bytes(90))]) == 1
    heads.first_done()
    assert walk(heads, [frame(0x82, bytes(300)) * 2]) == 2


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        (frame(0x82, bytes(95)), "a first message of 95 bytes"),
        (frame(0x82, b"") + b"\x82", "more bytes than those of the first message"),
        (frame(0x89, b""), "no whole message"),
    ],
)
def test_a_stranger_s_first_frame_is_one_small_message(sent: bytes, words: str) -> None:
    with pytest.raises(Overlong, match=words):
        FrameHeaders(max_first=100).walk_untrusted(sent, 0, ALL)
