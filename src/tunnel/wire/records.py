"""The plaintext of a record of data: frames, or an application's datagram. Its first byte tells which.

0x00 .. 0x03   one frame: a virtio-net header (10 bytes; its first byte, the flags), then an IP packet
0x4., 0x6.     one frame: an IP packet alone
0x80           a bundle: | length (2) | frame | length (2) | frame | ...
0x81           | an application's datagram
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from tunnel.model.buffers import Buffer
from tunnel.model.errors import MalformedFrame
from tunnel.wire.virtio import PLAIN_BIT, VIRTIO_BYTES

BUNDLE = b"\x80"
APPLICATION = b"\x81"
BUNDLED_OVERHEAD = 2
"""Bytes that a frame in a bundle takes in addition."""
LEAST_BUNDLED = 20
"""Bytes of a frame in a bundle, at least: an IPv4 header. A record of 60 KiB could hold 20,000 frames of one byte."""
MAX_SUPERPACKET = 61440
"""Bytes of the largest IP packet that we let the kernel make: with all headers it fits one call of a socket."""
MAX_RECORD = MAX_SUPERPACKET + VIRTIO_BYTES
"""Bytes of plaintext. Sealed it fits 64 fragments of 1200 bytes, and one entry of the WebSocket relay."""

_LENGTH = struct.Struct("!H")


def start_of_packet(frame: Buffer) -> int:
    """Where the IP packet in a frame begins. Raises MalformedFrame if the frame is empty."""
    if not frame:
        raise MalformedFrame("an empty frame")
    return 0 if frame[0] & PLAIN_BIT else VIRTIO_BYTES


def encode_bundle(frames: Sequence[Buffer]) -> bytes:
    """Frames of at most 65535 bytes each as one plaintext."""
    parts: list[Buffer] = [BUNDLE]
    for frame in frames:
        parts.append(_LENGTH.pack(len(frame)))
        parts.append(frame)
    return b"".join(parts)


def decode_bundle(plaintext: bytes) -> list[Buffer]:
    """The frames of a bundle.

    Raises MalformedFrame if one is shorter than LEAST_BUNDLED or runs over the end: then none is to be used.
    """
    frames: list[Buffer] = []
    at, end = 1, len(plaintext)
    while at < end:
        begin = at + BUNDLED_OVERHEAD
        if begin >= end:
            raise MalformedFrame("a bundle ends inside the length of a frame")
        at = begin + (plaintext[at] << 8 | plaintext[at + 1])
        if at - begin < LEAST_BUNDLED or at > end:
            raise MalformedFrame("a frame in a bundle is shorter than an IP header or longer than the bundle")
        frames.append(plaintext[begin:at])
    return frames
