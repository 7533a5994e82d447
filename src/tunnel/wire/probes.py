"""What a probe says, once it is unsealed: "do you hear me?" and "yes, and I saw you there" (docs/protocol.md).

     0      1                 9        10                  10 + n
    | word | transaction (8) | n (1)  | endpoint (n bytes) | zeros up to the wanted size ...

The word is 1 for a request, 2 for an answer; n is 0, 6 or 18 (packed_endpoint.py). An answer never triggers an answer.
What stands behind the endpoint is padding and is not looked at: it makes the probe as big as the path must carry.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import assert_never

from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import MalformedFrame
from tunnel.wire.packed_endpoint import decode_endpoint, encode_endpoint

TRANSACTION_BYTES = 8
_REQUEST, _ANSWER = 1, 2
_HEAD_BYTES = 1 + TRANSACTION_BYTES + 1


@dataclass(frozen=True, slots=True)
class ProbeRequest:
    """Asks the peer for a `ProbeAnswer` with the same transaction, over the way that this came."""

    transaction: bytes
    """8 unguessable bytes."""
    sent_to: Endpoint | None = None
    """Where we sent it, so the peer learns under which address we know it; None over the relay."""
    size: int = field(default=0, compare=False)
    """Set by `decode_probe`: how many plaintext bytes came."""


@dataclass(frozen=True, slots=True)
class ProbeAnswer:
    """Proves that a request arrived, and says where it came from."""

    transaction: bytes
    """Of the request."""
    observed: Endpoint | None = None
    """The source of the request as we saw it; None over the relay."""
    size: int = field(default=0, compare=False)
    """Set by `decode_probe`: how many plaintext bytes came."""


def encode_probe(probe: ProbeRequest | ProbeAnswer, size: int = 0) -> bytes:
    """The plaintext of a probe, zeros behind it up to `size` bytes (a smaller size adds none)."""
    match probe:
        case ProbeRequest():
            word, endpoint = _REQUEST, probe.sent_to
        case ProbeAnswer():
            word, endpoint = _ANSWER, probe.observed
        case _:
            assert_never(probe)
    packed = b"" if endpoint is None else encode_endpoint(endpoint)
    return (bytes((word,)) + probe.transaction + bytes((len(packed),)) + packed).ljust(size, b"\0")


def decode_probe(plaintext: bytes) -> ProbeRequest | ProbeAnswer:
    """A probe, with its length in `size`. Raises MalformedFrame."""
    if len(plaintext) < _HEAD_BYTES:
        raise MalformedFrame(f"a probe of {len(plaintext)} bytes")
    transaction, length = plaintext[1 : 1 + TRANSACTION_BYTES], plaintext[_HEAD_BYTES - 1]
    packed = plaintext[_HEAD_BYTES : _HEAD_BYTES + length]
    if len(packed) != length:
        raise MalformedFrame("a probe ends inside its endpoint")
    endpoint = decode_endpoint(packed) if packed else None
    match plaintext[0]:
        case 1:
            return ProbeRequest(transaction, endpoint, len(plaintext))
        case 2:
            return ProbeAnswer(transaction, endpoint, len(plaintext))
        case word:
            raise MalformedFrame(f"a probe that says {word}")
