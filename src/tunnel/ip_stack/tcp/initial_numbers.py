"""Initial sequence numbers and timestamp offsets that a stranger cannot guess (RFC 6528, RFC 7323 section 5.4)."""

from __future__ import annotations

from hashlib import blake2s
from typing import NamedTuple

from tunnel.model.endpoint import Endpoint

_TICKS_A_SECOND = 250_000
"""RFC 9293 section 3.4.1: one every 4 microseconds."""


class InitialNumbers(NamedTuple):
    """What a connection begins with."""

    sequence: int
    """ISN, 32 bits."""
    timestamp: int
    """Added to the clock of its timestamps, 32 bits."""


class InitialNumberSource:
    """Gives each connection its initial numbers. `secret`: 16 to 32 random bytes, drawn once for each stack."""

    def __init__(self, secret: bytes) -> None:
        if not 16 <= len(secret) <= 32:
            raise ValueError("the secret has 16 to 32 bytes")
        self._secret = secret

    def of(self, local: Endpoint, remote: Endpoint, now: float) -> InitialNumbers:
        """ISN = M + F(endpoints, secret), so that the numbers of one pair of endpoints rise.

        The timestamp offset depends on the two addresses alone: then the timestamps of one pair of hosts rise too, from
        connection to connection, and a TIME-WAIT can be reused (RFC 6191).
        """
        ports = self._hash(f"{local}>{remote}")
        addresses = self._hash(f"{local.host}>{remote.host}")
        return InitialNumbers((int(now * _TICKS_A_SECOND) + ports) & 0xFFFFFFFF, addresses)

    def _hash(self, text: str) -> int:
        return int.from_bytes(blake2s(text.encode(), key=self._secret, digest_size=4).digest())
