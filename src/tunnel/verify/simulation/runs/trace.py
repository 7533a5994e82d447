"""What happened in a run, record by record: actions, transitions, signals, packets. Equal seeds give equal traces.

Bytes that necessarily differ from run to run (masks of WebSocket frames, ciphertexts of keys that a library draws) are
not in it. Everything that matters is: host, time, source and destination, length, kind and counter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from hashlib import blake2s, sha256
from typing import NamedTuple, TypeAlias

import trio

from tunnel.verify.memory.packet import Fate, MemoryPacket
from tunnel.wire.circuits import HEAD_BYTES, Word
from tunnel.wire.frames import HEADER, HEADER_BYTES, Kind
from tunnel.wire.signals import Signal, encode_signal, tag_of
from tunnel.wire.stun import is_stun


class Happened(NamedTuple):
    """The scenario performed an action."""

    at: float
    what: str


class Ended(NamedTuple):
    """A host's program ended, in whatever way, and its charts with it."""

    at: float
    host: str


class Frozen(NamedTuple):
    """A host's program was stopped in the middle, or resumed."""

    at: float
    host: str
    is_stopped: bool


class Moved(NamedTuple):
    """A chart took a transition."""

    at: float
    host: str
    chart: str
    about: str
    source: str
    event: str
    facts: tuple[str, ...]
    """The facts that held, of those that the guards were evaluated with."""
    target: str


class Signalled(NamedTuple):
    """A host handed a signal to its link, or received one from it."""

    at: float
    host: str
    is_sent: bool
    tag: str
    content: str
    """Eight hex digits of a hash."""


class Passed(NamedTuple):
    """The fate of a packet. `what` is its kind, `number` its index and counter or its sequence number."""

    at: float
    source: str
    destination: str
    length: int
    what: str
    number: str
    fate: str


Record: TypeAlias = Happened | Ended | Frozen | Moved | Signalled | Passed

_FIRST_OF_DATA = bytes([Kind.DATA, 0])
_PASSED_ON = bytes([Kind.RELAYED, Word.PASS])
_KINDS = {kind.value: kind.name.lower() for kind in Kind}


class Trace:
    """The records of one run, in order."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.fragments: dict[str, list[tuple[float, int]]] = {}
        """The records of data that each host sent by UDP: when, and in how many datagrams. Not in the digest."""

    def note(self, record: Record) -> None:
        """Add a record."""
        self.records.append(record)

    def happen(self, what: str) -> None:
        """Record an action of the scenario."""
        self.records.append(Happened(trio.current_time(), what))

    def see_sent(self, host: str, packet: MemoryPacket) -> None:
        """Count the fragments of the record whose first one a host sends."""
        payload = packet.payload
        if packet.segment is None and payload[:2] == _PASSED_ON:
            payload = payload[HEAD_BYTES:]
        if packet.segment is None and payload[:2] == _FIRST_OF_DATA and len(payload) >= HEADER_BYTES:
            self.fragments.setdefault(host, []).append((trio.current_time(), payload[2]))

    def see_packet(self, packet: MemoryPacket, fate: Fate) -> None:
        """Record the fate of a packet: for the internet's `watch`."""
        if packet.segment is not None:
            what, number = packet.segment.kind.value, str(packet.segment.sequence)
        else:
            what, number = _name_datagram(packet.payload)
        self.records.append(
            Passed(
                trio.current_time(),
                str(packet.source),
                str(packet.destination),
                len(packet.payload),
                what,
                number,
                fate.value,
            )
        )

    def digest(self) -> str:
        """SHA-256 of all records, in hex: equal for equal runs, on every Python, in every process."""
        summary = sha256()
        for record in self.records:
            summary.update(as_line(record).encode())
            summary.update(b"\n")
        return summary.hexdigest()

    def lines(self) -> Iterator[str]:
        """Each record as a line of text."""
        return map(as_line, self.records)


class HostTraceHook:
    """Writes what one program's charts and links do into the trace, until it `close`s."""

    def __init__(self, host: str, trace: Trace, on_move: Callable[[Moved], None]) -> None:
        self._host = host
        self._trace = trace
        self._on_move = on_move
        self._is_closed = False

    def close(self) -> None:
        """The program has ended, or was killed and does not know it yet."""
        if not self._is_closed:
            self._is_closed = True
            self._trace.note(Ended(trio.current_time(), self._host))

    def see_move(self, chart: str, about: str, source: str, event: str, facts: Mapping[str, bool], target: str) -> None:
        """A chart took a transition."""
        if self._is_closed:
            return
        truths = tuple(sorted(name for name, holds in facts.items() if holds))
        move = Moved(trio.current_time(), self._host, chart, about, source, event, truths, target)
        self._trace.note(move)
        self._on_move(move)

    def see_signal(self, is_sent: bool, signal: Signal) -> None:
        """A signal was sent or received."""
        if self._is_closed:
            return
        content = blake2s(encode_signal(signal), digest_size=4).hexdigest()
        self._trace.note(Signalled(trio.current_time(), self._host, is_sent, tag_of(signal), content))


def as_line(record: Record) -> str:
    """One record as text, stable and exact."""
    match record:
        case Passed(at, source, destination, length, what, number, fate):  # most are
            return f"{at!r} {source} > {destination} {what} {number} {length} B {fate}"
        case Happened(at, what):
            return f"{at!r} * {what}"
        case Ended(at, host):
            return f"{at!r} {host} ended"
        case Frozen(at, host, is_stopped):
            return f"{at!r} {host} {'stops' if is_stopped else 'goes on'}"
        case Moved(at, host, chart, about, source, event, facts, target):
            return f"{at!r} {host} {chart}({about}) {source} --{event}[{' '.join(facts)}]--> {target}"
        case Signalled(at, host, is_sent, tag, content):
            return f"{at!r} {host} {'says' if is_sent else 'hears'} {tag} {content}"


def _name_datagram(payload: bytes) -> tuple[str, str]:
    if is_stun(payload):
        return "stun", f"{payload[0]:02x}{payload[1]:02x}"
    if len(payload) >= HEADER_BYTES and payload[0] in _KINDS:
        _, _, _, index, counter = HEADER.unpack_from(payload)
        return _KINDS[payload[0]], f"{index:08x}/{counter}"
    return "datagram", ""
