"""A bench with two peer connections and nothing else real: two wires, direct and relay, in virtual time."""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any

import pytest
import trio
from tests.dataplane.flows import open_flow

from tunnel.crypto.node_keys import NodeKeys
from tunnel.dataplane.circuit_table import CircuitTable
from tunnel.dataplane.flow_index import FlowIndex
from tunnel.dataplane.inbound import Inbound
from tunnel.dataplane.mux import Mux
from tunnel.dataplane.outbound import Outbound
from tunnel.machines.notifier import Notifier
from tunnel.machines.stalls import Stalls
from tunnel.model.announcement import Announcement, PeerCard
from tunnel.model.candidate import Candidate, CandidateKind
from tunnel.model.endpoint import Endpoint
from tunnel.model.identity import NetworkId, NodeId
from tunnel.model.nat import Mapping, NatReport, Udp
from tunnel.model.status import Move
from tunnel.model.timings import DEFAULT_TIMINGS, Timings
from tunnel.model.way import RELAY, Way
from tunnel.network.datagrams import Segments, Transmit
from tunnel.peer.connection import PeerConnection
from tunnel.peer.context import PeerContext
from tunnel.peer.handshake_limit import HandshakeLimit
from tunnel.peer.peer_state import PeerState
from tunnel.peer.ports import NodePorts
from tunnel.peer.probe_budget import ProbeBudget
from tunnel.verify.memory.machine import MemoryClock, MemoryEntropy
from tunnel.wire.circuits import HEAD_BYTES, encode_head
from tunnel.wire.frames import Kind, decode_header
from tunnel.wire.records import BUNDLE, decode_bundle
from tunnel.wire.signals import Connect, Introduced, Signal

LATENCY = 0.02
NETWORK = NetworkId(bytes(16))
RELAY_SERVER = Endpoint("25.0.0.1", 3478)
CIRCUIT = Way(0, RELAY_SERVER, 77)
EASY = NatReport(mapping=Mapping.ENDPOINT_INDEPENDENT, udp=Udp.OPEN)


class NoRelay:
    """A node that has no circuits."""

    def handle_untrusted(self, datagram: bytes, remote: Endpoint) -> None:
        """Not of use."""


def frames_of(plaintext: bytes) -> list[bytes]:
    """What one record of data holds."""
    return [bytes(frame) for frame in decode_bundle(plaintext)] if plaintext[:1] == BUNDLE else [plaintext]


@dataclass
class Side:
    """One node, as far as its only peer connection sees it."""

    bench: Bench
    name: str
    endpoint: Endpoint
    keys: NodeKeys
    epoch: bytes
    clock: MemoryClock
    entropy: MemoryEntropy
    own_card: PeerCard | None = None
    timings: Timings = DEFAULT_TIMINGS
    stalls: Stalls = field(default_factory=Stalls)
    """None are noticed unless a test runs it."""
    is_announced: bool = True
    registrations: int = 1
    is_registered: bool = True
    suspicions: int = 0
    spoken: list[NodeId] = field(default_factory=list)
    carried: int = 0
    seen_at: Endpoint | None = None
    """Where its server sees a punch socket just before it sends."""
    hushes: list[bool] = field(default_factory=list)
    """For each: whether it was for a peer that is sent to."""
    nested: set[str] = field(default_factory=set)
    circuit_wishes: int = 0
    circuit_doubts: int = 0
    opened: int = 0
    punch_sockets: list[int] = field(default_factory=list)
    budget: ProbeBudget = field(default_factory=ProbeBudget)
    handshake_limit: HandshakeLimit = field(default_factory=HandshakeLimit)
    signals: list[Signal] = field(default_factory=list)
    received: list[bytes] = field(default_factory=list)
    sent: list[tuple[float, Way, Kind, int]] = field(default_factory=list)
    moves: list[tuple[str, str]] = field(default_factory=list)
    peer: PeerConnection = field(init=False)
    indices: FlowIndex = field(init=False)
    inbound: Inbound = field(init=False)
    outbound: Outbound = field(init=False)

    def __post_init__(self) -> None:
        self.indices = FlowIndex(self.entropy)
        self.inbound = Inbound(
            self.indices,
            Mux(lambda _, plaintext: self.received.extend(frames_of(plaintext))),
            CircuitTable({CIRCUIT.circuit: CIRCUIT}, (RELAY_SERVER,)),
            key_life=self.timings.key_life,
            stun=(),
            relay=NoRelay(),
        )
        self.outbound = Outbound(dict.fromkeys(range(-1, 400), self.send_batch))

    @property
    def context(self) -> PeerContext:
        return PeerContext(self, NETWORK, bytes(32), self.timings, self.stalls, self.clock, self.entropy, 1280)

    @property
    def ports(self) -> NodePorts:
        return NodePorts(
            server=self,
            announcement=SideAnnouncement(self),
            datagrams=self,
            punch_sockets=SidePunchSockets(self),
            indices=self.indices,
            overflows=self.inbound.overflows,
            outbound=self.outbound,
            circuits=SideCircuits(self),
            traffic=self,
            overlays=self,
            watch=self,
            names=self,
            probe_budget=self.budget,
            handshake_limit=self.handshake_limit,
        )

    def families(self) -> Sequence[tuple[int, bool]]:
        return [(0, False)]

    def send(self, way: Way, datagram: bytes, ttl: int | None = None) -> bool:
        self.sent.append((trio.current_time(), way, Kind(decode_header(datagram).kind), len(datagram)))
        self.bench.carry(self, way, datagram)
        return True

    def send_batch(self, transmit: Transmit) -> int:
        datagrams = [b"".join(parts) for parts in transmit.datagrams()]
        for datagram in datagrams:
            self.send(transmit.way, datagram[HEAD_BYTES:] if transmit.way.circuit else datagram)
        return len(datagrams)

    def send_relay(self, handle: bytes, datagram: bytes) -> bool:
        return self.send(RELAY, datagram)

    def send_signal(self, signal: Signal) -> bool:
        if not self.is_registered:
            return False
        self.signals.append(signal)
        self.bench.heed(self, signal)
        return True

    def is_nested(self, host: str) -> bool:
        return host in self.nested

    def hush(self, seconds: float, *, is_wanted: bool) -> bool:
        self.hushes.append(is_wanted)
        return True

    def note_spoken(self, node: NodeId) -> None:
        self.spoken.append(node)

    def suspect_network(self) -> None:
        self.suspicions += 1

    def receive(self, datagram: bytes, way: Way) -> None:
        now = trio.current_time()
        if way.remote is None:
            self.inbound.receive_relayed((datagram,), now)
        else:
            head = encode_head(way.circuit) if way.circuit else b""
            self.inbound.receive(way.socket, (Segments(head + datagram, way.remote),), now)

    @property
    def rejected(self) -> int:
        return self.inbound.counts.malformed + self.inbound.counts.not_authentic

    def card(self, **changes: Any) -> PeerCard:
        """What this side announces: one candidate, at which it is."""
        body = Announcement(
            name=self.name,
            static_key=self.keys.public,
            addresses=(),
            candidates=(Candidate(self.endpoint, CandidateKind.REFLEXIVE),),
            nat=EASY,
        )
        seq = 1 if self.own_card is None else self.own_card.seq + 1
        self.own_card = PeerCard(self.keys.id.raw, self.epoch, seq, replace(body, **changes))
        return self.own_card

    def restart(self) -> None:
        """A new process: a new epoch, and no memory."""
        self.epoch = self.entropy.token(16)
        self.own_card = None

    def kinds_sent(self, way: Way | None = None) -> list[Kind]:
        return [kind for _, each, kind, _ in self.sent if way is None or each == way]


@dataclass
class Vpn:
    """Another VPN, by which some addresses are reached."""

    hosts: set[str] = field(default_factory=set)

    def is_nested(self, host: str) -> bool:
        return host in self.hosts


def peer_state_of(side: Side) -> PeerState:
    """What a side knows of the other one before anything has come: for parts tested without a connection."""
    ports = side.ports
    return PeerState(
        side.bench.other(side).keys.id,
        side.context,
        open_flow()[0],
        announcement=ports.announcement,
        server=ports.server,
        overlays=ports.overlays,
    )


@dataclass(frozen=True)
class SideAnnouncement:
    """What a side announces."""

    side: Side

    @property
    def card(self) -> PeerCard | None:
        return self.side.own_card

    @property
    def is_verdict_acknowledged(self) -> bool:
        return self.side.is_announced


@dataclass(frozen=True)
class SidePunchSockets:
    """Sockets in name alone: they are counted."""

    side: Side

    async def open(self) -> int | None:
        self.side.punch_sockets.append(100 + self.side.opened)
        self.side.opened += 1
        return self.side.punch_sockets[-1]

    def close(self, number: int) -> None:
        if number in self.side.punch_sockets:
            self.side.punch_sockets.remove(number)

    async def enclose(self, number: int, act: Callable[[], None]) -> tuple[Endpoint | None, Endpoint | None]:
        act()
        return self.side.seen_at, None


@dataclass(frozen=True)
class SideCircuits:
    """Circuits of the bench: wishes and doubts are counted."""

    side: Side

    def want(self, node: NodeId) -> None:
        self.side.circuit_wishes += 1
        self.side.bench.wish_circuit()

    def doubt(self, node: NodeId) -> None:
        self.side.circuit_doubts += 1


class Bench:
    """Both sides and the wires between them. `direct`, `relay` and `circuit` may be cut, `drop` looks at each datagram.

    A side that wants a circuit gets one if the bench `has_udp_relay`.
    """

    def __init__(self, nursery: trio.Nursery) -> None:
        self.nursery = nursery
        self.direct = self.relay = True
        self.has_udp_relay = False
        self.circuit = True
        self.drop: Callable[[Side, Way, bytes], bool] = lambda side, way, datagram: False
        self.introduces = True
        self.tape: list[tuple[Side, Way, bytes]] = []
        self._under_way: list[tuple[float, int, Side, Way, bytes]] = []
        self._numbers = itertools.count()
        self._more = Notifier()
        self.left = self._side("left", "25.1.0.1", 1)
        self.right = self._side("right", "25.2.0.1", 2)

    def _side(self, name: str, host: str, seed: int) -> Side:
        entropy = MemoryEntropy(random.Random(seed))
        keys = NodeKeys(sha256(name.encode()).digest())
        side = Side(self, name, Endpoint(host, 5000 + seed), keys, entropy.token(16), MemoryClock(), entropy)
        side.card()
        return side

    def other(self, side: Side) -> Side:
        return self.right if side is self.left else self.left

    def open(self, side: Side) -> PeerConnection:
        def moved(_: PeerConnection, move: Move) -> None:
            side.moves.append((move.source, move.target))

        side.peer = PeerConnection(
            self.other(side).keys.id,
            side.context,
            side.ports,
            changed=moved,
        )
        self.nursery.start_soon(side.peer.run)
        return side.peer

    def meet(self) -> None:
        """Each side hears the other's latest announcement."""
        for side in (self.left, self.right):
            card = self.other(side).own_card
            assert card is not None
            side.peer.meet(card)

    def introduce(self) -> None:
        """The server introduces both."""
        self.meet()
        for side in (self.left, self.right):
            own, card = side.own_card, self.other(side).own_card
            assert own is not None
            assert card is not None
            side.peer.note_introduced(Introduced(1, card.node, card.epoch, card.seq, b"", own.epoch, own.seq, 0.0))

    def heed(self, side: Side, signal: Signal) -> None:
        if isinstance(signal, Connect) and self.introduces:
            self.nursery.start_soon(self._introduce_soon)

    async def _introduce_soon(self) -> None:
        await trio.sleep(LATENCY)
        self.introduce()

    def carry(self, side: Side, way: Way, datagram: bytes) -> None:
        self.tape.append((side, way, datagram))
        is_up = self.circuit if way.circuit else self.direct if way.is_direct else self.relay
        if not is_up or self.drop(side, way, datagram):
            return
        if way.is_direct and way.remote != self.other(side).endpoint:
            return
        due = trio.current_time() + LATENCY * (2 if way.is_relay else 1)
        arriving = way if way.is_relay else Way(0, side.endpoint)
        heapq.heappush(self._under_way, (due, next(self._numbers), self.other(side), arriving, datagram))
        self._more.notify()

    def wish_circuit(self) -> None:
        """Both are told of one, unless they have it."""
        if self.has_udp_relay:
            self.nursery.start_soon(self._give_circuit)

    async def _give_circuit(self) -> None:
        await trio.sleep(LATENCY)
        for side in (self.left, self.right):
            side.peer.note_circuit(CIRCUIT)

    async def deliver(self) -> None:
        """Datagrams arrive in the order of their times, then of their sending."""
        while True:
            with trio.move_on_at(self._under_way[0][0] if self._under_way else math.inf):
                await self._more.wait()
            while self._under_way and self._under_way[0][0] <= trio.current_time():
                _, _, receiver, way, datagram = heapq.heappop(self._under_way)
                receiver.receive(datagram, way)

    async def wait_state(self, side: Side, state: str, patience: float = 60.0) -> float:
        """Until this side's connection is in this state; how long it took."""
        began = trio.current_time()
        with trio.fail_after(patience):
            await side.peer.notifier.wait_until(lambda: side.peer.state == state)
        return trio.current_time() - began

    async def connect(self) -> None:
        """Both sides hold a direct path and a session."""
        self.meet()
        self.left.peer.want()
        for side in (self.left, self.right):
            await self.wait_state(side, "connected")
            await side.peer.notifier.wait_until(lambda side=side: side.peer.can_carry)  # type: ignore[misc]


@asynccontextmanager
async def open_bench() -> AsyncIterator[Bench]:
    async with trio.open_nursery() as nursery:
        bench = Bench(nursery)
        nursery.start_soon(bench.deliver)
        bench.open(bench.left)
        bench.open(bench.right)
        yield bench
        nursery.cancel_scope.cancel()


@pytest.fixture
async def bench(autojump_clock: trio.testing.MockClock) -> AsyncIterator[Bench]:
    async with open_bench() as bench:
        yield bench
