"""The seal on every record between nodes: AES-256-GCM, one key a direction, a counter that never repeats.

    | header of fragment 0 (16), associated data |      | ciphertext | tag (16) |      nonce = 4 zero bytes, counter (8)

This is the hot path: whole records in and out, no value per record. Which key opens a record is found by its receiver
index before it comes here.
"""

from __future__ import annotations

import struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tunnel.crypto.replay_window import ReplayWindow
from tunnel.model.buffers import Buffer
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

    __slots__ = ("_encrypt", "_encrypt_into", "counter")

    def __init__(self, key: bytes) -> None:
        cipher = _cipher(key)
        self._encrypt, self._encrypt_into = cipher.encrypt, cipher.encrypt_into
        self.counter = 0
        """How many records were sealed: the counter of the next one."""

    def __repr__(self) -> str:
        return f"Sealer(counter={self.counter})"

    def seal(self, kind: Kind, receiver_index: int, plaintext: Buffer) -> bytes:
        """A record of one fragment as a whole datagram, 32 bytes longer than the plaintext.

        Raises LocalProtocolError when the key is used up.
        """
        header = self._next_header(kind, receiver_index, 1)
        return header + self._encrypt(_encode_nonce(self.counter - 1), plaintext, header)

    def seal_into(self, kind: Kind, receiver_index: int, fragments: int, plaintext: Buffer, room: memoryview) -> bytes:
        """Seal a record for so many fragments into `room`, which is 16 bytes longer than the plaintext.

        Returns the header of fragment 0. Raises LocalProtocolError when the key is used up.
        """
        header = self._next_header(kind, receiver_index, fragments)
        self._encrypt_into(_encode_nonce(self.counter - 1), plaintext, header, room)
        return header

    def _next_header(self, kind: Kind, receiver_index: int, fragments: int) -> bytes:
        counter = self.counter
        if counter >= MAX_SEALS:
            raise LocalProtocolError("a key has sealed as much as it may")
        self.counter = counter + 1
        return _encode_header(kind, 0, fragments, receiver_index, counter)


class Opener:
    """Opens what the peer sealed under one key, each record once."""

    __slots__ = ("_decrypt", "_mark", "is_fresh")

    def __init__(self, key: bytes) -> None:
        self._decrypt = _cipher(key).decrypt
        window = ReplayWindow()
        self.is_fresh, self._mark = window.is_fresh, window.mark

    def __repr__(self) -> str:
        return "Opener()"

    def open(self, datagram: bytes, counter: int) -> bytes:
        """The plaintext of a record that came whole; `counter` is the one in its header. Raises as `open_record` does.

        MalformedFrame: it is too short.
        """
        if len(datagram) < SEALED_OVERHEAD:
            raise MalformedFrame("a sealed datagram is shorter than its header and tag")
        return self.open_record(datagram[:HEADER_BYTES], datagram[HEADER_BYTES:], counter)

    def open_record(self, header: bytes, sealed: Buffer, counter: int) -> bytes:
        """The plaintext; `header` is that of fragment 0, `counter` the one in it.

        Raises NotAuthentic for a bad seal or a replay. An error leaves the opener unchanged.
        """
        if counter >= MAX_SEALS:
            raise NotAuthentic("a counter that no sealer reaches")
        if not self.is_fresh(counter):
            raise NotAuthentic("a record that came before, or too late")
        try:
            plaintext = self._decrypt(_encode_nonce(counter), sealed, header)
        except InvalidTag:
            raise NotAuthentic("a record whose seal does not hold") from None
        self._mark(counter)
        return plaintext


def _cipher(key: bytes) -> AESGCM:
    if len(key) != 32:
        raise ValueError("a sealing key has 32 bytes")
    return AESGCM(key)
