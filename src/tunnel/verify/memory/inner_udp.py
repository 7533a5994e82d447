"""UDP inside the tunnel, as kernels send and receive it through TUN interfaces, with offloads or without.

Checksums and cutting are written anew here: runs judge those of the data plane by them.

payloads -> plain packets | packets with partial checksums | a superpacket -> interface ~> interface -> payloads
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

from tunnel.model.buffers import Buffer
from tunnel.model.errors import MalformedFrame
from tunnel.wire.virtio import GSO_NONE, GSO_UDP_L4, NEEDS_CSUM, PLAIN_BIT, VIRTIO, VIRTIO_BYTES, decode_virtio

MOST_SEGMENTS = 64
MOST_BYTES = 0xFFFF - 48
"""Of the payloads of a superpacket."""
_IPV4 = struct.Struct("!BBHHHBBH4s4s")
_IPV6 = struct.Struct("!IHBB16s16s")
_UDP = struct.Struct("!HHHH")
_WORD = struct.Struct("!H")
_PROTOCOL, _TTL, _DONT_FRAGMENT, _CHECKSUM_AT = 17, 64, 0x4000, 6
_VERSION6 = 6 << 28


class InnerFlow(NamedTuple):
    """Packed addresses of one family, and ports."""

    source: bytes
    destination: bytes
    source_port: int
    destination_port: int


class InnerDatagram(NamedTuple):
    """What a socket behind the interface gets."""

    flow: InnerFlow
    payload: bytes


def encode_packet(flow: InnerFlow, payload: bytes) -> bytes:
    """An IP packet with complete checksums."""
    transport = _transport(flow, payload)
    checksum = ~_sum(_pseudo_header(flow, len(transport)) + transport) & 0xFFFF or 0xFFFF
    return _ip_header(flow, len(transport)) + _with_checksum(transport, checksum)


def encode_frame(flow: InnerFlow, payloads: Sequence[bytes]) -> bytes:
    """A virtio header and a packet with a partial checksum: a superpacket, if there are several payloads.

    All payloads but the last are equally long.
    """
    transport = _transport(flow, b"".join(payloads))
    header = _ip_header(flow, len(transport))
    gso = (GSO_UDP_L4, len(header) + _UDP.size, len(payloads[0])) if len(payloads) > 1 else (GSO_NONE, 0, 0)
    virtio = VIRTIO.pack(NEEDS_CSUM, *gso, len(header), _CHECKSUM_AT)
    return virtio + header + _with_checksum(transport, _sum(_pseudo_header(flow, len(transport))))


def decode_frame(frame: Buffer) -> list[InnerDatagram]:
    """The datagrams of a frame, as sockets get them. Raises MalformedFrame: it is not UDP, or not sound."""
    is_partial, size, packet = False, 0, bytes(packet_of(frame))
    if not frame[0] & PLAIN_BIT:
        virtio = decode_virtio(frame)
        is_partial, size = bool(virtio.flags & NEEDS_CSUM), virtio.gso_size
    flow, transport = _decode_packet(packet)
    checksum = _UDP.unpack_from(transport)[3]
    pseudo_header = _pseudo_header(flow, len(transport))
    if is_partial:
        is_right = checksum % 0xFFFF == _sum(pseudo_header) % 0xFFFF
    else:
        is_right = _sum(pseudo_header + transport) % 0xFFFF == 0 or (not checksum and len(flow.source) == 4)
    if not is_right:
        raise MalformedFrame(f"UDP checksum {checksum:#06x}")
    payload = transport[_UDP.size :]
    if not size:
        return [InnerDatagram(flow, payload)]
    return [InnerDatagram(flow, payload[at : at + size]) for at in range(0, len(payload), size)]


def packet_of(frame: Buffer) -> Buffer:
    """The IP packet of a frame, without its virtio header if it has one."""
    return frame if frame[0] & PLAIN_BIT else frame[VIRTIO_BYTES:]


def _decode_packet(packet: bytes) -> tuple[InnerFlow, bytes]:
    if packet[0] >> 4 == 6 and len(packet) >= _IPV6.size + _UDP.size:
        word, length, protocol, hops, source, destination = _IPV6.unpack_from(packet)
        at, length = _IPV6.size, length + _IPV6.size
        is_sound = word == _VERSION6
    elif packet[0] == 0x45 and len(packet) >= _IPV4.size + _UDP.size:
        _, tos, length, _, fragment, hops, protocol, _, source, destination = _IPV4.unpack_from(packet)
        at = _IPV4.size
        is_sound = not tos and not fragment & ~_DONT_FRAGMENT and _is_true_header(packet)
    else:
        raise MalformedFrame("neither IPv4 nor IPv6")
    if not is_sound or (protocol, hops, length) != (_PROTOCOL, _TTL, len(packet)):
        raise MalformedFrame("not a UDP packet as it was sent")
    source_port, destination_port, length, _ = _UDP.unpack_from(packet, at)
    if length != len(packet) - at:
        raise MalformedFrame(f"UDP length {length}")
    return InnerFlow(source, destination, source_port, destination_port), packet[at:]


def _is_true_header(packet: bytes) -> bool:
    """Whether the checksum of an IPv4 header is right, or was never computed."""
    return packet[10:12] == b"\0\0" or _sum(packet[: _IPV4.size]) % 0xFFFF == 0


def _transport(flow: InnerFlow, payload: bytes) -> bytes:
    return _UDP.pack(flow.source_port, flow.destination_port, _UDP.size + len(payload), 0) + payload


def _with_checksum(transport: bytes, checksum: int) -> bytes:
    return transport[:_CHECKSUM_AT] + _WORD.pack(checksum) + transport[_UDP.size :]


def _ip_header(flow: InnerFlow, length: int) -> bytes:
    if len(flow.source) == 16:
        return _IPV6.pack(_VERSION6, length, _PROTOCOL, _TTL, flow.source, flow.destination)
    fields = (0x45, 0, _IPV4.size + length, 0, _DONT_FRAGMENT, _TTL, _PROTOCOL)
    header = _IPV4.pack(*fields, 0, flow.source, flow.destination)
    return _IPV4.pack(*fields, ~_sum(header) & 0xFFFF, flow.source, flow.destination)


def _pseudo_header(flow: InnerFlow, length: int) -> bytes:
    return flow.source + flow.destination + struct.pack("!II", length, _PROTOCOL)


def _sum(covered: bytes) -> int:
    """The sum of the big-endian words in ones' complement, folded; an odd last byte is padded (RFC 1071)."""
    words = covered + b"\0" if len(covered) % 2 else covered
    total: int = sum(struct.unpack(f"!{len(words) // 2}H", words))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total
