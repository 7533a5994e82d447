"""What a node and the server's UDP relay say to each other (docs/protocol.md).

     0      1      2             10
    | 0x14 | word | circuit (8) | a datagram between nodes, unchanged           word 0: pass it on
    | 0x14 | word | circuit (8) | counter (8) | whole (1) | cookie (8) | MAC (16) |     1: bind, 2: bound, 3: prove

A node binds its side of a circuit to the endpoint at which the server sees it; the server answers with the same counter
and as many bytes. `prove`: nothing is bound yet; the next bind from there must repeat this cookie. `bound`: this side
is bound, and the circuit is whole if the other side is too. The MACs: crypto/circuit_seal.py.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

from tunnel.model.buffers import Buffer
from tunnel.model.errors import MalformedFrame
from tunnel.wire.frames import Kind

HEAD = struct.Struct("!BBQ")
HEAD_BYTES = HEAD.size
"""How many bytes the circuit's head adds to a datagram."""
MAC_BYTES = 16
COOKIE_BYTES = 8
NO_COOKIE = bytes(COOKIE_BYTES)
"""In the first bind of a side, which has no cookie yet."""
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
    """Rises with each bind of a side; an answer repeats the counter of its bind."""
    is_whole: bool = False
    """In a `bound`: both sides of the circuit are bound."""
    cookie: bytes = NO_COOKIE
    """In an answer: what the next bind must repeat. In a bind: the cookie of the latest answer."""


def encode_head(circuit: int) -> bytes:
    """What precedes a datagram between nodes that the relay is to pass on."""
    return _pack_head(_RELAYED, 0, circuit)


def encode_passed(circuit: int, datagram: bytes) -> bytes:
    """A datagram between nodes behind the head of its circuit."""
    return _pack_head(_RELAYED, 0, circuit) + datagram


def decode_head(datagram: Buffer) -> tuple[Word, int]:
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
    """The bytes that the MAC covers; it follows them."""
    return BINDING.pack(_RELAYED, binding.word, binding.circuit, binding.counter, binding.is_whole, binding.cookie)


def decode_binding(datagram: bytes) -> Binding:
    """A whole `bind`, `bound` or `prove`. Its MAC is not checked here. Raises MalformedFrame."""
    word, circuit = decode_head(datagram)
    if word is Word.PASS or len(datagram) != BINDING_BYTES:
        raise MalformedFrame(f"a binding of {len(datagram)} bytes")
    _, _, _, counter, whole, cookie = BINDING.unpack_from(datagram)
    if whole > 1:
        raise MalformedFrame("a circuit is whole or not")
    return Binding(word, circuit, counter, bool(whole), cookie)
