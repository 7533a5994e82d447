"""Relay frames in one WebSocket message: 0xC1, a byte that MessagePack never uses, then entries.

    | 0xC1 | handle (8) | length (2) | datagram | handle (8) | length (2) | datagram | ...

A datagram has at most 65535 bytes, so a whole record is one. From a node the handle names the receiver, from the server
the sender: the first 8 bytes of a node id.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

from tunnel.model.errors import MalformedFrame
from tunnel.model.identity import HANDLE_BYTES

RELAY_MARK = 0xC1
MAX_ENTRIES = 256
"""In one batch: what a server forwards before others have their turn takes less than a millisecond."""
_MARK = bytes((RELAY_MARK,))
ENTRY = struct.Struct(f"!{HANDLE_BYTES}sH")


def is_relay_batch(message: bytes) -> bool:
    """Whether a WebSocket message is a relay batch rather than a signal."""
    return message[:1] == _MARK


def encode_relay_batch(entries: Iterable[tuple[bytes, bytes]]) -> bytes:
    """At most MAX_ENTRIES (handle, datagram) pairs as one message. A datagram has at most 65535 bytes."""
    parts = [_MARK]
    for handle, datagram in entries:
        parts.append(ENTRY.pack(handle, len(datagram)))
        parts.append(datagram)
    return b"".join(parts)


def decode_relay_batch(message: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The (handle, datagram) pairs of a message. Raises MalformedFrame, perhaps after some good pairs."""
    if not is_relay_batch(message):
        raise MalformedFrame("not a relay batch")
    offset, end, count = 1, len(message), 0
    while offset < end:
        if count == MAX_ENTRIES:
            raise MalformedFrame(f"a relay batch of more than {MAX_ENTRIES} entries")
        count += 1
        if offset + ENTRY.size > end:
            raise MalformedFrame("a relay batch ends inside an entry's head")
        handle, length = ENTRY.unpack_from(message, offset)
        offset += ENTRY.size
        if length == 0 or offset + length > end:
            raise MalformedFrame("a relay entry is empty or longer than its batch")
        yield handle, message[offset : offset + length]
        offset += length
