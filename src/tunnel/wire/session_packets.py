"""The plaintext of control records inside a session: one kind byte, then its fields. Data: wire/records.py."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from tunnel.model.errors import MalformedFrame

MAX_APPLICATION_DATAGRAM = 1279
"""Bytes: every IPv6 path carries so many (RFC 8200 section 5), so a program may forward them."""
ECHO_TOKEN_BYTES = 8
_ECHO, _ECHO_REPLY, _FAREWELL, _TALLY = 1, 2, 3, 4
_TALLY_FIELDS = struct.Struct("!QQQQB")


@dataclass(frozen=True, slots=True)
class Echo:
    """Asks for an `EchoReply` with this token."""

    token: bytes


@dataclass(frozen=True, slots=True)
class EchoReply:
    """Answers an `Echo`, with its token."""

    token: bytes


@dataclass(frozen=True, slots=True)
class Farewell:
    """The sender leaves: do not wait for it."""


@dataclass(frozen=True, slots=True)
class Keep:
    """An empty packet: it only shows that its sender has the keys."""


@dataclass(frozen=True, slots=True)
class Tally:
    """What the sender has received from the peer so far."""

    udp: int
    """Bytes by UDP."""
    link: int
    """Bytes over the link to the server."""
    counted: int = 0
    """Datagrams that the peer has sent by UDP, by the counters and fragments of those that arrived."""
    came: int = 0
    """Datagrams that arrived by UDP."""
    avoids_udp: bool = False
    """The sender uses no UDP, since it carries far less, and asks the peer to do the same."""


Control = Tally | Echo | EchoReply | Farewell | Keep


def encode_control(message: Control) -> bytes:
    """The plaintext of a control packet."""
    match message:
        case Echo(token):
            return bytes((_ECHO,)) + token
        case EchoReply(token):
            return bytes((_ECHO_REPLY,)) + token
        case Farewell():
            return bytes((_FAREWELL,))
        case Tally():
            return bytes((_TALLY,)) + _TALLY_FIELDS.pack(
                message.udp, message.link, message.counted, message.came, message.avoids_udp
            )
        case Keep():
            return b""


def decode_control(plaintext: bytes) -> Control:
    """A control packet. Raises MalformedFrame, also for kinds that a newer peer may know."""
    if not plaintext:
        return Keep()
    kind, body = plaintext[0], plaintext[1:]
    if kind in (_ECHO, _ECHO_REPLY) and len(body) == ECHO_TOKEN_BYTES:
        return Echo(body) if kind == _ECHO else EchoReply(body)
    if kind == _FAREWELL and not body:
        return Farewell()
    if kind == _TALLY and len(body) == _TALLY_FIELDS.size:
        udp, link, counted, came, avoids = _TALLY_FIELDS.unpack(body)
        if avoids <= 1:
            return Tally(udp, link, counted, came, bool(avoids))
    raise MalformedFrame(f"control packet of kind {kind}, {len(body)} bytes")
