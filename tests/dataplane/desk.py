"""A node's way in with one flow, for tests: everything around it writes down what it is told."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.dataplane.flows import DIRECT, Life, agree, open_flow

from tunnel.crypto.sealing import Sealer
from tunnel.dataplane.circuit_table import CircuitTable
from tunnel.dataplane.flow import Flow
from tunnel.dataplane.flow_index import FlowIndex
from tunnel.dataplane.inbound import Inbound
from tunnel.dataplane.key_slots import Keys
from tunnel.dataplane.mux import DataTaker, Mux
from tunnel.model.endpoint import Endpoint
from tunnel.model.way import Way
from tunnel.network.datagrams import MAX_RECEIVED, Segments
from tunnel.verify.memory.machine import MemoryEntropy
from tunnel.wire.circuits import encode_passed
from tunnel.wire.frames import HEADER, HEADER_BYTES, TAG_BYTES, Header, Kind

REMOTE = DIRECT.remote or Endpoint("", 0)
SERVER = Endpoint("25.0.0.1", 3478)
CIRCUIT = Way(0, SERVER, 77)
KEY_LIFE = 180.0


class Owner:
    """Takes probes, or raises what it was told to."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.taken: list[tuple[Header, Way]] = []
        self.failures: list[Exception] = []

    def handle_untrusted(self, header: Header, datagram: bytes, way: Way) -> None:
        if self.error is not None:
            raise self.error
        self.taken.append((header, way))

    def fail(self, error: Exception) -> None:
        self.failures.append(error)


@dataclass
class Desk:
    """A node's way in with one flow, and everything around it written down."""

    delivered: list[bytes] = field(default_factory=list)
    delivered_to_others: list[bytes] = field(default_factory=list)
    """From flows that a test opened besides."""
    stun: list[tuple[int, bytes, Endpoint]] = field(default_factory=list)
    relayed: list[bytes] = field(default_factory=list)
    error: Exception | None = None
    """Raised by whoever takes data."""
    table: CircuitTable = field(default_factory=CircuitTable)
    buffer: bytearray = field(default_factory=lambda: bytearray(MAX_RECEIVED))
    take: DataTaker = field(init=False)
    """Takes data."""
    index: FlowIndex = field(default_factory=lambda: FlowIndex(MemoryEntropy(random.Random(1))))
    flow: Flow = field(init=False)
    life: Life = field(init=False)
    keys: Keys = field(init=False)
    inbound: Inbound = field(init=False)

    def __post_init__(self) -> None:
        desk, self.take = self, self._take

        class Stun:
            def handle_untrusted(self, socket: int, datagram: bytes, remote: Endpoint) -> None:
                desk.stun.append((socket, datagram, remote))

        class Relay:
            def handle_untrusted(self, datagram: bytes, remote: Endpoint) -> None:
                desk.relayed.append(datagram)

        mux = Mux(lambda flow, plaintext: self.take(flow, plaintext))
        self.inbound = Inbound(self.index, mux, self.table, key_life=KEY_LIFE, stun=[Stun()], relay=Relay())
        self.flow, self.life = open_flow(self.index)
        self.flow.wanted_at = 0.0
        self.flow.received.due = float("inf")
        self.keys = agree(self.flow, self.index.draw(self.flow), 8)

    def _take(self, flow: Flow, plaintext: bytes) -> None:
        if self.error is not None:
            raise self.error
        (self.delivered if flow is self.flow else self.delivered_to_others).append(plaintext)

    def sealed(self, *plaintexts: bytes, kind: Kind = Kind.DATA, counter: int = 0) -> list[bytes]:
        """As the peer seals under the current keys."""
        sealer = Sealer(bytes(31) + b"\x01")
        sealer.counter = counter
        return [sealer.seal(kind, self.keys.own_index, plaintext) for plaintext in plaintexts]

    def receive(self, *datagrams: bytes, way: Way = DIRECT, now: float = 0.5) -> None:
        """Each in a read of its own: from the peer, from the relay of a circuit, or over the link."""
        if way.remote is None:
            self.inbound.receive_relayed(datagrams, now)
            return
        if way.circuit:
            self.table.relays, self.table.ways[way.circuit] = (way.remote,), way
            datagrams = tuple(encode_passed(way.circuit, datagram) for datagram in datagrams)
        self.inbound.receive(way.socket, [Segments(datagram, way.remote) for datagram in datagrams], now)

    @property
    def counts(self) -> tuple[int, int, int, int]:
        counts = self.inbound.counts
        return counts.malformed, counts.unknown_index, counts.not_authentic, counts.failed

    def fragments(
        self,
        plaintext: bytes,
        datagram_size: int,
        *,
        kind: Kind = Kind.DATA,
        counter: int = 0,
        index: int | None = None,
    ) -> list[bytes]:
        """A record as the peer cuts it, slowly; under the same key for another flow, if one is named by its index."""
        index = self.keys.own_index if index is None else index
        sealer, piece = Sealer(bytes(31) + b"\x01"), datagram_size - HEADER_BYTES
        sealer.counter = counter
        sealed = bytearray(len(plaintext) + TAG_BYTES)
        count = -(-len(sealed) // piece)
        sealer.seal_into(kind, index, count, plaintext, memoryview(sealed))
        return [
            HEADER.pack(kind, number, count, index, counter) + sealed[number * piece : (number + 1) * piece]
            for number in range(count)
        ]

    def read(self, *datagrams: bytes, remote: Endpoint = REMOTE, now: float = 0.5) -> None:
        """Datagrams that one read of a socket brings: all but the last of one size."""
        self.inbound.receive(0, [joined(datagrams, remote, self.buffer)], now)


def joined(datagrams: Iterable[bytes], remote: Endpoint, buffer: bytearray) -> Segments:
    """What UDP_GRO makes of these in the buffer of a socket, in which every read overwrites the one before."""
    first, *rest = datagrams
    assert {len(datagram) for datagram in rest[:-1]} <= {len(first)}
    assert not rest or len(rest[-1]) <= len(first)
    size = len(first) + sum(map(len, rest))
    buffer[:] = b"".join((first, *rest)).ljust(len(buffer), b"\xff")
    return Segments(memoryview(buffer)[:size], remote, len(first) if rest else 0)


def probe_for(index: int, kind: int = Kind.PROBE) -> bytes:
    return HEADER.pack(kind, 0, 0, index, 3) + bytes(16)
