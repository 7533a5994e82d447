"""PCP messages <-> bytes (RFC 6887): how a host asks a newer gateway for ports. See port_control.py.

    request | 2 | opcode | 0 (2)         | lifetime (4) | client's address (16)  | operation | options ...
    answer  | 2 | opcode | 0 | code      | lifetime (4) | epoch (4) | 0 (12)     | operation | options ...
    MAP     | nonce (12) | protocol | 0 (3) | internal port (2) | external port (2) | external address (16)
    option  | code | 0 | length (2) | value, padded to a multiple of four

ANNOUNCE has no operation. PEER is not supported. IPv4 addresses travel inside IPv6 ones (section 5).
"""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias, assert_never

from tunnel.model.endpoint import Endpoint, packed_host
from tunnel.model.errors import MalformedFrame
from tunnel.model.transport import Transport
from tunnel.wire.nat_pmp import ANSWER_BIT

PCP_VERSION = 2
NONCE_BYTES = 12
PCP_HEADER_BYTES = 24
"""In a request and in an answer; the operation and the options follow."""
MAX_PCP = 1100
"""Bytes of a message (section 7)."""
ANYWHERE = Endpoint("0.0.0.0", 0)
"""The IPv4 endpoint that a request suggests if any will do."""


class PcpCode(IntEnum):
    """What became of a PCP request (RFC 6887, section 7.4)."""

    SUCCESS = 0
    UNSUPP_VERSION = 1
    NOT_AUTHORIZED = 2
    MALFORMED_REQUEST = 3
    UNSUPP_OPCODE = 4
    UNSUPP_OPTION = 5
    MALFORMED_OPTION = 6
    NETWORK_FAILURE = 7
    NO_RESOURCES = 8
    UNSUPP_PROTOCOL = 9
    USER_EX_QUOTA = 10
    CANNOT_PROVIDE_EXTERNAL = 11
    ADDRESS_MISMATCH = 12
    EXCESSIVE_REMOTE_PEERS = 13


@dataclass(frozen=True, slots=True)
class PcpAnnounceRequest:
    """Asks whether the gateway speaks PCP, and for its epoch (RFC 6887, section 14.1)."""

    client: str
    """The address from which it was sent, so that the gateway notices a NAT in between."""


@dataclass(frozen=True, slots=True)
class PcpMapRequest:
    """Asks for a mapping, or with lifetime 0 for its end (RFC 6887, section 11)."""

    client: str
    nonce: bytes
    """12 unguessable bytes, the same while the mapping lives: without them nobody can change it."""
    transport: Transport
    internal_port: int
    external: Endpoint
    """The endpoint that we would like. Address and port may each be zero for none."""
    lifetime: int
    third_party: str | None = None
    """The host that the mapping is for, if it is not the client (section 13.1)."""
    prefer_failure: bool = False
    """Refuse rather than give another external endpoint than the suggested one (section 13.2)."""


@dataclass(frozen=True, slots=True)
class PcpFaulty:
    """A PCP request that only a refusal answers, with this code."""

    code: PcpCode
    opcode: int
    operation: bytes
    """The bytes after the header; the refusal repeats them."""


@dataclass(frozen=True, slots=True)
class PcpAnnounced:
    """The gateway speaks PCP."""

    epoch: int


@dataclass(frozen=True, slots=True)
class PcpMapped:
    """A mapping as it is now, with the fields of its request."""

    epoch: int
    nonce: bytes
    transport: Transport
    internal_port: int
    external: Endpoint
    lifetime: int
    third_party: str | None = None
    prefer_failure: bool = False


@dataclass(frozen=True, slots=True)
class PcpRefusal:
    """The gateway refused. `code` is a plain number if RFC 6887 does not define it."""

    code: PcpCode | int
    opcode: int
    epoch: int
    lifetime: int
    """For how many seconds it would give the same answer."""
    operation: bytes = b""
    """The bytes after the header of the request."""

    @property
    def nonce(self) -> bytes | None:
        """The nonce of the map request that it answers; None if it answers another request."""
        is_map = self.opcode == _MAP and len(self.operation) >= _OPERATION.size
        return self.operation[:NONCE_BYTES] if is_map else None


PcpRequest: TypeAlias = PcpAnnounceRequest | PcpMapRequest
PcpAnswer: TypeAlias = PcpAnnounced | PcpMapped | PcpRefusal


def encode_pcp_request(request: PcpRequest) -> bytes:
    """A request as a datagram: numeric addresses, ports of 16 bits, a lifetime of 32."""
    match request:
        case PcpAnnounceRequest():
            return _REQUEST.pack(PCP_VERSION, _ANNOUNCE, 0, _packed(request.client))
        case PcpMapRequest():
            head = _REQUEST.pack(PCP_VERSION, _MAP, request.lifetime, _packed(request.client))
            return head + _encode_operation(request)
        case _:
            assert_never(request)


def decode_pcp_request(datagram: bytes) -> PcpRequest | PcpFaulty:
    """What a host asks. The first two bytes are known to be those of a PCP request. Raises MalformedFrame.

    A request that a gateway drops is malformed; one that it refuses without reading on is a PcpFaulty (section 8.2).
    """
    if len(datagram) < _REQUEST.size:
        raise MalformedFrame("a PCP request without a whole header")
    _, opcode, lifetime, address = _REQUEST.unpack_from(datagram)
    client, operation = _unpacked(address), datagram[_REQUEST.size :]
    try:
        if len(datagram) > MAX_PCP or len(datagram) % 4:
            raise _Fault(PcpCode.MALFORMED_REQUEST)
        if opcode == _ANNOUNCE:
            _decode_options(operation)
            return PcpAnnounceRequest(client)
        if opcode != _MAP:
            raise _Fault(PcpCode.UNSUPP_OPCODE)
        if len(operation) < _OPERATION.size:
            raise _Fault(PcpCode.MALFORMED_REQUEST)
        nonce, protocol, internal, external_port, external = _OPERATION.unpack_from(operation)
        options = _decode_options(operation[_OPERATION.size :])
        if protocol not in _TRANSPORTS:
            raise _Fault(PcpCode.UNSUPP_PROTOCOL)
    except _Fault as fault:
        return PcpFaulty(fault.code, opcode, operation)
    suggested = Endpoint(_unpacked(external), external_port)
    return PcpMapRequest(client, nonce, Transport(protocol), internal, suggested, lifetime, *options)


def encode_pcp_answer(answer: PcpAnswer) -> bytes:
    """An answer as a datagram."""
    match answer:
        case PcpAnnounced():
            return _ANSWER.pack(PCP_VERSION, ANSWER_BIT | _ANNOUNCE, PcpCode.SUCCESS, 0, answer.epoch)
        case PcpMapped():
            head = _ANSWER.pack(PCP_VERSION, ANSWER_BIT | _MAP, PcpCode.SUCCESS, answer.lifetime, answer.epoch)
            return head + _encode_operation(answer)
        case PcpRefusal():
            head = _ANSWER.pack(PCP_VERSION, ANSWER_BIT | answer.opcode, answer.code, answer.lifetime, answer.epoch)
            return (head + answer.operation)[:MAX_PCP]
        case _:
            assert_never(answer)


def decode_pcp_answer(datagram: bytes) -> PcpAnswer:
    """What a gateway says. The first two bytes are known to be those of a PCP answer. Raises MalformedFrame."""
    if not _ANSWER.size <= len(datagram) <= MAX_PCP:
        raise MalformedFrame(f"a PCP answer of {len(datagram)} bytes")
    _, opcode, code, lifetime, epoch = _ANSWER.unpack_from(datagram)
    opcode, operation = opcode ^ ANSWER_BIT, datagram[_ANSWER.size :]
    if code != PcpCode.SUCCESS:
        return PcpRefusal(PcpCode(code) if code in _CODES else code, opcode, epoch, lifetime, operation)
    if opcode == _ANNOUNCE:
        return PcpAnnounced(epoch)
    if opcode != _MAP or len(operation) < _OPERATION.size or len(operation) % 4:
        raise MalformedFrame("a PCP answer that ends early, or to a request that does not exist")
    nonce, protocol, internal, external_port, external = _OPERATION.unpack_from(operation)
    try:
        options = _decode_options(operation[_OPERATION.size :])
    except _Fault as fault:
        raise MalformedFrame("a PCP answer with options that we did not send") from fault
    if protocol not in _TRANSPORTS:
        raise MalformedFrame("a PCP answer for another protocol than UDP and TCP")
    mapped = Endpoint(_unpacked(external), external_port)
    return PcpMapped(epoch, nonce, Transport(protocol), internal, mapped, lifetime, *options)


def pcp_lost_mappings(earlier: int, later: int, seconds: float) -> bool:
    """Whether a gateway restarted between the two epochs that it told, `seconds` apart (RFC 6887, section 8.5).

    Its clock may differ from ours by a sixteenth and two seconds. If it is further ahead, that counts as a restart too.
    """
    told = later - earlier
    return told < -1 or seconds + 2 < told - told / 16 or told + 2 < seconds - seconds / 16


_ANNOUNCE, _MAP = 0, 1
_TRANSPORTS = frozenset(Transport)
_CODES = frozenset(PcpCode)
_REQUEST = struct.Struct("!BBxxI16s")
_ANSWER = struct.Struct("!BBxBII12x")
_OPERATION = struct.Struct(f"!{NONCE_BYTES}sB3xHH16s")
_OPTION = struct.Struct("!BxH")
_THIRD_PARTY, _PREFER_FAILURE = 1, 2
_OPTION_BYTES = {_THIRD_PARTY: 16, _PREFER_FAILURE: 0}
_FIRST_OPTIONAL = 128
"""Options from here on may be ignored (section 7.3)."""


class _Fault(Exception):
    """The code with which a request is refused."""

    def __init__(self, code: PcpCode) -> None:
        super().__init__(code)
        self.code = code


def _encode_operation(message: PcpMapRequest | PcpMapped) -> bytes:
    host, port = message.external
    operation = _OPERATION.pack(message.nonce, message.transport, message.internal_port, port, _packed(host))
    if message.third_party is not None:
        operation += _OPTION.pack(_THIRD_PARTY, _OPTION_BYTES[_THIRD_PARTY]) + _packed(message.third_party)
    return operation + (_OPTION.pack(_PREFER_FAILURE, 0) if message.prefer_failure else b"")


def _decode_options(options: bytes) -> tuple[str | None, bool]:
    """The third party, and whether failure is preferred. Raises _Fault."""
    found: dict[int, bytes] = {}
    while options:
        kind, length = _OPTION.unpack_from(options)
        value, options = options[4 : 4 + length], options[4 + length + -length % 4 :]
        if len(value) != length:
            raise _Fault(PcpCode.MALFORMED_OPTION)
        if kind >= _FIRST_OPTIONAL:
            continue
        if kind not in _OPTION_BYTES:
            raise _Fault(PcpCode.UNSUPP_OPTION)
        if kind in found or length != _OPTION_BYTES[kind]:
            raise _Fault(PcpCode.MALFORMED_OPTION)
        found[kind] = value
    third_party = found.get(_THIRD_PARTY)
    return None if third_party is None else _unpacked(third_party), _PREFER_FAILURE in found


def _packed(host: str) -> bytes:
    """16 bytes; an IPv4 address inside an IPv6 one (RFC 6887, section 5)."""
    address = packed_host(host)
    return address if len(address) == 16 else bytes(10) + b"\xff\xff" + address


def _unpacked(packed: bytes) -> str:
    address = ipaddress.IPv6Address(packed)
    return str(address.ipv4_mapped or address)
