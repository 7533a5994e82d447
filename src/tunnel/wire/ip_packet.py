"""The few bytes of an inner IP packet that the tunnel reads (RFC 791 section 3.1, RFC 8200 section 3).

Addresses stay packed (4 or 16 bytes): they are the dictionary keys that route each packet. A packet may begin anywhere
in its buffer: at byte `at`.
"""

from __future__ import annotations

from tunnel.model.buffers import Buffer
from tunnel.model.errors import MalformedFrame

IPV4_HEADER_BYTES = 20
IPV6_HEADER_BYTES = 40

_WITH_PORTS = (6, 17)
"""TCP and UDP."""
_END, _NO_OPERATION, _LOOSE_ROUTE, _STRICT_ROUTE = 0, 1, 131, 137
"""IPv4 options; the last two are source routes."""
_HOP_BY_HOP, _ROUTING, _FRAGMENT, _DESTINATION = 0, 43, 44, 60
"""IPv6 extension headers that another header may follow."""
_FRAGMENT_HEADER_BYTES = 8
_MAX_HEADERS = 1280
"""Bytes of the IPv6 headers of a packet, which belong into a first fragment (RFC 7112 section 5). A packet of 60 KiB
could hold 7,600 of them, and looking at those takes 5 ms.
"""
_OFFSET_MASK = 0xFFF8
_MORE_FRAGMENTS = 1


def ip_version(packet: Buffer, at: int = 0) -> int:
    """4 or 6, if the packet is long enough for a header of that version. Raises MalformedFrame."""
    size = len(packet) - at
    if size >= IPV4_HEADER_BYTES:
        first = packet[at]
        version = first >> 4
        if version == 4 and IPV4_HEADER_BYTES <= (first & 0x0F) * 4 <= size:
            return 4
        if version == 6 and size >= IPV6_HEADER_BYTES:
            return 6
    raise MalformedFrame("not an IP packet, or less than its header")


def source_of(packet: Buffer, at: int = 0) -> bytes:
    """The packed source address, 4 or 16 bytes. Raises MalformedFrame."""
    return bytes(packet[at + 12 : at + 16] if ip_version(packet, at) == 4 else packet[at + 8 : at + 24])


def destination_of(packet: Buffer, at: int = 0) -> bytes:
    """The packed destination address, 4 or 16 bytes. Raises MalformedFrame."""
    return bytes(packet[at + 16 : at + 20] if ip_version(packet, at) == 4 else packet[at + 24 : at + 40])


def addresses_of(packet: Buffer, at: int = 0) -> tuple[bytes, bytes]:
    """Packed source and destination. Raises MalformedFrame."""
    if ip_version(packet, at) == 4:
        return bytes(packet[at + 12 : at + 16]), bytes(packet[at + 16 : at + 20])
    return bytes(packet[at + 8 : at + 24]), bytes(packet[at + 24 : at + 40])


def stream_of(packet: Buffer, at: int = 0) -> bytes:
    """What the packets of one stream have in common: protocol, addresses, and for TCP and UDP the ports.

    For a well-formed packet. Fragments and packets with IPv6 extension headers count without ports.
    """
    if packet[at] >> 4 == 6:
        protocol, ports = packet[at + 6], at + IPV6_HEADER_BYTES
        addresses = packet[at + 8 : at + 40]
    else:
        is_fragment = (packet[at + 6] & 0x3F) | packet[at + 7]
        protocol, ports = packet[at + 9], at + (packet[at] & 0x0F) * 4
        addresses = packet[at + 12 : at + 20]
        if is_fragment:
            ports = len(packet)
    return bytes([protocol, *addresses, *(packet[ports : ports + 4] if protocol in _WITH_PORTS else b"")])


def leads_on(packet: Buffer, at: int = 0) -> bool:
    """Whether a well-formed packet may ask its destination to forward it, by a source route or an IPv6 routing header.

    Such a packet need not end at its destination address. A first fragment that does not hold all headers counts too,
    since the next fragment may hold one.
    """
    if packet[at] >> 4 == 6:
        has_more = packet[at + 6] in (_HOP_BY_HOP, _ROUTING, _FRAGMENT, _DESTINATION)
        return has_more and _has_routing_header(packet[at:])
    return packet[at] & 0x0F > 5 and _has_source_route(packet[at:])


def _has_source_route(packet: Buffer) -> bool:
    at, end = IPV4_HEADER_BYTES, (packet[0] & 0x0F) * 4
    while at < end and packet[at] != _END:
        if packet[at] in (_LOOSE_ROUTE, _STRICT_ROUTE):
            return True
        if packet[at] == _NO_OPERATION:
            at += 1
        elif at + 1 < end and packet[at + 1] >= 2:
            at += packet[at + 1]
        else:
            return False
    return False


def _has_routing_header(packet: Buffer) -> bool:
    """Whether there is one with segments left, also behind a fragment header if the packet is the first fragment.

    A first fragment must hold all headers (RFC 7112 section 5). If it does not, the missing part counts as one. So does
    what lies beyond _MAX_HEADERS.
    """
    kind, at, is_first_of_more = packet[6], IPV6_HEADER_BYTES, False
    while at + _FRAGMENT_HEADER_BYTES <= len(packet):
        if at > _MAX_HEADERS or (kind == _ROUTING and packet[at + 3]):
            return True
        if kind == _FRAGMENT:
            if int.from_bytes(packet[at + 2 : at + 4]) & _OFFSET_MASK:
                return False
            is_first_of_more = bool(packet[at + 3] & _MORE_FRAGMENTS)
            length = _FRAGMENT_HEADER_BYTES
        elif kind in (_HOP_BY_HOP, _ROUTING, _DESTINATION):
            length = 8 * (packet[at + 1] + 1)
        else:
            return False
        kind, at = packet[at], at + length
    return is_first_of_more and kind in (_HOP_BY_HOP, _ROUTING, _FRAGMENT, _DESTINATION)
