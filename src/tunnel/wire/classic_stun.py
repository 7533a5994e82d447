"""STUN as it was before the magic cookie (RFC 3489): what our STUN service answers to old clients.

Their transaction id has 16 bytes (section 11.1) and addresses are not masked. A server recognizes old clients by the
missing cookie (RFC 8489 section 11). Our own surveys never use this form.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import MalformedFrame
from tunnel.wire.packed_endpoint import encode_endpoint
from tunnel.wire.stun import MAX_STUN, Change, is_stun

HEADER = struct.Struct("!HH16s")
_BINDING_REQUEST, _BINDING_RESPONSE = 0x0001, 0x0101
_MAPPED_ADDRESS, _CHANGE_REQUEST, _SOURCE_ADDRESS, _CHANGED_ADDRESS = 1, 3, 4, 5


@dataclass(frozen=True, slots=True)
class ClassicRequest:
    """A binding request of RFC 3489."""

    transaction: bytes
    """16 bytes."""
    change: Change = Change.NOTHING


def decode_classic_request(datagram: bytes) -> ClassicRequest:
    """A binding request without the cookie. Raises MalformedFrame, also for attributes that we do not know.

    RFC 3489 wants an error in answer to those, but today's clients that get one ask again at once, for ever.
    """
    if len(datagram) < HEADER.size or is_stun(datagram):
        raise MalformedFrame("not a classic STUN message")
    kind, length, transaction = HEADER.unpack_from(datagram)
    if kind != _BINDING_REQUEST or length != len(datagram) - HEADER.size or len(datagram) > MAX_STUN:
        raise MalformedFrame("not a classic binding request")
    match datagram[HEADER.size :]:
        case b"":
            return ClassicRequest(transaction)
        case body if len(body) == 8 and body[:4] == struct.pack("!HH", _CHANGE_REQUEST, 4):
            return ClassicRequest(transaction, Change(body[7] & (Change.PORT | Change.ADDRESS)))
        case _:
            raise MalformedFrame("a classic request with unexpected attributes")


def encode_classic_success(
    request: ClassicRequest, observed: Endpoint, source: Endpoint | None, changed: Endpoint | None
) -> bytes:
    """The answer: where we saw the client and, if known, our source and our other address and port. IPv4 only."""
    addresses = ((_MAPPED_ADDRESS, observed), (_SOURCE_ADDRESS, source), (_CHANGED_ADDRESS, changed))
    body = b"".join(_address(kind, endpoint) for kind, endpoint in addresses if endpoint is not None)
    return HEADER.pack(_BINDING_RESPONSE, len(body), request.transaction) + body


def _address(kind: int, endpoint: Endpoint) -> bytes:
    packed = encode_endpoint(endpoint)
    return struct.pack("!HHBB", kind, 8, 0, 1) + packed[4:] + packed[:4]
