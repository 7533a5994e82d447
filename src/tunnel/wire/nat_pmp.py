"""NAT-PMP messages <-> bytes (RFC 6886): how a host asks an older gateway for ports. See port_control.py.

    request | 0 | opcode | 0 (2)    | internal port (2) | external port (2) | lifetime (4)
    answer  | 0 | opcode | code (2) | epoch (4) | outer address (4), or ports and lifetime as above

A request for the outer address consists of the first two bytes. An answer repeats no secret of its request: whoever
sends from the gateway's address is believed.
"""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias, assert_never

from tunnel.model.errors import MalformedFrame
from tunnel.model.transport import Transport

PMP_VERSION = 0
ANSWER_BIT = 0x80
"""Set in an opcode: this is an answer. PCP kept this bit and the place of the code."""


class PmpCode(IntEnum):
    """What became of a NAT-PMP request (RFC 6886, section 3.5)."""

    SUCCESS = 0
    UNSUPPORTED_VERSION = 1
    NOT_AUTHORIZED = 2
    NETWORK_FAILURE = 3
    OUT_OF_RESOURCES = 4
    UNSUPPORTED_OPCODE = 5


@dataclass(frozen=True, slots=True)
class PmpAddressRequest:
    """Asks for the gateway's outer address. An answer also shows that it speaks NAT-PMP."""


@dataclass(frozen=True, slots=True)
class PmpMapRequest:
    """Asks for a mapping, or with lifetime 0 for its end. With internal port 0 too, all mappings of the host end."""

    transport: Transport
    internal_port: int
    external_port: int
    """The port that we would like; 0 for none, and always 0 when a mapping is deleted."""
    lifetime: int

    @property
    def opcode(self) -> int:
        """The opcode of the request; a refusal repeats it."""
        return _MAPS[self.transport]


@dataclass(frozen=True, slots=True)
class PmpUnknown:
    """A NAT-PMP request with an opcode that is not in RFC 6886: it is refused."""

    opcode: int


@dataclass(frozen=True, slots=True)
class PmpAddress:
    """The gateway's outer IPv4 address."""

    epoch: int
    address: str


@dataclass(frozen=True, slots=True)
class PmpMapped:
    """A mapping as it is now; external port and lifetime are 0 if it is gone."""

    epoch: int
    transport: Transport
    internal_port: int
    external_port: int
    lifetime: int


@dataclass(frozen=True, slots=True)
class PmpRefusal:
    """The gateway refused. `code` is a plain number if RFC 6886 does not define it."""

    code: PmpCode | int
    opcode: int
    epoch: int
    internal_port: int = 0
    """That of the map request that it answers."""


PmpRequest: TypeAlias = PmpAddressRequest | PmpMapRequest
PmpAnswer: TypeAlias = PmpAddress | PmpMapped | PmpRefusal


def encode_pmp_request(request: PmpRequest) -> bytes:
    """A request as a datagram: ports of 16 bits, a lifetime of 32."""
    match request:
        case PmpAddressRequest():
            return bytes((PMP_VERSION, _ADDRESS))
        case PmpMapRequest():
            head = struct.pack("!BBH", PMP_VERSION, request.opcode, 0)
            return head + _PORTS.pack(request.internal_port, request.external_port, request.lifetime)
        case _:
            assert_never(request)


def decode_pmp_request(datagram: bytes) -> PmpRequest | PmpUnknown:
    """What a host asks. The first two bytes are known to be those of a NAT-PMP request. Raises MalformedFrame.

    Bytes after the request are ignored.
    """
    opcode = datagram[1]
    if opcode == _ADDRESS:
        return PmpAddressRequest()
    if opcode not in _TRANSPORTS:
        return PmpUnknown(opcode)
    if len(datagram) < 4 + _PORTS.size:
        raise MalformedFrame("a NAT-PMP request that ends early")
    return PmpMapRequest(_TRANSPORTS[opcode], *_PORTS.unpack_from(datagram, 4))


def encode_pmp_answer(answer: PmpAnswer) -> bytes:
    """An answer as a datagram."""
    match answer:
        case PmpAddress():
            head = _ANSWER.pack(PMP_VERSION, ANSWER_BIT | _ADDRESS, PmpCode.SUCCESS, answer.epoch)
            return head + ipaddress.IPv4Address(answer.address).packed
        case PmpMapped():
            head = _ANSWER.pack(PMP_VERSION, ANSWER_BIT | _MAPS[answer.transport], PmpCode.SUCCESS, answer.epoch)
            return head + _PORTS.pack(answer.internal_port, answer.external_port, answer.lifetime)
        case PmpRefusal():
            head = _ANSWER.pack(PMP_VERSION, ANSWER_BIT | answer.opcode, answer.code, answer.epoch)
            if answer.opcode in _TRANSPORTS:
                return head + _PORTS.pack(answer.internal_port, 0, 0)
            return head + bytes(4 if answer.opcode == _ADDRESS else 0)
        case _:
            assert_never(answer)


def decode_pmp_answer(datagram: bytes) -> PmpAnswer:
    """What a gateway says. The first two bytes are known to be those of a NAT-PMP answer. Raises MalformedFrame."""
    if len(datagram) < _ANSWER.size:
        raise MalformedFrame("a NAT-PMP answer without a whole header")
    _, opcode, code, epoch = _ANSWER.unpack_from(datagram)
    opcode, body = opcode ^ ANSWER_BIT, datagram[_ANSWER.size :]
    if code != PmpCode.SUCCESS:
        internal_port = int.from_bytes(body[:2], "big") if opcode in _TRANSPORTS else 0
        return PmpRefusal(PmpCode(code) if code in _CODES else code, opcode, epoch, internal_port)
    if opcode == _ADDRESS and len(body) >= 4:
        return PmpAddress(epoch, str(ipaddress.IPv4Address(body[:4])))
    if opcode in _TRANSPORTS and len(body) >= _PORTS.size:
        return PmpMapped(epoch, _TRANSPORTS[opcode], *_PORTS.unpack_from(body))
    raise MalformedFrame("a NAT-PMP answer that ends early, or to a request that does not exist")


def pmp_lost_mappings(earlier: int, later: int, seconds: float) -> bool:
    """Whether a gateway restarted between the two epochs that it told, `seconds` apart (RFC 6886, section 3.6).

    Its clock may be slower than ours by an eighth, and two seconds late.
    """
    return later < earlier + seconds * 7 / 8 - 2


_ADDRESS = 0
_TRANSPORTS = {1: Transport.UDP, 2: Transport.TCP}
_MAPS = {transport: opcode for opcode, transport in _TRANSPORTS.items()}
_CODES = frozenset(PmpCode)
_PORTS = struct.Struct("!HHI")
_ANSWER = struct.Struct("!BBHI")
