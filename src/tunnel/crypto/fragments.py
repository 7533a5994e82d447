"""Handshake messages in datagrams: up to four, each with a MAC that is checked before a byte of it is kept.

    | header (16): HANDSHAKE, segment i, count n, receiver index, counter = message id | chunk (1..1168) | MAC (16) |

MAC = HMAC-SHA256 over header and chunk, cut to 16 bytes (RFC 2104, section 5), under a key of this pair and direction
(pair_keys.py). It keeps strangers out. It does not keep replays out: each may cost the reading of a handshake message.
"""

from __future__ import annotations

import hmac

from tunnel.model.errors import LocalProtocolError, MalformedFrame, NotAuthentic
from tunnel.wire.frames import BASE_SIZE, HEADER, HEADER_BYTES, Header, Kind

MAX_FRAGMENTS = 4
MAC_BYTES = 16
MAX_CHUNK = BASE_SIZE - HEADER_BYTES - MAC_BYTES
"""Bytes: a datagram with it fits every path."""


def encode_fragments(message: bytes, *, mac: bytes, index: int, message_id: int) -> list[bytes]:
    """The datagrams of one message of 1 to 4672 bytes. `message_id`: 64 bits, different for each message of a pair.

    Ids must rise, also across restarts: of two messages that arrive at once the higher id wins.
    """
    if not 0 < len(message) <= MAX_FRAGMENTS * MAX_CHUNK:
        raise LocalProtocolError(f"a handshake message of {len(message)} bytes does not fit {MAX_FRAGMENTS} datagrams")
    chunks = [message[offset : offset + MAX_CHUNK] for offset in range(0, len(message), MAX_CHUNK)]
    datagrams = []
    for segment, chunk in enumerate(chunks):
        body = HEADER.pack(Kind.HANDSHAKE, segment, len(chunks), index, message_id) + chunk
        datagrams.append(body + _mac_of(mac, body))
    return datagrams


class Reassembly:
    """Reassembles the messages of one peer, one at a time. Holds at most four datagrams."""

    __slots__ = ("_count", "_delivered", "_delivered_until", "_forget_at", "_id", "_mac", "_parts", "_patience")

    def __init__(self, mac: bytes, patience: float) -> None:
        """`patience`: seconds after which an incomplete message is forgotten."""
        self._mac = mac
        self._patience = patience
        self._delivered: frozenset[bytes] = frozenset()
        self._delivered_until = float("-inf")
        self._begin(-1, 0, float("-inf"))

    def __repr__(self) -> str:
        return f"Reassembly({len(self._parts)} of {self._count} datagrams)"

    def add_untrusted(self, header: Header, datagram: bytes, now: float) -> bytes | None:
        """The whole message if this datagram completes it, else None. Raises MalformedFrame or NotAuthentic.

        `header` is the datagram's, `now` seconds on any clock that does not run backwards. A message may come by
        several paths: copies of the last one are dropped for `patience` seconds after it was complete, so each retry
        needs a message id of its own.
        """
        size = len(datagram) - HEADER_BYTES - MAC_BYTES
        if not 0 < size <= MAX_CHUNK or header.kind != Kind.HANDSHAKE:
            raise MalformedFrame("no handshake datagram")
        if not hmac.compare_digest(_mac_of(self._mac, datagram[:-MAC_BYTES]), datagram[-MAC_BYTES:]):
            raise NotAuthentic("a handshake datagram that the peer did not make")
        segment, count = header.fragment, header.fragments
        if not segment < count <= MAX_FRAGMENTS:
            raise MalformedFrame("a handshake datagram whose segment numbers make no sense")
        if now < self._delivered_until and datagram in self._delivered:
            return None
        return self._add(header.counter, segment, count, datagram, now)

    def _add(self, message_id: int, segment: int, count: int, datagram: bytes, now: float) -> bytes | None:
        if now >= self._forget_at:
            self._begin(-1, 0, now)
        if message_id < self._id:
            return None
        if message_id > self._id or count != self._count or self._parts.get(segment, datagram) != datagram:
            self._begin(message_id, count, now + self._patience)
        self._parts[segment] = datagram
        if len(self._parts) < count:
            return None
        message = b"".join(self._parts[number][HEADER_BYTES:-MAC_BYTES] for number in range(count))
        self._delivered, self._delivered_until = frozenset(self._parts.values()), now + self._patience
        self._begin(-1, 0, now)
        return message

    def _begin(self, message_id: int, count: int, forget_at: float) -> None:
        """Forget the current message and wait for this one; -1 is none."""
        self._id, self._count, self._forget_at = message_id, count, forget_at
        self._parts: dict[int, bytes] = {}


def _mac_of(key: bytes, body: bytes) -> bytes:
    return hmac.digest(key, body, "sha256")[:MAC_BYTES]
