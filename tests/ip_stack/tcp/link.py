"""Two connections and the link between them, in virtual time: it loses, delays, reorders and duplicates, by a seed."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from tunnel.ip_stack.tcp.config import TcpConfig
from tunnel.ip_stack.tcp.connection import TcpConnection
from tunnel.ip_stack.tcp.initial_numbers import InitialNumbers
from tunnel.ip_stack.tcp.segments import OutgoingSegment
from tunnel.machines.tcp_connection import TcpConnectionChart
from tunnel.model.endpoint import Endpoint
from tunnel.wire.tcp import ACK, FIN, RST, SYN, TcpSegment, decode_tcp, encode_tcp

A, B = Endpoint("10.0.0.1", 40_000), Endpoint("10.0.0.2", 80)
A_NUMBERS, B_NUMBERS = InitialNumbers(0xFFFFFF00, 5), InitialNumbers(1000, 0xFFFFFFF0)


def on_the_wire(segment: OutgoingSegment, local: Endpoint = A, remote: Endpoint = B) -> bytes:
    header = encode_tcp(local.port, remote.port, *segment[:5])
    assert len(header) <= 60
    assert segment.length == sum(map(len, segment.payload))
    return header + b"".join(segment.payload)


def kind_of(segment: OutgoingSegment) -> str:
    """The word by which the chart knows it."""
    if segment.flags & RST:
        return "rst"
    if segment.flags & SYN:
        return "syn_ack" if segment.flags & ACK else "syn"
    if segment.flags & FIN:
        return "fin"
    return "data" if segment.length else "ack"


@dataclass
class Faults:
    """Per direction. Chances for each segment, or each MSS of a superpacket where `is_cutting`."""

    loss: float = 0.0
    duplication: float = 0.0
    reordering: float = 0.0
    delay: float = 0.01
    jitter: float = 0.0
    rate: float = 0.0
    """Bytes a second; 0: no limit."""
    queue: int = 1 << 30
    """Bytes that wait for the rate."""
    is_cutting: bool = True
    """Superpackets are cut into segments on the way, as a real path does."""
    mtu: int = 1 << 16


@dataclass
class End:
    connection: TcpConnection
    received: bytearray = field(default_factory=bytearray)
    sent: list[TcpSegment] = field(default_factory=list)
    free_at: float = 0.0
    is_reading: bool = True
    reset: bool = False


class Link:
    """`run` until nothing is left to do, or until a condition holds."""

    def __init__(
        self,
        seed: int = 0,
        faults: Faults | None = None,
        config: TcpConfig | None = None,
        other: TcpConfig | None = None,
        *,
        is_simultaneous: bool = False,
    ) -> None:
        self.now = 100.0
        self.chance = random.Random(seed)
        self.faults = faults or Faults()
        self.config = config or TcpConfig()
        self.other_config = other or self.config
        self.a = End(TcpConnection.connect(A, B, self.config, A_NUMBERS, self.now))
        self._b: End | None = None
        if is_simultaneous:
            self._b = End(TcpConnection.connect(B, A, self.other_config, B_NUMBERS, self.now))
        self._way: list[tuple[float, int, bool, bytes]] = []
        self._count = 0
        self.drop: Callable[[bool, TcpSegment], bool] = lambda from_a, segment: False
        self.log: list[str] = []
        self.turn: Callable[[], None] = lambda: None
        """Called after each event."""

    @property
    def b(self) -> End:
        assert self._b is not None
        return self._b

    @property
    def ends(self) -> list[End]:
        return [self.a] if self._b is None else [self.a, self._b]

    def run(self, until: Callable[[], bool] = lambda: False, seconds: float = 3600.0, steps: int = 1_000_000) -> bool:
        """Whether the condition came to hold."""
        end = self.now + seconds
        for _ in range(steps):
            self._flush()
            self.turn()
            self._flush()
            if until():
                return True
            at = min([*(end.connection.deadline for end in self.ends), self._way[0][0] if self._way else float("inf")])
            if at == float("inf") or at > end:
                self.now = min(at, end)
                return until()
            self.now = max(self.now, at)
            while self._way and self._way[0][0] <= self.now:
                _, _, from_a, data = heapq.heappop(self._way)
                self._deliver(from_a, data)
            for each in self.ends:
                if each.connection.deadline <= self.now:
                    each.connection.timeout(self.now)
        raise AssertionError(f"no end at {self.now}: {[end.connection.state for end in self.ends]}")

    def _deliver(self, from_a: bool, data: bytes) -> None:
        segment = decode_tcp(data)
        if from_a and self._b is None:
            if segment.flags & (SYN | ACK | RST) == SYN:
                self._b = End(TcpConnection.accept(B, A, self.other_config, B_NUMBERS, segment, self.now))
            return
        (self.b if from_a else self.a).connection.handle(segment, self.now)

    def _flush(self) -> None:
        for from_a, end in zip((True, False), self.ends, strict=False):
            connection = end.connection
            if end.is_reading:
                while data := connection.receive(1 << 16):
                    end.received += data
            state = connection.state
            for segment in connection.take_segments(self.now, 1 << 20):
                kind = kind_of(segment)
                if kind == "rst":
                    end.reset = True
                else:
                    assert kind in TcpConnectionChart.sends_of[state], (kind, state)
                self._send(from_a, end, segment)

    def _send(self, from_a: bool, end: End, segment: OutgoingSegment) -> None:
        local, remote = (A, B) if from_a else (B, A)
        whole = on_the_wire(segment, local, remote)
        parsed = decode_tcp(whole)
        end.sent.append(parsed)
        self.log.append(f"{self.now:.4f} {'a' if from_a else 'b'} {kind_of(segment)} {parsed[2:6]} {segment.length}")
        step = segment.segment_size
        if not step or not self.faults.is_cutting:
            self._carry(from_a, end, whole)
            return
        payload = b"".join(segment.payload)
        for offset in range(0, len(payload), step):
            is_last = offset + step >= len(payload)
            flags = segment.flags if is_last else segment.flags & ~(FIN | 8)
            sequence = (segment.sequence + offset) & 0xFFFFFFFF
            header = encode_tcp(local.port, remote.port, sequence, segment[1], flags, *segment[3:5])
            self._carry(from_a, end, header + payload[offset : offset + step])

    def _carry(self, from_a: bool, end: End, data: bytes) -> None:
        faults, chance = self.faults, self.chance
        if self.drop(from_a, decode_tcp(data)) or chance.random() < faults.loss or len(data) + 20 > faults.mtu:
            return
        leaves = max(self.now, end.free_at)
        if faults.rate:
            if (leaves - self.now) * faults.rate > faults.queue:
                return
            leaves += (len(data) + 20) / faults.rate
            end.free_at = leaves
        for _ in range(1 + (chance.random() < faults.duplication)):
            at = leaves + faults.delay + chance.random() * faults.jitter
            if chance.random() < faults.reordering:
                at += chance.random() * 3 * faults.delay
            self._count += 1
            heapq.heappush(self._way, (at, self._count, from_a, data))


def pump(link: Link, a_data: bytes, b_data: bytes = b"", *, is_closing: bool = True) -> None:
    """Both ends send their data as far as there is room, and close when it is all sent."""
    left = {id(end): memoryview(data) for end, data in ((link.a, a_data),)}

    def turn() -> None:
        for end in link.ends:
            connection = end.connection
            if id(end) not in left:
                left[id(end)] = memoryview(b_data)
            rest = left[id(end)]
            if rest and connection.send_room:
                left[id(end)] = rest[connection.send(bytes(rest[: 1 << 16])) :]
            elif not rest and is_closing and connection.is_established:
                connection.shutdown()

    link.turn = turn
