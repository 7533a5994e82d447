"""ICMP errors: "destination unreachable" in answer to an IP packet (RFC 792, RFC 4443 section 3.1).

IPv4  | header (20) | 3, 1, checksum, 0 (4) | the packet's header and 8 bytes more |
IPv6  | header (40) | 1, 3, checksum, 0 (4) | the packet, up to 1280 bytes in all |
"""

from __future__ import annotations

import struct

from tunnel.wire.checksum import checksum_of, sum_of
from tunnel.wire.ip_packet import IPV6_HEADER_BYTES, destination_of, ip_version, source_of

_ICMP, _ICMPV6 = 1, 58
_TTL = 64
_MIN_MTU6 = 1280
_OFFSET = 0x1FFF
_QUESTIONS4 = frozenset((0, 8, 13, 14))
"""ICMP types that are not errors: echo and timestamp, with their answers."""
_FIRST_QUESTION6 = 128


def encode_unreachable(packet: bytes) -> bytes | None:
    """The error that says that the destination of a packet is unreachable, to be sent back to the packet's source.

    None where no error may be sent (RFC 1122 section 3.2.2): about an ICMP error, or a fragment that is not the first.
    Raises MalformedFrame.
    """
    return _unreachable4(packet) if ip_version(packet) == 4 else _unreachable6(packet)


def _unreachable4(packet: bytes) -> bytes | None:
    header = (packet[0] & 0x0F) * 4
    kind = packet[header : header + 1]
    is_error = packet[9] == _ICMP and (not kind or kind[0] not in _QUESTIONS4)
    if is_error or int.from_bytes(packet[6:8]) & _OFFSET:
        return None
    message = _with_checksum(struct.pack("!BBHI", 3, 1, 0, 0) + packet[: header + 8])
    total = 20 + len(message)
    start = struct.pack("!BBHHHBBH", 0x45, 0, total, 0, 0, _TTL, _ICMP, 0) + destination_of(packet) + source_of(packet)
    return start[:10] + _checksum(start) + start[12:] + message


def _unreachable6(packet: bytes) -> bytes | None:
    first = packet[IPV6_HEADER_BYTES : IPV6_HEADER_BYTES + 4]
    if packet[6] == _ICMPV6 and (not first or first[0] < _FIRST_QUESTION6):
        return None
    if packet[6] == 44 and (len(first) < 4 or int.from_bytes(first[2:4]) & 0xFFF8):
        return None
    message = struct.pack("!BBHI", 1, 3, 0, 0) + packet[: _MIN_MTU6 - IPV6_HEADER_BYTES - 8]
    addresses = destination_of(packet) + source_of(packet)
    message = _with_checksum(message, addresses + struct.pack("!II", len(message), _ICMPV6))
    return struct.pack("!IHBB", 6 << 28, len(message), _ICMPV6, _TTL) + addresses + message


def _with_checksum(message: bytes, pseudo_header: bytes = b"") -> bytes:
    return message[:2] + _checksum(pseudo_header + message) + message[4:]


def _checksum(covered: bytes) -> bytes:
    return checksum_of(sum_of(covered)).to_bytes(2, "little")
