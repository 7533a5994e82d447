"""The virtio-net header, which says what is still to be done to the packet behind it (virtio 1.2 section 5.1.6).

 0       1          2         4          6            8             10
| flags | gso_type | hdr_len | gso_size | csum_start | csum_offset | IP packet ...

All numbers are little endian (on other machines a TUN needs TUNSETVNETLE). Offsets count from the packet's first byte.
With NEEDS_CSUM the field at csum_start + csum_offset holds a partial checksum: the sum of the pseudo header. The
checksum of all from csum_start on completes it. With a gso_type the packet is a superpacket: one header in front of
segments of `gso_size` bytes, the last perhaps shorter. Its IP and UDP lengths are those of the whole.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from tunnel.model.buffers import Buffer
from tunnel.model.errors import MalformedFrame

VIRTIO = struct.Struct("<BBHHHH")
VIRTIO_BYTES = VIRTIO.size

NEEDS_CSUM = 1
"""Flag: the transport checksum is partial."""
DATA_VALID = 2
"""Flag: the transport checksum has been verified."""

GSO_NONE = 0
GSO_TCPV4 = 1
GSO_TCPV6 = 4
GSO_UDP_L4 = 5
GSO_ECN = 0x80
"""Bit of gso_type: the first segment has CWR set (RFC 3168 section 6.1.2)."""

PLAIN_BIT = 0x40
"""Set in the first byte of every IP packet, never in the first byte of a virtio header."""


class VirtioHeader(NamedTuple):
    """The header's fields. The hot path makes none: `VIRTIO.unpack_from` gives the same ones."""

    flags: int = 0
    gso_type: int = GSO_NONE
    hdr_len: int = 0
    """Bytes of all headers, or a hint at it: a kernel may say more."""
    gso_size: int = 0
    """Bytes of payload in each segment but the last."""
    csum_start: int = 0
    """Where the transport header begins."""
    csum_offset: int = 0
    """Where in the transport header the checksum is."""


def encode_virtio(header: VirtioHeader) -> bytes:
    """10 bytes."""
    return VIRTIO.pack(*header)


def decode_virtio(frame: Buffer) -> VirtioHeader:
    """The header in front of a packet, as it is; whether it fits the packet is checked by `superpacket.is_sound`.

    Raises MalformedFrame if there is no such header.
    """
    if len(frame) < VIRTIO_BYTES or frame[0] > NEEDS_CSUM | DATA_VALID:
        raise MalformedFrame("not a virtio-net header, or less than one")
    return VirtioHeader(*VIRTIO.unpack_from(frame))
