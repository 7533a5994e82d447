"""The plaintext of probes: a request ("do you hear me?"), its answer, and a hint about port prediction.

     0      1                 9        10                  10 + n
    | word | transaction (8) | n (1)  | endpoint (n bytes) | zeros up to the wanted size ...          word 1, 2
    | word | zeros (8)       | n (1)  | endpoint (n bytes) | phase opens attempt sockets flows step | spans   word 3

The word is 1 for a request, 2 for an answer, 3 for a hint; n is 0, 6 or 18 (packed_endpoint.py). Answers and hints are
not answered. Bytes after the endpoint of a request or an answer are padding and are ignored: they make the probe as big
as the path must carry. Bytes after the spans of a hint come from a newer version and are ignored.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TypeAlias, assert_never

from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import MalformedFrame
from tunnel.wire.packed_endpoint import decode_endpoint, encode_endpoint

TRANSACTION_BYTES = 8
MAX_SPANS = 32
_REQUEST, _ANSWER, _HINT = 1, 2, 3
_HEAD_BYTES = 1 + TRANSACTION_BYTES + 1
_HINT_FIELDS = struct.Struct("!BBBHHhB")
_SPAN = struct.Struct("!HH")


class PunchPhase(IntEnum):
    """How far one side is in a port prediction."""

    READY = 1
    """It has its turn and begins as soon as the peer is ready too."""
    UNDER_WAY = 2
    OVER = 3
    """It has sent all that it may."""
    BUSY = 4
    """It has no turn: its node predicts ports for another peer."""


@dataclass(frozen=True, slots=True)
class ProbeRequest:
    """Asks the peer for a `ProbeAnswer` with the same transaction, on the same path."""

    transaction: bytes
    """8 unguessable bytes."""
    sent_to: Endpoint | None = None
    """Where we sent it, so that the peer learns at which address we know it; None over the relay."""
    size: int = field(default=0, compare=False)
    """Set by `decode_probe`: how many plaintext bytes came."""


@dataclass(frozen=True, slots=True)
class ProbeAnswer:
    """Proves that a request arrived, and says where it came from."""

    transaction: bytes
    """That of the request."""
    observed: Endpoint | None = None
    """The source of the request as we saw it; None over the relay."""
    size: int = field(default=0, compare=False)
    """Set by `decode_probe`: how many plaintext bytes came."""


@dataclass(frozen=True, slots=True)
class ProbeHint:
    """What one side of a port prediction tells the other meanwhile, over the relay."""

    phase: PunchPhase
    opens: bool = False
    """Whether the sender opens sockets; otherwise it guesses ports. If both say the same, their reports differ."""
    attempt: int = 0
    """The number of this port prediction of the pair, as the sender counts; the higher count holds."""
    place: Endpoint | None = None
    """Where its outer ports are; only the host counts. None if it has no ports to tell."""
    spans: tuple[tuple[int, int], ...] = ()
    """First and last port of each range that holds ports of its sockets, as far as it knows; at most 32."""
    step: int = 0
    """The signed distance from one of its ports to the next; 0: not known."""
    sockets: int = 0
    """How many it has opened."""
    flows: int = 0
    """How many pairs of socket and remote endpoint it has probed."""


Probe: TypeAlias = ProbeRequest | ProbeAnswer | ProbeHint


def encode_probe(probe: Probe, size: int = 0) -> bytes:
    """The plaintext of a probe, padded with zeros to `size` bytes if it is shorter."""
    match probe:
        case ProbeRequest():
            word, transaction, endpoint, rest = _REQUEST, probe.transaction, probe.sent_to, b""
        case ProbeAnswer():
            word, transaction, endpoint, rest = _ANSWER, probe.transaction, probe.observed, b""
        case ProbeHint():
            word, transaction, endpoint, rest = _HINT, bytes(TRANSACTION_BYTES), probe.place, _encode_hint(probe)
        case _:
            assert_never(probe)
    packed = b"" if endpoint is None else encode_endpoint(endpoint)
    return (bytes((word,)) + transaction + bytes((len(packed),)) + packed + rest).ljust(size, b"\0")


def decode_probe(plaintext: bytes) -> Probe:
    """A probe, its `size` set to the length of the plaintext. Raises MalformedFrame."""
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
        case 3:
            return _decode_hint(endpoint, plaintext[_HEAD_BYTES + length :])
        case word:
            raise MalformedFrame(f"a probe that says {word}")


def _encode_hint(hint: ProbeHint) -> bytes:
    spans = hint.spans[:MAX_SPANS]
    fields = _HINT_FIELDS.pack(
        hint.phase,
        hint.opens,
        hint.attempt & 0xFF,
        hint.sockets & 0xFFFF,
        hint.flows & 0xFFFF,
        _signed(hint.step),
        len(spans),
    )
    return fields + b"".join(_SPAN.pack(*span) for span in spans)


def _decode_hint(place: Endpoint | None, rest: bytes) -> ProbeHint:
    if len(rest) < _HINT_FIELDS.size:
        raise MalformedFrame(f"a hint of {len(rest)} bytes after its endpoint")
    phase, opens, attempt, sockets, flows, step, count = _HINT_FIELDS.unpack_from(rest)
    if phase not in PunchPhase.__members__.values() or opens > 1 or count > MAX_SPANS:
        raise MalformedFrame(f"a hint of phase {phase} with {count} spans")
    packed = rest[_HINT_FIELDS.size : _HINT_FIELDS.size + count * _SPAN.size]
    if len(packed) != count * _SPAN.size:
        raise MalformedFrame("a hint ends inside its spans")
    spans = tuple(_SPAN.iter_unpack(packed))
    if any(not 0 < first <= last for first, last in spans):
        raise MalformedFrame("a span of ports that begins after its end, or at port 0")
    return ProbeHint(PunchPhase(phase), bool(opens), attempt, place, spans, step, sockets, flows)


def _signed(step: int) -> int:
    return max(-(1 << 15), min((1 << 15) - 1, step))
