"""Signals between node and server: frozen dataclasses <-> MessagePack (docs/protocol.md).

A signal travels as `[tag, {field: value}]`. Unknown tags decode to None and are skipped, unknown fields are ignored,
and all lengths are limited here, so nothing is checked again after `decode_signal`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, get_type_hints

import cattrs
import msgpack
from cattrs.errors import BaseValidationError

from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import MalformedFrame
from tunnel.model.identity import EPOCH_BYTES, ID_BYTES
from tunnel.model.protocol_version import FIRST_VERSION

SUBPROTOCOL = "p2ptunnel.v1"
SIGNALS_VERSION = 1
MAX_SIGNAL = 8192
MAX_BODY = 4096
MAX_TEXT = 512


@dataclass(frozen=True, slots=True)
class Challenge:
    """Server -> node, first: prove the network and the node key over this."""

    nonce: bytes
    """32 random bytes."""
    server_key: bytes
    """An X25519 public key of this connection only, 32 bytes."""
    version: int = SIGNALS_VERSION


@dataclass(frozen=True, slots=True)
class Hello:
    """Node -> server: who I am and which network I enter. Proofs: crypto/admission.py."""

    network_key: bytes
    """Ed25519 public key, 32 bytes."""
    network_name: bytes
    """SHA-256 of the network's name, 32 bytes."""
    node_key: bytes
    """X25519 static public key, 32 bytes."""
    signature: bytes
    """By the network key, 64 bytes."""
    proof: bytes
    """HMAC under DH(node key, server key), 32 bytes."""
    wanted_address: str = ""
    version: int = SIGNALS_VERSION
    software: str = ""
    protocol_version: int = FIRST_VERSION
    """What the node speaks with its peers (model/protocol_version.py). Not in the proofs: older servers skip it."""


@dataclass(frozen=True, slots=True)
class Welcome:
    """Server -> node: you are registered."""

    address: str
    """Leased IPv4 tunnel address with its prefix length, such as 10.86.0.7/16."""
    leased_since: float
    """Unix time at which this node got the lease."""
    observed: Endpoint
    """The TCP endpoint that the server sees."""
    stun: tuple[Endpoint, ...]
    """STUN endpoints of the server; a host of 0.0.0.0 or :: means the host that the node dialed."""
    relay: tuple[Endpoint, ...] = ()
    """Where its UDP relay listens, in the same form; empty if it has none."""
    protocol_version: int = FIRST_VERSION
    """What nodes of the server's version speak with their peers."""


@dataclass(frozen=True, slots=True)
class Announce:
    """Node -> server: my sealed announcement, newer than all with a lower seq of this epoch."""

    epoch: bytes
    seq: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Announced:
    """Server -> node: the announcement with this seq is kept and passed on."""

    seq: int


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Node -> server: I leave; tell the others."""


@dataclass(frozen=True, slots=True)
class Connect:
    """Node -> server: introduce me to this peer. Idempotent for the pair."""

    id: int
    peer: bytes


@dataclass(frozen=True, slots=True)
class Pending:
    """Server -> node, at once: the request is held, up to 10 s."""

    id: int
    peer: bytes
    missing: str
    """`own`, `peer` or `both`: whose announcement the server still waits for; empty if none."""


@dataclass(frozen=True, slots=True)
class Introduced:
    """Server -> both nodes: punch each other, beginning in `start_in` seconds from receipt."""

    id: int
    """That of the introduction, the same on both sides."""
    peer: bytes
    epoch: bytes
    seq: int
    body: bytes
    own_epoch: bytes
    own_seq: int
    """Which of the receiver's announcements the peer was given."""
    start_in: float


@dataclass(frozen=True, slots=True)
class Refusal:
    """Server -> node: no introduction. `code` is a ReasonCode value."""

    id: int
    peer: bytes
    code: str
    evidence: str = ""


@dataclass(frozen=True, slots=True)
class Allocate:
    """Node -> server: give this peer and me a circuit of the UDP relay. Idempotent for the pair."""

    peer: bytes


@dataclass(frozen=True, slots=True)
class Circuit:
    """Server -> both nodes: this circuit leads to that peer, once both have bound it."""

    peer: bytes
    circuit: int
    """Not 0. The newest circuit of a pair counts."""
    key: bytes
    """32 random bytes, for the receiver's side: its binds carry a MAC under this key."""


@dataclass(frozen=True, slots=True)
class NoCircuit:
    """Server -> node: no circuit to this peer now. `why`: `peer_offline`, `full`, or `off` without a UDP relay."""

    peer: bytes
    why: str


@dataclass(frozen=True, slots=True)
class PeerUp:
    """Server -> node: this member of your network is there; its latest announcement."""

    peer: bytes
    epoch: bytes
    seq: int
    body: bytes


@dataclass(frozen=True, slots=True)
class PeerDown:
    """Server -> node: this member left (`left`) or its link to the server broke (`lost`)."""

    peer: bytes
    why: str


@dataclass(frozen=True, slots=True)
class Ping:
    """Either way; the answer echoes the token."""

    token: int


@dataclass(frozen=True, slots=True)
class Pong:
    """Answer to a ping."""

    token: int


@dataclass(frozen=True, slots=True)
class ErrorSignal:
    """Server -> node, last before it closes: why. Codes: docs/protocol.md."""

    code: str
    text: str = ""


Signal = (
    Challenge
    | Hello
    | Welcome
    | Announce
    | Announced
    | Withdraw
    | Connect
    | Pending
    | Introduced
    | Refusal
    | Allocate
    | Circuit
    | NoCircuit
    | PeerUp
    | PeerDown
    | Ping
    | Pong
    | ErrorSignal
)

TAGS: dict[str, type] = {
    "challenge": Challenge,
    "hello": Hello,
    "welcome": Welcome,
    "announce": Announce,
    "announced": Announced,
    "withdraw": Withdraw,
    "connect": Connect,
    "pending": Pending,
    "introduced": Introduced,
    "refused": Refusal,
    "allocate": Allocate,
    "circuit": Circuit,
    "no_circuit": NoCircuit,
    "peer_up": PeerUp,
    "peer_down": PeerDown,
    "ping": Ping,
    "pong": Pong,
    "error": ErrorSignal,
}
_TAG_OF = {kind: tag for tag, kind in TAGS.items()}

# The exact length of a field, by its name; others are limited by their type.
_EXACT = {
    "nonce": 32,
    "server_key": 32,
    "network_key": 32,
    "network_name": 32,
    "node_key": 32,
    "signature": 64,
    "proof": 32,
    "key": 32,
    "peer": ID_BYTES,
    "epoch": EPOCH_BYTES,
    "own_epoch": EPOCH_BYTES,
}
_MAX_INTEGER = 2**63 - 1


def tag_of(signal: Signal) -> str:
    """The word that a signal has on the wire, in charts and in traces."""
    return _TAG_OF[type(signal)]


def encode_signal(signal: Signal) -> bytes:
    """At most MAX_SIGNAL bytes."""
    packed: bytes = msgpack.packb([_TAG_OF[type(signal)], _converter.unstructure(signal)], use_bin_type=True)
    return packed


def decode_signal(message: bytes) -> Signal | None:
    """A signal; None if its tag is unknown here (a newer peer). Raises MalformedFrame."""
    if len(message) > MAX_SIGNAL:
        raise MalformedFrame(f"a signal of {len(message)} bytes is longer than {MAX_SIGNAL}")
    try:
        document = msgpack.unpackb(message, raw=False, strict_map_key=True, max_ext_len=0, use_list=True)
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        raise MalformedFrame(f"not MessagePack: {type(error).__name__}") from None
    match document:
        case [str() as tag, dict() as body]:
            kind = TAGS.get(tag)
        case _:
            raise MalformedFrame("a signal is [tag, fields]")
    if kind is None:
        return None
    try:
        signal: Signal = _converter.structure(body, kind)
    except (BaseValidationError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise MalformedFrame(f"a field of {tag!r} is missing or wrong") from None
    return signal


def _checked(kind: type) -> Callable[[Any, Any], Any]:
    """A strict structure hook: no coercion, every length checked."""
    hints = get_type_hints(kind)
    names = [field.name for field in fields(kind)]

    def structure(body: Any, _: Any) -> Any:
        if not isinstance(body, dict):
            raise ValueError("not a map")
        return kind(**{name: _field(name, hints[name], body[name]) for name in names if name in body})

    return structure


def _field(name: str, hint: Any, value: Any) -> Any:
    if hint is Endpoint:
        return _endpoint(value)
    if hint == tuple[Endpoint, ...]:
        if not isinstance(value, list) or len(value) > 8:
            raise ValueError(name)
        return tuple(_endpoint(item) for item in value)
    if hint is float and type(value) is int:
        value = float(value)
    if type(value) is not hint:
        raise ValueError(name)
    if hint is bytes and (len(value) != _EXACT[name] if name in _EXACT else len(value) > MAX_BODY):
        raise ValueError(name)
    if hint is str and len(value) > MAX_TEXT:
        raise ValueError(name)
    if hint is int and not 0 <= value <= _MAX_INTEGER:
        raise ValueError(name)
    if hint is float and not 0.0 <= value < 1e12:
        raise ValueError(name)
    return value


def _endpoint(value: Any) -> Endpoint:
    match value:
        case [str() as host, int() as port] if len(host) <= 64 and type(port) is int and 0 <= port < 65536:
            return Endpoint(str(ipaddress.ip_address(host.partition("%")[0])), port)
    raise ValueError("not an endpoint")


_converter = cattrs.Converter()
_converter.register_unstructure_hook(Endpoint, list)
for _kind in TAGS.values():
    _converter.register_structure_hook(_kind, _checked(_kind))
