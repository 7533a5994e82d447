"""What a node and the server's UDP relay say to each other (docs/protocol.md).

     0      1      2             10
    | 0x14 | word | circuit (8) | a datagram between nodes as it is             word 0: pass it on
    | 0x14 | word | circuit (8) | counter (8) | whole (1) | cookie (8) | MAC (16) |     1: bind, 2: bound, 3: prove

A node binds its side of a circuit to where the server sees it; the server answers with the same counter and as many
bytes. `prove`: nothing is bound until a bind repeats this cookie from there. `bound`: it is, and whether the circuit
is whole: both sides bound. The MACs: crypto/circuit_seal.py.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

from tunnel.model.errors import MalformedFrame
from tunnel.wire.frames import Kind

HEAD = struct.Struct("!BBQ")
HEAD_BYTES = HEAD.size
"""What passing on adds to a datagram."""
MAC_BYTES = 16
COOKIE_BYTES = 8
NO_COOKIE = bytes(COOKIE_BYTES)
"""In the first bind of a side, which has heard none yet."""
BINDING = struct.Struct(f"!BBQQB{COOKIE_BYTES}s")
BINDING_BYTES = BINDING.size + MAC_BYTES
"""A whole `bind`, `bound` or `prove`."""

_RELAYED = int(Kind.RELAYED)
_pack_head = HEAD.pack


class Word(IntEnum):
    """The second byte."""

    PASS = 0
    BIND = 1
    BOUND = 2
    PROVE = 3


_WORDS = tuple(Word)


@dataclass(frozen=True, slots=True)
class Binding:
    """What is under the MAC of a `bind` (node -> server), and of a `bound` or a `prove` (server -> node)."""

    word: Word
    circuit: int
    counter: int
    """Rises with each bind of a side; an answer repeats that of the bind that it answers."""
    is_whole: bool = False
    """Of a bound: both sides of the circuit are bound."""
    cookie: bytes = NO_COOKIE
    """Of an answer: what shows the server that it was heard. Of a bind: that of the latest answer."""


def encode_passed(circuit: int, datagram: bytes) -> bytes:
    """A datagram between nodes, with the circuit in front that it takes."""
    return _pack_head(_RELAYED, 0, circuit) + datagram


def decode_head(datagram: bytes) -> tuple[Word, int]:
    """Word and circuit of any datagram of this kind. Raises MalformedFrame."""
    if len(datagram) <= HEAD_BYTES:
        raise MalformedFrame(f"a relayed datagram of {len(datagram)} bytes")
    kind, word, circuit = HEAD.unpack_from(datagram)
    if kind != _RELAYED:
        raise MalformedFrame(f"datagram kind 0x{kind:02x} is not relayed")
    if word >= len(_WORDS):
        raise MalformedFrame(f"a relayed datagram that says {word}")
    return _WORDS[word], circuit


def encode_binding(binding: Binding) -> bytes:
    """What the MAC covers, and goes before it."""
    return BINDING.pack(_RELAYED, binding.word, binding.circuit, binding.counter, binding.is_whole, binding.cookie)


def decode_binding(datagram: bytes) -> Binding:
    """A whole `bind`, `bound` or `prove`, MAC and all, which is not looked at. Raises MalformedFrame."""
    word, circuit = decode_head(datagram)
    if word is Word.PASS or len(datagram) != BINDING_BYTES:
        raise MalformedFrame(f"a binding of {len(datagram)} bytes")
    _, _, _, counter, whole, cookie = BINDING.unpack_from(datagram)
    if whole > 1:
        raise MalformedFrame("a circuit is whole or not")
    return Binding(word, circuit, counter, bool(whole), cookie)
