"""STUN messages <-> bytes (RFC 8489), with the attributes of RFC 5780. No I/O, no clock.

     0             2        4              8                        20
    | type (2)    | length | magic cookie | transaction id (12)    | attributes ...
    | attribute   | length | value, padded to a multiple of four ...

Only what a survey and our STUN service need is understood. Other attributes that must be understood are listed in
`not_understood`, so that a server can answer 420. `decode_stun` checks a FINGERPRINT if there is one. MESSAGE-INTEGRITY
is not checked: our servers share no key with their clients.
"""

from __future__ import annotations

import ipaddress
import struct
import zlib
from dataclasses import dataclass
from enum import IntEnum, IntFlag

from tunnel.model.endpoint import Endpoint, packed_host, without_ipv6_shell
from tunnel.model.errors import MalformedFrame

MAGIC_COOKIE = 0x2112A442
TRANSACTION_BYTES = 12
BINDING = 0x001
HEADER = struct.Struct(f"!HHI{TRANSACTION_BYTES}s")
MAX_STUN = 1500
MAX_SOFTWARE = 128
"""Characters of SOFTWARE and of an error's phrase (RFC 8489 sections 14.8 and 14.14)."""


class StunClass(IntEnum):
    """What a message is in its transaction (RFC 8489 section 5): the two class bits, in their places."""

    REQUEST = 0x000
    INDICATION = 0x010
    SUCCESS = 0x100
    ERROR = 0x110


class Change(IntFlag):
    """What a CHANGE-REQUEST asks the server to answer from (RFC 5780 section 7.2)."""

    NOTHING = 0
    PORT = 2
    ADDRESS = 4


class Attribute(IntEnum):
    """Attribute types (RFC 8489 section 18.3, RFC 5780 section 9.1). Below 0x8000 they must be understood."""

    MAPPED_ADDRESS = 0x0001
    CHANGE_REQUEST = 0x0003
    MESSAGE_INTEGRITY = 0x0008
    ERROR_CODE = 0x0009
    UNKNOWN_ATTRIBUTES = 0x000A
    MESSAGE_INTEGRITY_SHA256 = 0x001C
    XOR_MAPPED_ADDRESS = 0x0020
    RESPONSE_PORT = 0x0027
    SOFTWARE = 0x8022
    FINGERPRINT = 0x8028
    RESPONSE_ORIGIN = 0x802B
    OTHER_ADDRESS = 0x802C


@dataclass(frozen=True, slots=True)
class StunMessage:
    """One message. An attribute that is not there is None (or empty)."""

    kind: StunClass
    transaction: bytes
    """12 unguessable bytes; an answer repeats those of its request."""
    method: int = BINDING
    """Below 128, since a first byte above 0x01 is not STUN here."""
    xor_mapped: Endpoint | None = None
    mapped: Endpoint | None = None
    """MAPPED-ADDRESS: the same, in a form that some NATs rewrite. Use `observed`."""
    origin: Endpoint | None = None
    other: Endpoint | None = None
    change: Change | None = None
    response_port: int | None = None
    error: int | None = None
    """ERROR-CODE, 300 to 699."""
    phrase: str = ""
    unknown: tuple[int, ...] = ()
    """UNKNOWN-ATTRIBUTES of a 420 answer."""
    software: str = ""
    fingerprint: bool = False
    """Whether it ends in a FINGERPRINT."""
    not_understood: tuple[int, ...] = ()
    """Set by `decode_stun`: types that must be understood but are not. Never encoded."""

    @property
    def observed(self) -> Endpoint | None:
        """The source that the server saw: XOR-MAPPED-ADDRESS, else MAPPED-ADDRESS; IPv4 never as IPv4-mapped IPv6."""
        seen = self.xor_mapped or self.mapped
        return None if seen is None else without_ipv6_shell(seen)


def is_stun(datagram: bytes) -> bool:
    """Whether the first bytes are those of a STUN message (RFC 8489 section 5)."""
    return len(datagram) >= HEADER.size and datagram[0] < 2 and datagram[4:8] == _COOKIE


def binding_request(transaction: bytes, change: Change | None = None, response_port: int | None = None) -> StunMessage:
    """Asks a server where it sees us. It may be asked to answer from elsewhere, or to another port of ours."""
    return StunMessage(StunClass.REQUEST, transaction, change=change, response_port=response_port)


def binding_success(request: StunMessage, observed: Endpoint) -> StunMessage:
    """Answers a binding request; it carries a FINGERPRINT if the request did."""
    return StunMessage(StunClass.SUCCESS, request.transaction, xor_mapped=observed, fingerprint=request.fingerprint)


def encode_stun(message: StunMessage) -> bytes:
    """The message as a datagram."""
    body = b"".join(_attribute(kind, value) for kind, value in _values(message))
    head = _head(message, len(body) + (_FINGERPRINT_BYTES if message.fingerprint else 0))
    if message.fingerprint:
        body += _attribute(Attribute.FINGERPRINT, _fingerprint(head + body))
    return head + body


def decode_stun(datagram: bytes) -> StunMessage:
    """A message. Raises MalformedFrame, also for a FINGERPRINT that is wrong or not at the end.

    If an attribute comes twice, the first counts (RFC 8489 section 14). Attributes after a MESSAGE-INTEGRITY are
    ignored, except the FINGERPRINT (section 14.5).
    """
    if not is_stun(datagram):
        raise MalformedFrame("not a STUN message")
    kind_and_method, length, _, transaction = HEADER.unpack_from(datagram)
    if length % 4 or length != len(datagram) - HEADER.size or len(datagram) > MAX_STUN:
        raise MalformedFrame("a STUN message that is too long, or not as long as it says")
    found: dict[int, bytes] = {}
    for offset, kind, value in _walk(datagram):
        if kind == Attribute.FINGERPRINT:
            if offset + _FINGERPRINT_BYTES != len(datagram) or value != _fingerprint(datagram[:offset]):
                raise MalformedFrame("a STUN fingerprint that does not match")
            found[kind] = value
        elif not _INTEGRITIES & found.keys() or kind == Attribute.MESSAGE_INTEGRITY_SHA256:
            found.setdefault(kind, value)
    change, port = found.get(Attribute.CHANGE_REQUEST), found.get(Attribute.RESPONSE_PORT)
    error, phrase = _decode_error(found.get(Attribute.ERROR_CODE))
    return StunMessage(
        kind=StunClass(kind_and_method & 0x110),
        transaction=transaction,
        method=(kind_and_method & 0xE0) >> 1 | kind_and_method & 0x0F,
        xor_mapped=_decode_address(found.get(Attribute.XOR_MAPPED_ADDRESS), _COOKIE + transaction),
        mapped=_decode_address(found.get(Attribute.MAPPED_ADDRESS)),
        origin=_decode_address(found.get(Attribute.RESPONSE_ORIGIN)),
        other=_decode_address(found.get(Attribute.OTHER_ADDRESS)),
        change=None if change is None else Change(_integer(change, 4) & (Change.PORT | Change.ADDRESS)),
        response_port=None if port is None else _integer(port, 4) >> 16,
        error=error,
        phrase=phrase,
        unknown=_decode_types(found.get(Attribute.UNKNOWN_ATTRIBUTES, b"")),
        software=_decode_text(found.get(Attribute.SOFTWARE, b"")),
        fingerprint=Attribute.FINGERPRINT in found,
        not_understood=tuple(kind for kind in found if kind < 0x8000 and kind not in _UNDERSTOOD),
    )


_COOKIE = MAGIC_COOKIE.to_bytes(4, "big")
_FINGERPRINT_BYTES = 8
_FINGERPRINT_MASK = 0x5354554E
_UNDERSTOOD = frozenset(Attribute)
_INTEGRITIES = frozenset({Attribute.MESSAGE_INTEGRITY, Attribute.MESSAGE_INTEGRITY_SHA256})
_FAMILIES = {1: 4, 2: 16}


def _head(message: StunMessage, length: int) -> bytes:
    method = (message.method & 0x70) << 1 | message.method & 0x0F
    return HEADER.pack(method | message.kind, length, MAGIC_COOKIE, message.transaction)


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("!HH", kind, len(value)) + value + bytes(-len(value) % 4)


def _values(message: StunMessage) -> list[tuple[int, bytes]]:
    values: list[tuple[int, bytes]] = []
    if message.error is not None:
        code = bytes((0, 0, message.error // 100, message.error % 100))
        values.append((Attribute.ERROR_CODE, code + message.phrase[:MAX_SOFTWARE].encode()))
    if message.unknown:
        values.append((Attribute.UNKNOWN_ATTRIBUTES, struct.pack(f"!{len(message.unknown)}H", *message.unknown)))
    if message.xor_mapped is not None:
        pad = _COOKIE + message.transaction
        values.append((Attribute.XOR_MAPPED_ADDRESS, _encode_address(message.xor_mapped, pad)))
    for kind, endpoint in (
        (Attribute.MAPPED_ADDRESS, message.mapped),
        (Attribute.RESPONSE_ORIGIN, message.origin),
        (Attribute.OTHER_ADDRESS, message.other),
    ):
        if endpoint is not None:
            values.append((kind, _encode_address(endpoint)))
    if message.change is not None:
        values.append((Attribute.CHANGE_REQUEST, struct.pack("!I", message.change)))
    if message.response_port is not None:
        values.append((Attribute.RESPONSE_PORT, struct.pack("!HH", message.response_port, 0)))
    if message.software:
        values.append((Attribute.SOFTWARE, message.software[:MAX_SOFTWARE].encode()))
    return values


def _walk(datagram: bytes) -> list[tuple[int, int, bytes]]:
    """(offset, type, value) of each attribute. Raises MalformedFrame when one runs over the end."""
    attributes = []
    offset = HEADER.size
    while offset < len(datagram):
        kind, length = struct.unpack_from("!HH", datagram, offset)
        value = datagram[offset + 4 : offset + 4 + length]
        if len(value) != length:
            raise MalformedFrame("a STUN attribute runs over the end of its message")
        attributes.append((offset, kind, value))
        offset += 4 + length + -length % 4
    return attributes


def _fingerprint(before: bytes) -> bytes:
    return (zlib.crc32(before) ^ _FINGERPRINT_MASK).to_bytes(4, "big")


def _masked(data: bytes, pad: bytes) -> bytes:
    return bytes(byte ^ mask for byte, mask in zip(data, pad, strict=False))


def _encode_address(endpoint: Endpoint, pad: bytes = bytes(16)) -> bytes:
    address = packed_host(endpoint.host)
    port = _masked(endpoint.port.to_bytes(2, "big"), pad)
    return bytes((0, 1 if len(address) == 4 else 2)) + port + _masked(address, pad)


def _decode_address(value: bytes | None, pad: bytes = bytes(16)) -> Endpoint | None:
    if value is None:
        return None
    if len(value) < 4 or _FAMILIES.get(value[1]) != len(value) - 4:
        raise MalformedFrame("a STUN address of an unknown family or a wrong length")
    host = ipaddress.ip_address(_masked(value[4:], pad))
    return Endpoint(str(host), int.from_bytes(_masked(value[2:4], pad), "big"))


def _decode_error(value: bytes | None) -> tuple[int | None, str]:
    if value is None:
        return None, ""
    if len(value) < 4 or not 3 <= value[2] & 7 <= 6 or value[3] > 99:
        raise MalformedFrame("an invalid STUN error code")
    return (value[2] & 7) * 100 + value[3], _decode_text(value[4:])


def _decode_types(value: bytes) -> tuple[int, ...]:
    if len(value) % 2:
        raise MalformedFrame("half an attribute type")
    return struct.unpack(f"!{len(value) // 2}H", value)


def _decode_text(value: bytes) -> str:
    return value.decode(errors="replace")[:MAX_SOFTWARE]


def _integer(value: bytes, size: int) -> int:
    if len(value) != size:
        raise MalformedFrame("a STUN number of the wrong length")
    return int.from_bytes(value, "big")
