"""The datagram between nodes: a 16-byte header, then a piece of a sealed record (docs/protocol.md).

 0      1          2           3   4                8         16
| kind | fragment | fragments | 0 | receiver index | counter | sealed ...

A record is what one seal covers. It travels in `fragments` datagrams; all but the last are equally long.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import NamedTuple

from tunnel.model.errors import MalformedFrame

HEADER = struct.Struct("!BBBxIQ")
HEADER_BYTES = HEADER.size
TAG_BYTES = 16
SEALED_OVERHEAD = HEADER_BYTES + TAG_BYTES
BASE_SIZE = 1200
"""Bytes of UDP payload that every path must carry (BASE_PLPMTU of RFC 8899, section 5.1.2); else it is not used."""


class Kind(IntEnum):
    """First byte of a datagram. STUN has 0x00 or 0x01 there, and the magic cookie at byte 4."""

    DATA = 0x10
    CONTROL = 0x11
    HANDSHAKE = 0x12
    PROBE = 0x13
    RELAYED = 0x14


class Header(NamedTuple):
    """The clear part of every datagram. That of fragment 0 is also the associated data of the record's seal.

    For data and control packets no Header is made: `HEADER.unpack_from` gives the same fields.
    """

    kind: int
    fragment: int
    fragments: int
    receiver_index: int
    counter: int


def encode_header(header: Header) -> bytes:
    """16 bytes."""
    return HEADER.pack(*header)


def decode_header(datagram: bytes) -> Header:
    """The header of a whole datagram. Raises MalformedFrame when it is too short or of no known kind."""
    if len(datagram) < HEADER_BYTES:
        raise MalformedFrame(f"a datagram of {len(datagram)} bytes is shorter than its header")
    kind, *rest = HEADER.unpack_from(datagram)
    try:
        return Header(Kind(kind), *rest)
    except ValueError:
        raise MalformedFrame(f"datagram kind 0x{kind:02x}") from None
