"""Superpackets: several segments of one flow behind one header, as a TUN with offloads reads and writes them.

A *frame* is a buffer with a virtio header and an IP packet (wire/virtio.py), or with a plain IP packet. Here a peer's
frame is checked, and frames are cut as a kernel would cut them: into smaller superpackets, or into plain packets for a
receiver without offloads. Small datagrams are joined in coalescing.py. All of it is pure, and runs for each packet.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from tunnel.model.buffers import Buffer
from tunnel.model.offload import Offload
from tunnel.wire.checksum import MODULUS, checksum_of, sum_of, swapped
from tunnel.wire.ip_packet import IPV6_HEADER_BYTES
from tunnel.wire.virtio import (
    GSO_ECN,
    GSO_NONE,
    GSO_TCPV4,
    GSO_TCPV6,
    GSO_UDP_L4,
    NEEDS_CSUM,
    PLAIN_BIT,
    VIRTIO,
    VIRTIO_BYTES,
)

MAX_UDP_SEGMENTS = 64
"""UDP_MAX_SEGMENTS of older Linux (now 128): a kernel refuses superpackets with more."""
MAX_TCP_SEGMENTS = 128
"""A whole superpacket of 64 KiB in segments of 512 bytes or more, so also of the default of RFC 9293, 536 bytes."""
LEAST_TCP_SEGMENT = 8
"""Bytes. TCP_MIN_GSO_SIZE of Linux: the least MSS, 48, minus 40 bytes of options."""

_TCP, _UDP = 6, 17
_HOP_BY_HOP, _ROUTING, _DESTINATION = 0, 43, 60
_UDP_HEADER_BYTES, _UDP_CHECKSUM = 8, 6
_LEAST_FRAME = VIRTIO_BYTES + 20
_FIN_PSH, _CWR = 0x09, 0x80

_START = struct.Struct("!HIIBxHHHxB")
"""flags, gso_type | hdr_len, gso_size | csum_start, csum_offset | byte 0 of the packet: version | 2: IPv4 length |
4: IPv6 length | 6: IPv4 fragment, or IPv6 next header | 9: IPv4 protocol. Little-endian numbers are read as big."""
_AS_IT_IS = (0x0000, 0x0200)
"""flags and gso_type: none, or DATA_VALID."""
_PARTIAL = 0x0100
"""NEEDS_CSUM."""
_TCPV4, _TCPV6, _UDP_L4 = (0x0101, 0x0181), (0x0104, 0x0184), 0x0105
_SIZES = struct.Struct("<HH")
_WORD, _TWO_WORDS, _SEQUENCE = struct.Struct("!H"), struct.Struct("!HH"), struct.Struct("!I")
_LITTLE_WORD = struct.Struct("<H")
_FRAGMENT = 0x3FFF
"""More fragments, and the offset."""


_OFFLOADS = {
    GSO_NONE: frozenset({Offload.TUN_HEADER}),
    GSO_TCPV4: frozenset({Offload.TCP_SEGMENTATION}),
    GSO_TCPV6: frozenset({Offload.TCP_SEGMENTATION}),
    GSO_UDP_L4: frozenset({Offload.UDP_SEGMENTATION}),
}


def offloads_for(frame: Buffer) -> frozenset[Offload]:
    """What an interface needs to take a sound frame with a virtio header as it is."""
    return _OFFLOADS[frame[1] & ~GSO_ECN]


def segment_size(frame: Buffer) -> int:
    """Bytes of payload in each segment but the last; 0: it is no superpacket."""
    return 0 if frame[0] & PLAIN_BIT or not frame[1] else frame[4] | frame[5] << 8


def is_sound(frame: Buffer) -> bool:
    """Whether a frame from a peer, whose first byte is that of a virtio header, may go to a kernel or to `to_plain`.

    The header must be one that a kernel writes and be true of the packet: IP lengths, protocol, place of the checksum
    (TCP or UDP, also behind IPv4 options and IPv6 extension headers, never in a fragment), and no more segments than
    MAX_TCP_SEGMENTS or MAX_UDP_SEGMENTS. Addresses and checksums are not checked. A kernel may put more segments into a
    superpacket: its sender must `split` it, however many segments its record may have.
    """
    size = len(frame)
    if size < _LEAST_FRAME:
        return False
    kinds, sizes, checksum, version, total, length, fragment, protocol = _START.unpack_from(frame)
    transport = 20
    if version == 0x45:
        if total + VIRTIO_BYTES != size:
            return False
    elif version >> 4 == 6:
        if length + (VIRTIO_BYTES + IPV6_HEADER_BYTES) != size:
            return False
        protocol, fragment, transport = fragment >> 8, 0, IPV6_HEADER_BYTES
    else:
        transport = (version & 15) * 4
        if not 0x45 < version < 0x50 or total + VIRTIO_BYTES != size or transport + VIRTIO_BYTES > size:
            return False
    if kinds in _AS_IT_IS:
        return not sizes and not checksum
    if fragment & _FRAGMENT:
        return False
    if version >= 0x60 and protocol != _TCP and protocol != _UDP:
        protocol, transport = _behind_extensions(frame, protocol)
    if protocol == _TCP:
        needed, place = 20, transport << 24 | 0x1000
    elif protocol == _UDP:
        needed, place = _UDP_HEADER_BYTES, transport << 24 | 0x0600
    else:
        return False
    if checksum != place or VIRTIO_BYTES + transport + needed > size:
        return False
    return not sizes if kinds == _PARTIAL else _is_sound_superpacket(frame, kinds, protocol, transport)


def _behind_extensions(frame: Buffer, kind: int) -> tuple[int, int]:
    """The protocol and place of the transport header. More than 255 bytes in front of it are not accepted."""
    at = IPV6_HEADER_BYTES
    end = min(256, len(frame) - VIRTIO_BYTES - 1)
    while kind in (_HOP_BY_HOP, _ROUTING, _DESTINATION) and at < end:
        kind = frame[VIRTIO_BYTES + at]
        at += 8 * (frame[VIRTIO_BYTES + at + 1] + 1)
    return kind, at


def _is_sound_superpacket(frame: Buffer, kinds: int, protocol: int, transport: int) -> bool:
    hdr_len: int
    gso_size: int
    hdr_len, gso_size = _SIZES.unpack_from(frame, 2)
    at = VIRTIO_BYTES + transport
    rest = len(frame) - at
    if protocol == _TCP:
        header = (frame[at + 12] >> 4) * 4
        if (
            kinds not in (_TCPV4 if frame[VIRTIO_BYTES] < 0x60 else _TCPV6)
            or header < 20
            or gso_size < LEAST_TCP_SEGMENT
        ):
            return False
        most = gso_size * MAX_TCP_SEGMENTS
    else:
        header = _UDP_HEADER_BYTES
        if kinds != _UDP_L4 or frame[at + 4] << 8 | frame[at + 5] != rest:
            return False
        most = gso_size * MAX_UDP_SEGMENTS
    # 0xFFFF is GSO_BY_FRAGS inside Linux
    return header < rest <= header + most and hdr_len <= transport + rest and gso_size != 0xFFFF


def split(frame: Buffer, most_segments: int) -> list[Buffer]:
    """The frame as frames of at most `most_segments` (1 or more) segments each, in order; itself if it has no more.

    The frame is sound, or our kernel's. Parts never have more segments than `is_sound` accepts. A part with one segment
    is no superpacket, but its checksum is partial like all others.
    """
    if frame[0] & PLAIN_BIT or not frame[1]:
        return [frame]
    bound = MAX_UDP_SEGMENTS if frame[1] == GSO_UDP_L4 else MAX_TCP_SEGMENTS
    most = (frame[4] | frame[5] << 8) * (most_segments if most_segments < bound else bound)
    if len(frame) <= most:
        return [frame]
    flags, gso_type, _, gso_size, csum_start, csum_offset = VIRTIO.unpack_from(frame)
    headers = _header_bytes(frame, gso_type, csum_start)
    if len(frame) - headers <= most:
        return [frame]
    parts: list[Buffer] = []
    for header, payload in _cut(frame, headers, most):
        if len(payload) <= gso_size:
            VIRTIO.pack_into(header, 0, flags, GSO_NONE, 0, 0, csum_start, csum_offset)
        else:
            own_type = gso_type & ~GSO_ECN if parts else gso_type
            VIRTIO.pack_into(header, 0, flags, own_type, headers - VIRTIO_BYTES, gso_size, csum_start, csum_offset)
        parts.append(b"".join((header, payload)))
    return parts


def to_plain(frame: Buffer) -> list[Buffer]:
    """The IP packets of a frame, one a segment, with complete checksums. The frame is sound, or our kernel's.

    A packet that needs no change may be a view into the frame.
    """
    flags = frame[0]
    if flags & PLAIN_BIT:
        return [frame]
    if not flags & NEEDS_CSUM:
        return [frame[VIRTIO_BYTES:]]
    _, gso_type, _, gso_size, csum_start, csum_offset = VIRTIO.unpack_from(frame)
    transport = VIRTIO_BYTES + csum_start
    field = transport + csum_offset
    zero = MODULUS if csum_offset == _UDP_CHECKSUM else 0  # a UDP checksum of 0 would say that there is none (RFC 768)
    if gso_type == GSO_NONE:
        packet = bytearray(frame[VIRTIO_BYTES:])
        checksum = checksum_of(sum_of(frame[transport:])) or zero
        packet[csum_start + csum_offset : csum_start + csum_offset + 2] = checksum.to_bytes(2, "little")
        return [packet]
    packets: list[Buffer] = []
    for header, payload in _cut(frame, _header_bytes(frame, gso_type, csum_start), gso_size):
        checksum = checksum_of(sum_of(payload) + int.from_bytes(header[transport:], "little")) or zero
        header[field : field + 2] = checksum.to_bytes(2, "little")
        packets.append(b"".join((memoryview(header)[VIRTIO_BYTES:], payload)))
    return packets


def _header_bytes(frame: Buffer, gso_type: int, csum_start: int) -> int:
    """Of all headers, the virtio header too."""
    transport = VIRTIO_BYTES + csum_start
    return transport + (_UDP_HEADER_BYTES if gso_type == GSO_UDP_L4 else (frame[transport + 12] >> 4) * 4)


def _cut(frame: Buffer, headers: int, step: int) -> Iterator[tuple[bytearray, memoryview]]:
    """Headers and payload of each part of `step` bytes, with a partial checksum and the frame's own virtio header.

    The headers are one buffer, changed for each part. As in a kernel, sequence numbers and IP identifications go on
    from part to part, FIN and PSH are in the last one only, CWR in the first one only.
    """
    view = memoryview(frame)
    size = len(view)
    header = bytearray(view[:headers])
    _, gso_type, _, gso_size, csum_start, csum_offset = VIRTIO.unpack_from(header)
    transport = VIRTIO_BYTES + csum_start
    field = transport + csum_offset
    partial = int.from_bytes(header[field : field + 2], "little") - swapped(size - transport)
    is_tcp, is_ipv4 = gso_type != GSO_UDP_L4, header[VIRTIO_BYTES] < 0x60
    if is_tcp:
        (sequence,), flags = _SEQUENCE.unpack_from(header, transport + 4), header[transport + 13]
    if is_ipv4:
        (ident,) = _WORD.unpack_from(header, 14)
        header[12:16], header[20:22] = bytes(4), bytes(2)  # length and identification; checksum
        constant = sum_of(header[VIRTIO_BYTES:transport])
    for offset in range(headers, size, step):
        end = min(offset + step, size)
        length = headers + end - offset - transport
        if is_ipv4:
            total = csum_start + length
            number = (ident + (offset - headers) // gso_size) & 0xFFFF
            _TWO_WORDS.pack_into(header, 12, total, number)
            _LITTLE_WORD.pack_into(header, 20, checksum_of(constant + swapped(total + number)))
        else:
            _WORD.pack_into(header, 14, csum_start - IPV6_HEADER_BYTES + length)
        if is_tcp:
            _SEQUENCE.pack_into(header, transport + 4, (sequence + offset - headers) & 0xFFFFFFFF)
            header[transport + 13] = flags & ~((offset > headers) * _CWR | (end < size) * _FIN_PSH)
        else:
            _WORD.pack_into(header, transport + 4, length)
        _LITTLE_WORD.pack_into(header, field, (partial + swapped(length)) % MODULUS or MODULUS)
        yield header, view[offset:end]
