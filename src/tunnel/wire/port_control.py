"""Messages between a host and its gateway about ports: NAT-PMP (nat_pmp.py) or PCP (pcp.py). No I/O, no clock.

    host --request--> gateway, UDP port 5351
         <--answer--           with the top bit of the second byte set

The first byte, the version, tells the two protocols apart. The result code is at the same place in both, so a side that
speaks one of them understands that the other side does not. An *epoch* counts the seconds since a gateway lost its
mappings. Lifetimes are whole seconds; 0 deletes a mapping.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from tunnel.model.errors import MalformedFrame
from tunnel.wire.nat_pmp import (
    ANSWER_BIT,
    PMP_VERSION,
    PmpAddress,
    PmpAddressRequest,
    PmpAnswer,
    PmpMapped,
    PmpMapRequest,
    PmpRefusal,
    PmpRequest,
    PmpUnknown,
    decode_pmp_answer,
    decode_pmp_request,
    encode_pmp_answer,
    encode_pmp_request,
)
from tunnel.wire.pcp import (
    PCP_VERSION,
    PcpAnswer,
    PcpFaulty,
    PcpRequest,
    decode_pcp_answer,
    decode_pcp_request,
    encode_pcp_answer,
    encode_pcp_request,
)

PORT = 5351
"""The gateway's UDP port."""


@dataclass(frozen=True, slots=True)
class OtherVersion:
    """A request in a version that we do not speak; it is refused in one that we do."""

    version: int
    opcode: int


PortRequest: TypeAlias = PmpRequest | PcpRequest
PortAnswer: TypeAlias = PmpAnswer | PcpAnswer


def encode_port_request(request: PortRequest) -> bytes:
    """A request as a datagram."""
    if isinstance(request, PmpAddressRequest | PmpMapRequest):
        return encode_pmp_request(request)
    return encode_pcp_request(request)


def decode_port_request(datagram: bytes) -> PortRequest | PmpUnknown | PcpFaulty | OtherVersion:
    """What a host asks. Raises MalformedFrame for what a gateway does not answer."""
    if len(datagram) < 2 or datagram[1] & ANSWER_BIT:
        raise MalformedFrame("no request for a port")
    match datagram[0]:
        case version if version == PMP_VERSION:
            return decode_pmp_request(datagram)
        case version if version == PCP_VERSION:
            return decode_pcp_request(datagram)
        case version:
            return OtherVersion(version, datagram[1])


def encode_port_answer(answer: PortAnswer) -> bytes:
    """An answer as a datagram."""
    if isinstance(answer, PmpAddress | PmpMapped | PmpRefusal):
        return encode_pmp_answer(answer)
    return encode_pcp_answer(answer)


def decode_port_answer(datagram: bytes) -> PortAnswer:
    """What a gateway says. Raises MalformedFrame. The caller checks whether it was asked for."""
    if len(datagram) < 2 or not datagram[1] & ANSWER_BIT:
        raise MalformedFrame("no answer to a request for a port")
    match datagram[0]:
        case version if version == PMP_VERSION:
            return decode_pmp_answer(datagram)
        case version if version == PCP_VERSION:
            return decode_pcp_answer(datagram)
        case version:
            raise MalformedFrame(f"an answer in version {version}")
