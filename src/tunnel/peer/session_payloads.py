"""What the handshake messages carry: epochs and counters against replay, and the data index of each side."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from tunnel.model.errors import MalformedFrame
from tunnel.model.identity import EPOCH_BYTES

_FIRST = struct.Struct(f"!{EPOCH_BYTES}s{EPOCH_BYTES}sQI")
_ASK = struct.Struct(f"!{EPOCH_BYTES}sQ")
_SECOND = struct.Struct(f"!{EPOCH_BYTES}sI")


@dataclass(frozen=True, slots=True)
class FirstPayload:
    """Initiator -> responder."""

    epoch: bytes
    peer_epoch: bytes
    attempt: int
    """Rises with each handshake of this epoch: a recording never comes twice."""
    index: int
    """Under which the initiator wants to receive data."""

    def encode(self) -> bytes:
        """44 bytes."""
        return _FIRST.pack(self.epoch, self.peer_epoch, self.attempt, self.index)

    @classmethod
    def decode(cls, payload: bytes) -> FirstPayload:
        """Raises MalformedFrame. Longer payloads are a newer peer's: the rest is ignored."""
        if len(payload) < _FIRST.size:
            raise MalformedFrame("a first handshake payload that is too short")
        return cls(*_FIRST.unpack_from(payload))


@dataclass(frozen=True, slots=True)
class SecondPayload:
    """Responder -> initiator."""

    epoch: bytes
    index: int
    """Under which the responder wants to receive data."""

    def encode(self) -> bytes:
        """20 bytes."""
        return _SECOND.pack(self.epoch, self.index)

    @classmethod
    def decode(cls, payload: bytes) -> SecondPayload:
        """Raises MalformedFrame. Longer payloads are a newer peer's: the rest is ignored."""
        if len(payload) < _SECOND.size:
            raise MalformedFrame("a second handshake payload that is too short")
        return cls(*_SECOND.unpack_from(payload))


@dataclass(frozen=True, slots=True)
class AskPayload:
    """Responder -> initiator, before any handshake: please begin. Authenticated, not sealed: it holds no secret."""

    epoch: bytes
    attempt: int
    """Rises with each request of this epoch."""

    def encode(self) -> bytes:
        """24 bytes."""
        return _ASK.pack(self.epoch, self.attempt)

    @classmethod
    def decode(cls, payload: bytes) -> AskPayload:
        """Raises MalformedFrame. Longer payloads are a newer peer's: the rest is ignored."""
        if len(payload) < _ASK.size:
            raise MalformedFrame("a request for a handshake that is too short")
        return cls(*_ASK.unpack_from(payload))
