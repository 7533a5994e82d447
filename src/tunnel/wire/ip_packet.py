"""The few bytes of an inner IP packet that the tunnel looks at (RFC 791 section 3.1, RFC 8200 section 3).

Addresses stay packed (4 or 16 bytes): they are dictionary keys on the way of every packet.
"""

from __future__ import annotations

from tunnel.model.errors import MalformedFrame

IPV4_HEADER_BYTES = 20
IPV6_HEADER_BYTES = 40


def ip_version(packet: bytes) -> int:
    """4 or 6, when the packet is long enough for the header of that version. Raises MalformedFrame."""
    if len(packet) >= IPV4_HEADER_BYTES:
        version = packet[0] >> 4
        if version == 4 and packet[0] & 0x0F >= 5:
            return 4
        if version == 6 and len(packet) >= IPV6_HEADER_BYTES:
            return 6
    raise MalformedFrame("not an IP packet, or less than its header")


def source_of(packet: bytes) -> bytes:
    """The packed source address, 4 or 16 bytes. Raises MalformedFrame."""
    return packet[12:16] if ip_version(packet) == 4 else packet[8:24]


def destination_of(packet: bytes) -> bytes:
    """The packed destination address, 4 or 16 bytes. Raises MalformedFrame."""
    return packet[16:20] if ip_version(packet) == 4 else packet[24:40]
