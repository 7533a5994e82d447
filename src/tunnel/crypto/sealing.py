"""The seal on every datagram between nodes: AES-256-GCM, one key a direction, a counter that never repeats.

    | header (16), in the clear, associated data | ciphertext | tag (16) |        nonce = 4 zero bytes, counter (8)

This is the hot path: whole datagrams in and out, no value per packet. Which key opens a datagram is found by its
receiver index before it comes here.
"""

from __future__ import annotations

import struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tunnel.crypto.replay_window import ReplayWindow
from tunnel.model.errors import LocalProtocolError, MalformedFrame, NotAuthentic
from tunnel.wire.frames import HEADER, HEADER_BYTES, SEALED_OVERHEAD, Kind

MAX_SEALS = 1 << 36
"""Far more than a session's 2^32 packets: a key that reaches it was not renewed, which is a bug.

A counter from here on is not opened either, which bounds the sums of counters in peer/throughput.py.
"""

_encode_header = HEADER.pack
_encode_nonce = struct.Struct("!4xQ").pack


class Sealer:
    """Seals what we send under one key. The peer has an `Opener` with the same key."""

    __slots__ = ("_encrypt", "counter")

    def __init__(self, key: bytes) -> None:
        self._encrypt = _cipher(key).encrypt
        self.counter = 0
        """How many datagrams were sealed: the counter of the next one."""

    def __repr__(self) -> str:
        return f"Sealer(counter={self.counter})"

    def seal(self, kind: Kind, receiver_index: int, plaintext: bytes, segment: int = 0, count: int = 0) -> bytes:
        """A whole datagram, 32 bytes longer than the plaintext. Raises LocalProtocolError when the key is used up."""
        counter = self.counter
        if counter >= MAX_SEALS:
            raise LocalProtocolError("a key has sealed as much as it may")
        self.counter = counter + 1
        header = _encode_header(kind, segment, count, receiver_index, counter)
        return header + self._encrypt(_encode_nonce(counter), plaintext, header)


class Opener:
    """Opens what the peer sealed under one key, each datagram once."""

    __slots__ = ("_decrypt", "_is_fresh", "_mark")

    def __init__(self, key: bytes) -> None:
        self._decrypt = _cipher(key).decrypt
        window = ReplayWindow()
        self._is_fresh, self._mark = window.is_fresh, window.mark

    def __repr__(self) -> str:
        return "Opener()"

    def open(self, datagram: bytes, counter: int) -> bytes:
        """The plaintext; `counter` is the one in the datagram's header.

        Raises MalformedFrame when it is too short, NotAuthentic for a bad seal or a replay. An error leaves the opener
        unchanged.
        """
        if len(datagram) < SEALED_OVERHEAD:
            raise MalformedFrame("a sealed datagram is shorter than its header and tag")
        if counter >= MAX_SEALS:
            raise NotAuthentic("a counter that no sealer reaches")
        if not self._is_fresh(counter):
            raise NotAuthentic("a datagram that came before, or too late")
        try:
            plaintext = self._decrypt(_encode_nonce(counter), datagram[HEADER_BYTES:], datagram[:HEADER_BYTES])
        except InvalidTag:
            raise NotAuthentic("a datagram whose seal does not hold") from None
        self._mark(counter)
        return plaintext


def _cipher(key: bytes) -> AESGCM:
    if len(key) != 32:
        raise ValueError("a sealing key has 32 bytes")
    return AESGCM(key)
