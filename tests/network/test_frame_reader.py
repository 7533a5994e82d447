"""Reading frames: wherever the bytes are cut, the messages come out whole, and what is none is passed on as it came."""

from __future__ import annotations

import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto.frame_protocol import FrameDecoder

from tunnel.network.frame_reader import FrameReader, Overlong, encode_frame_head, mask

ALL = 1 << 30
MAX_MESSAGE = 65536


def frame(first: int, payload: bytes, *, masked: bool = True, key: bytes = bytes(4)) -> bytes:
    flag, size = 0x80 if masked else 0, len(payload)
    if size < 126:
        told = bytes([flag | size])
    elif size < 65536:
        told = bytes([flag | 126]) + struct.pack("!H", size)
    else:
        told = bytes([flag | 127]) + struct.pack("!Q", size)
    payload = bytes(byte ^ key[at % 4] for at, byte in enumerate(payload)) if any(key) else payload
    return bytes([first]) + told + (key if masked else b"") + payload


def reader(*, masked: bool = True, max_first: int | None = None) -> FrameReader:
    return FrameReader(is_masked=masked, max_message=MAX_MESSAGE, max_first=max_first)


def read(frames: FrameReader, pieces: list[bytes]) -> int:
    begun = 0
    for piece in pieces:
        at, count = frames.read_untrusted(piece, 0, ALL)
        assert at == len(piece)
        begun += count
    return begun


def cut(sent: bytes, chance: random.Random) -> list[bytes]:
    pieces, at = [], 0
    while at < len(sent):
        step = chance.choice((1, 2, 3, 9, 5000, 100_000))
        pieces.append(sent[at : at + step])
        at += step
    return pieces


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("seed", range(20))
def test_messages_come_out_however_the_bytes_are_cut(seed: int, masked: bool) -> None:
    chance = random.Random(seed)
    sizes = [chance.choice((0, 1, 125, 126, 127, 300, 65535, 65536, 70_000)) for _ in range(10)]
    kinds = [chance.choice((0x82, 0x89, 0x8A)) for _ in sizes]
    sent = [
        frame(kind, b"\x00" * size, masked=masked) for kind, size in zip(kinds, sizes, strict=True)
    ]  # zeros look like fragments to a reader that is out of step
    frames = reader(masked=masked)
    assert read(frames, cut(b"".join(sent), chance)) == len(sizes)
    assert frames.controls == sum(kind != 0x82 for kind in kinds)
    taken = [kind == 0x82 and size <= MAX_MESSAGE for kind, size in zip(kinds, sizes, strict=True)]
    assert frames.take_messages() == [bytes(size) for size, is_taken in zip(sizes, taken, strict=True) if is_taken]
    assert frames.take_others() == b"".join(piece for piece, is_taken in zip(sent, taken, strict=True) if not is_taken)
    assert (frames.take_messages(), frames.take_others()) == ([], b"")


@given(st.lists(st.binary(max_size=400), max_size=5), st.binary(min_size=4, max_size=4), st.integers(0, 1 << 30))
def test_a_masked_message_comes_out_as_it_was(messages: list[bytes], key: bytes, seed: int) -> None:
    frames, chance = reader(), random.Random(seed)
    read(frames, cut(b"".join(frame(0x82, message, key=key) for message in messages), chance))
    assert frames.take_messages() == messages


@pytest.mark.parametrize(
    "sent",
    [
        frame(0x82, b"unmasked", masked=False),
        frame(0xC2, b"a reserved bit"),
        frame(0x83, b"an unknown kind"),
        frame(0x88, b"\x03\xe8"),
        b"\x82\xfe\x00\x05" + bytes(4) + b"hello",
        b"\x82\xff" + struct.pack("!Q", 65535) + bytes(4) + bytes(65535),
        b"\x82\xff" + struct.pack("!Q", 1 << 63) + bytes(4) + b"x",
        frame(0x82, bytes(MAX_MESSAGE + 1)),
    ],
)
def test_what_is_no_plain_message_is_left_to_the_library_as_it_came(sent: bytes) -> None:
    """It knows what is wrong with it, and what to answer."""
    frames = reader()
    read(frames, [sent])
    assert frames.take_messages() == []
    assert frames.take_others() == sent


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, 100_000])
@pytest.mark.parametrize("key", [None, bytes(4), b"\x01\x80\xff\x00"])
def test_the_library_reads_our_frames(size: int, key: bytes | None) -> None:
    message = random.Random(size).randbytes(size)
    decoder = FrameDecoder(client=key is None)
    decoder.receive_bytes(encode_frame_head(size, key) + (message if key is None else mask(message, key)))
    decoded = decoder.process_buffer()
    assert decoded is not None
    assert (decoded.payload, decoded.message_finished) == (message, True)


def test_a_read_stops_before_the_frame_that_is_too_many() -> None:
    """So that a read of thousands of tiny frames is passed on in small pieces."""
    sent = frame(0x82, b"x") * 10
    assert reader().read_untrusted(sent, 0, 3) == (3 * len(frame(0x82, b"x")), 3)


def test_a_read_that_stopped_goes_on_where_it_was() -> None:
    frames, sent, at, begun = reader(), frame(0x82, b"xy") * 10 + frame(0x89, b""), 0, []
    while at < len(sent):
        at, count = frames.read_untrusted(sent, at, 4)
        begun.append(count)
    assert begun == [4, 4, 3]


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (0x02, "fragment"),
        (0x01, "fragment"),
        (0x00, "fragment"),
        (0x80, "fragment"),
        (0x09, "fragment"),
        (0x81, "text"),
    ],
)
def test_a_fragment_and_a_text_are_refused_by_their_first_byte(kind: int, words: str) -> None:
    with pytest.raises(Overlong, match=words):
        reader().read_untrusted(bytes([kind]), 0, ALL)


def test_a_stranger_may_send_more_when_the_first_message_came_out() -> None:
    frames = reader(max_first=100)
    assert read(frames, [frame(0x82, bytes(90))]) == 1
    frames.first_done()
    assert read(frames, [frame(0x82, bytes(300)) * 2]) == 2


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        (frame(0x82, bytes(95)), "a first message of 95 bytes"),
        (b"\x82\xfe\x03\xe8", "a first message of 1000 bytes"),
        (frame(0x82, b"") + b"\x82", "more bytes than those of the first message"),
        (frame(0x89, b""), "no whole message"),
    ],
)
def test_a_stranger_s_first_frame_is_one_small_message(sent: bytes, words: str) -> None:
    with pytest.raises(Overlong, match=words):
        reader(max_first=100).read_untrusted(sent, 0, ALL)
