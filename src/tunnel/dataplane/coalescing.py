"""Small UDP datagrams of one flow, as one read burst of a TUN brings them, joined to one superpacket.

A flood of small datagrams costs both ends of the tunnel, and the receiver's kernel, as much for each datagram as for a
superpacket. Joined, up to 64 cost as much as one; the kernel that gets the superpacket takes it apart again.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from tunnel.dataplane.superpacket import MAX_UDP_SEGMENTS
from tunnel.model.buffers import Buffer
from tunnel.wire.checksum import MODULUS, checksum_of, pseudo_header_sum, sum_of
from tunnel.wire.virtio import GSO_NONE, GSO_UDP_L4, NEEDS_CSUM, VIRTIO, VIRTIO_BYTES

MAX_PACKET = 0xFFFF
"""Bytes of a superpacket, without its virtio header."""

_UDP = 17
_TRANSPORT4, _TRANSPORT6 = VIRTIO_BYTES + 20, VIRTIO_BYTES + 40
_VIRTIO4 = VIRTIO.pack(NEEDS_CSUM, GSO_NONE, 0, 0, 20, 6)
_VIRTIO6 = VIRTIO.pack(NEEDS_CSUM, GSO_NONE, 0, 0, 40, 6)
_HEADERS4, _HEADERS6 = struct.Struct("14s2x4s2x16s"), struct.Struct("58s")
"""What is equal in datagrams of one length: all headers but identification and checksum of IPv4."""
_FLOW4, _FLOW6 = struct.Struct("12s4x4s2x12s"), struct.Struct("14s2x38s")
"""What is equal in datagrams of different lengths."""
_NO_FRAGMENT = (b"\x40\x00", b"\x00\x00")
"""The IPv4 word of flags and offset with DF, and without."""


def coalesce(frames: Sequence[Buffer]) -> list[Buffer]:
    """The frames that our kernel wrote, in order, with neighbors of one UDP flow joined.

    Joined are datagrams with a partial checksum and without IPv4 options or IPv6 extension headers whose headers and
    lengths are equal; the last one may be shorter. At most MAX_UDP_SEGMENTS and MAX_PACKET make a superpacket. Its IPv4
    identifications count up from that of the first datagram. Where DF is not set they matter (RFC 6864 section 4), so
    such datagrams are joined only if theirs count up. Every other frame is passed on as it is.
    """
    joined: list[Buffer] = []
    at, count = 0, len(frames)
    while at < count:
        first = frames[at]
        end = at + 1
        if end < count:
            virtio = first[:VIRTIO_BYTES]
            if virtio == _VIRTIO4:
                end = _end_of_run(frames, at, _HEADERS4, _FLOW4)
            elif virtio == _VIRTIO6:
                end = _end_of_run(frames, at, _HEADERS6, _FLOW6)
        joined.append(first if end == at + 1 else _superpacket(frames[at:end]))
        at = end
    return joined


def _end_of_run(frames: Sequence[Buffer], at: int, headers: struct.Struct, flow: struct.Struct) -> int:
    """Behind the last frame that joins the one at `at`."""
    first = frames[at]
    size, least = len(first), headers.size
    if size <= least:
        return at + 1
    unpack, wanted = headers.unpack_from, headers.unpack_from(first)
    end = at + 1
    last = min(len(frames), at + MAX_UDP_SEGMENTS, at + (MAX_PACKET + VIRTIO_BYTES - least) // (size - least))
    while end < last:
        frame = frames[end]
        if len(frame) != size or unpack(frame) != wanted:
            is_shorter = least < len(frame) < size and flow.unpack_from(frame) == flow.unpack_from(first)
            end += is_shorter and _is_datagram(frame)
            break
        end += 1
    if end == at + 1 or not _is_datagram(first):
        return at + 1
    return end if first[10] >= 0x60 or first[16] else _end_of_count(frames, at, end)


def _is_datagram(frame: Buffer) -> bool:
    """Whether a frame with one of the two virtio headers is a whole UDP datagram, and its lengths are true."""
    if frame[10] == 0x45:
        transport = _TRANSPORT4
        is_udp = frame[19] == _UDP and frame[16:18] in _NO_FRAGMENT and _number(frame, 12) == len(frame) - VIRTIO_BYTES
    else:
        transport = _TRANSPORT6
        is_udp = frame[10] >> 4 == 6 and frame[16] == _UDP and _number(frame, 14) == len(frame) - transport
    return is_udp and frame[6] == transport - VIRTIO_BYTES and _number(frame, transport + 4) == len(frame) - transport


def _end_of_count(frames: Sequence[Buffer], at: int, end: int) -> int:
    """Behind the last frame whose IPv4 identification goes on from that of the frame at `at`."""
    first = _number(frames[at], 14)
    for index in range(at + 1, end):
        if _number(frames[index], 14) != (first + index - at) & 0xFFFF:
            return index
    return end


def _superpacket(frames: Sequence[Buffer]) -> bytes:
    """One superpacket of the payloads, with the headers of the first frame."""
    first = frames[0]
    is_ipv4 = first[10] < 0x60
    transport = _TRANSPORT4 if is_ipv4 else _TRANSPORT6
    start = transport + 8
    payloads = [frame[start:] for frame in frames]
    length = 8 + (len(frames) - 1) * len(payloads[0]) + len(payloads[-1])
    header = bytearray(first[:start])
    VIRTIO.pack_into(
        header, 0, NEEDS_CSUM, GSO_UDP_L4, start - VIRTIO_BYTES, len(payloads[0]), transport - VIRTIO_BYTES, 6
    )
    if is_ipv4:
        header[12:14] = (20 + length).to_bytes(2)
        header[20:22] = bytes(2)
        header[20:22] = checksum_of(sum_of(header[VIRTIO_BYTES:transport])).to_bytes(2, "little")
    else:
        header[14:16] = length.to_bytes(2)
    header[transport + 4 : transport + 6] = length.to_bytes(2)
    partial = pseudo_header_sum(header[22 if is_ipv4 else 18 : transport], _UDP, length) or MODULUS
    header[transport + 6 : start] = partial.to_bytes(2, "little")
    return b"".join((header, *payloads))


def _number(frame: Buffer, at: int) -> int:
    return frame[at] << 8 | frame[at + 1]
