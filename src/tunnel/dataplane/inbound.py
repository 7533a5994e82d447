"""The way in: each datagram goes to its receiver by its first byte, then by the index in its header.

    UDP socket --reads--> STUN: to the survey
        |                 RELAYED: a datagram behind a circuit's head is unwrapped; the others are for the circuits
        |                 PROBE, HANDSHAKE: owner by index
        v
    link --records------> DATA, CONTROL: flow by index -> fragments joined -> open, replay window -> mux

Mostly one read brings all fragments of a record in order: they are joined and opened at once. Else they go through the
flow's reassembly. What comes from a stranger changes no more than a counter. Only whoever sees the path can forge
fragments of records to come: these are held within bounds, and may have a tally told once a second. No I/O: time is
passed in.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from tunnel.dataplane.circuit_table import CircuitTable
from tunnel.dataplane.flow import Flow, FlowPeer, Overflows
from tunnel.dataplane.flow_index import FlowIndex, Indexed
from tunnel.dataplane.key_slots import Keys
from tunnel.dataplane.mux import Mux
from tunnel.dataplane.outbound import WANT_GAP
from tunnel.dataplane.reassembly import Reassembly, ReassemblyBudget
from tunnel.model.buffers import Buffer
from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import MalformedFrame, NotAuthentic
from tunnel.model.way import RELAY, Way
from tunnel.network.datagrams import MAX_SEGMENTS, Segments
from tunnel.wire.circuits import HEAD, HEAD_BYTES, Word
from tunnel.wire.frames import HEADER, HEADER_BYTES, Header, Kind
from tunnel.wire.stun import is_stun

log = logging.getLogger(__name__)

_unpack_header = HEADER.unpack_from
_NUMBERS = bytes(range(MAX_SEGMENTS))
_KEPT = 16
"""Sizes for which views are kept: of some paths, direct and over a circuit."""
_INDEX_END, _COUNTER_END = 7, 15
"""The last bytes of the index and the counter in a header."""
_DATA, _CONTROL, _RELAYED = int(Kind.DATA), int(Kind.CONTROL), int(Kind.RELAYED)
_OWNED = (int(Kind.HANDSHAKE), int(Kind.PROBE))


@dataclass(slots=True)
class DatagramCounts:
    """Datagrams that came in and were dropped; those whose pieces were joined count once."""

    malformed: int = 0
    unknown_index: int = 0
    not_authentic: int = 0
    failed: int = 0
    """Datagrams at which our own code raised: bugs."""


class StunTaker(Protocol):
    """Takes STUN."""

    def handle_untrusted(self, socket: int, datagram: bytes, remote: Endpoint) -> None:
        """A STUN datagram that came in on the socket of this number."""
        ...


class RelayTaker(Protocol):
    """Takes the messages of the UDP relay itself."""

    def handle_untrusted(self, datagram: bytes, remote: Endpoint) -> None:
        """A datagram with a circuit's head."""
        ...


class Inbound:
    """One for each node. The readers of sockets call `receive`, the reader of the link `receive_relayed`."""

    def __init__(
        self,
        index: FlowIndex,
        mux: Mux,
        circuits: CircuitTable,
        *,
        key_life: float,
        stun: Sequence[StunTaker],
        relay: RelayTaker,
    ) -> None:
        """`key_life`: seconds after which keys open nothing. Each of `stun` gets every STUN datagram."""
        self._index = index
        self._mux = mux
        self._key_life = key_life
        self._circuits = circuits
        self._stun = stun
        self._relay = relay
        self.budget = ReassemblyBudget()
        self._pieces = _Pieces()
        self._heard: tuple[Flow, Way] | None = None
        self.overflows = Overflows()
        self.counts = DatagramCounts()

    def receive(self, socket: int, reads: Iterable[Segments], now: float) -> None:
        """What came in on the UDP socket of this number. Whatever it holds, a bad datagram only changes a counter."""
        direct = RELAY
        self._heard = None
        for data, remote, segment_size, _, is_behind_gap in reads:
            if is_behind_gap:
                self.overflows.count += 1
            if remote != direct.remote:
                direct = Way(socket, remote)
            if data:
                self._receive_read(data, segment_size or len(data), direct, now)
            else:
                self.counts.malformed += 1
        self._mux.end_batch()

    def receive_relayed(self, records: Iterable[bytes], now: float) -> None:
        """What one peer sent over the link: whole records, probes, handshakes; in order, and as bad as any."""
        self._heard = None
        for record in records:
            kind = record[0] if len(record) >= HEADER_BYTES else -1
            if kind in (_DATA, _CONTROL):
                self._receive_sealed(record, 0, 0, len(record), RELAY, now)
            else:
                self._receive_other(kind, record, RELAY)
        self._mux.end_batch()

    def _receive_read(self, data: Buffer, size: int, direct: Way, now: float) -> None:
        """Datagrams of `size` bytes each but the last, all from one endpoint."""
        at, end = 0, len(data)
        is_relay = direct.remote in self._circuits.relays
        while at < end:
            begin, way = at, direct
            stop = min(at + size, end)
            if is_relay and data[at] == _RELAYED and (circuit := self._circuit_of(data[at:stop])) is not None:
                begin, way = at + HEAD_BYTES, circuit
            kind = data[begin] if stop - begin >= HEADER_BYTES else -1
            if kind in (_DATA, _CONTROL):
                at = self._receive_sealed(data, at, begin, size, way, now)
            else:
                self._receive_other(kind, bytes(data[begin:stop]), way)
                at = stop

    def _circuit_of(self, datagram: Buffer) -> Way | None:
        """The way of a datagram that a UDP relay passed on; None for a message of the relay itself."""
        if len(datagram) < HEADER_BYTES:
            return None
        _, word, number = HEAD.unpack_from(datagram)
        return self._circuits.ways.get(number) if word == Word.PASS else None

    def _receive_sealed(self, data: Buffer, at: int, begin: int, size: int, way: Way, now: float) -> int:
        """A fragment whose datagram is at `at` and whose header is at `begin`, and those of its record that follow.

        Returns where the next datagram is.
        """
        head = kind, fragment, fragments, index, counter = _unpack_header(data, begin)
        stop = min(at + size, len(data))
        flow = self._index.flows.get(index)
        if flow is None:
            self.counts.unknown_index += 1
            return stop
        keys = self._keys_of(flow, index, counter, way, now)
        if keys is None:
            self.counts.not_authentic += 1
            return stop
        header, sealed = bytes(data[begin : begin + HEADER_BYTES]), None
        piece = begin - at + HEADER_BYTES
        if fragments == 1 or way.remote is None:
            sealed = data[at + piece : stop]
        elif fragment == 0 and _is_row(data, at, begin, size, fragments):
            last, stop = at + (fragments - 1) * size, min(at + fragments * size, len(data))
            pieces = self._pieces.of(data, at, size, piece)[: fragments - 1]
            sealed = b"".join((*pieces, data[last + piece : stop]))
        else:
            if flow.reassembly is None:
                flow.reassembly = Reassembly(self.budget, flow.received.note_broken)
            try:
                sealed = flow.reassembly.add((index, counter), fragment, fragments, data[at + piece : stop], now)
            except NotAuthentic:
                self.counts.not_authentic += 1
            except MalformedFrame as error:
                self._note_malformed(kind, error)
            header = HEADER.pack(kind, 0, fragments, index, counter)
            if now >= flow.received.due:  # even if no record at all becomes whole, the peer hears of it
                try:
                    flow.peer.note_got_data(now)
                except Exception as error:  # as in `_open`
                    self._fail(flow.peer, error)
        if sealed is not None:
            self._open(flow, keys, head, header, sealed, way, now)
        return stop

    def _keys_of(self, flow: Flow, index: int, counter: int, way: Way, now: float) -> Keys | None:
        """The keys that may open this record now.

        If direct paths are forbidden, what comes directly is ignored, so that guessing our address shows nothing.
        """
        keys = flow.keys.find(index)
        is_heard = flow.is_direct_allowed or not way.is_direct
        if keys is None or not is_heard or now - keys.born > self._key_life or not keys.opener.is_fresh(counter):
            return None
        return keys

    def _open(
        self,
        flow: Flow,
        keys: Keys,
        head: tuple[int, int, int, int, int],
        header: bytes,
        sealed: Buffer,
        way: Way,
        now: float,
    ) -> None:
        """Open a record and hand it over. If it is not the peer's, only a counter has changed.

        `head` are the fields of one of its headers, `header` is that of fragment 0.
        """
        kind, _, fragments, index, counter = head
        try:
            plaintext = keys.opener.open_record(header, sealed, counter)
            if flow.reassembly:
                flow.reassembly.forget((index, counter))
            keys.owed = math.inf
            if keys is flow.keys.next:
                flow.peer.note_confirmed(keys)
            flow.received.note(index, counter, fragments, is_udp=way.remote is not None)
            heard = self._heard
            if kind == _CONTROL or heard is None or heard[0] is not flow or heard[1] is not way:
                self._note_heard(flow, kind, way, now)
            flow.rx_bytes += len(plaintext)
            if kind == _DATA:
                self._deliver(flow, plaintext, way, now)
            else:
                self._mux.hear(flow, plaintext)
        except NotAuthentic:
            self.counts.not_authentic += 1
        except MalformedFrame as error:
            self._note_malformed(kind, error)
        except Exception as error:  # a bug of ours costs one peer, never the node
            self._fail(flow.peer, error)

    def _note_heard(self, flow: Flow, kind: int, way: Way, now: float) -> None:
        """Told once for what one flow sent in a row by one way."""
        flow.peer.note_heard(way, now)
        if kind == _DATA:
            self._heard = flow, way
            if now - flow.wanted_at > WANT_GAP:
                flow.peer.want()  # the peer wants us: the introduction that it got may have been lost on its way here

    def _deliver(self, flow: Flow, plaintext: bytes, way: Way, now: float) -> None:
        flow.used = now
        received = flow.received
        if way.remote is not None:
            received.by_udp += len(plaintext)
        else:
            received.by_link += len(plaintext)
        if now >= received.due:
            flow.peer.note_got_data(now)
        self._mux.deliver(flow, plaintext)

    def _receive_other(self, kind: int, datagram: bytes, way: Way) -> None:
        """Anything but data and control packets."""
        if kind in _OWNED:
            self._receive_owned(datagram, way)
        elif not way.is_direct or way.remote is None:
            self.counts.malformed += 1
        elif kind == _RELAYED:
            self._relay.handle_untrusted(datagram, way.remote)
        elif 0 <= kind < 2 and is_stun(datagram):
            for taker in self._stun:
                taker.handle_untrusted(way.socket, datagram, way.remote)
        else:
            self.counts.malformed += 1

    def _receive_owned(self, datagram: bytes, way: Way) -> None:
        """A probe or a handshake. If an index has two owners, the keys decide."""
        header = Header._make(_unpack_header(datagram))
        owners = self._index.owners(header.kind, header.receiver_index)
        if not owners:
            self.counts.unknown_index += 1
        for owner in owners:
            try:
                owner.handle_untrusted(header, datagram, way)
                return
            except NotAuthentic:
                self.counts.not_authentic += 1
            except MalformedFrame as error:
                self._note_malformed(header.kind, error)
            except Exception as error:  # likewise
                self._fail(owner, error)
                return

    def _note_malformed(self, kind: int, error: MalformedFrame) -> None:
        self.counts.malformed += 1
        log.debug("malformed kind=%s error=%s", Kind(kind).name, error)

    def _fail(self, peer: Indexed | FlowPeer, error: Exception) -> None:
        self.counts.failed += 1
        peer.fail(error)


class _Pieces:
    """Views of the pieces in a read: a socket reads into one buffer, so mostly they are the same as before.

    Slicing forty views costs about as much as opening the record that they hold.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[int, int, int], list[memoryview]] = {}
        """By the buffer, whose views keep it alive; those used last are last."""

    def of(self, data: Buffer, at: int, size: int, piece: int) -> Sequence[Buffer]:
        """Of datagrams of `size` bytes from `at` on: what lies from byte `piece` of each on."""
        buffer = data.obj if isinstance(data, memoryview) else None
        if at or not isinstance(buffer, bytearray):
            return [data[start + piece : start + size] for start in range(at, len(data), size)]
        known, key = self._known, (id(buffer), size, piece)
        views = known.pop(key, None)
        if views is None:
            if len(known) >= _KEPT:
                del known[next(iter(known))]
            whole, end = memoryview(buffer), min(MAX_SEGMENTS * size, len(buffer))
            views = [whole[start + piece : start + size] for start in range(0, end, size)]
        known[key] = views
        return views


def _is_row(data: Buffer, at: int, begin: int, size: int, fragments: int) -> bool:
    """Whether all fragments of a record lie here in order, from number 0 on. The seal decides in the end."""
    last = at + (fragments - 1) * size
    if not 1 < fragments <= MAX_SEGMENTS or last >= len(data):
        return False
    whole = data.obj if isinstance(data, memoryview) else data  # a bytearray is sliced five times as fast as its view
    if not isinstance(whole, bytes | bytearray):
        whole = bytes(data)
    stop = last + begin - at + HEADER_BYTES
    return (
        whole[begin + 1 : stop : size] == _NUMBERS[:fragments]
        and whole[begin + _COUNTER_END : stop : size]
        == whole[begin + _COUNTER_END : begin + _COUNTER_END + 1] * fragments
        and whole[begin + _INDEX_END : stop : size] == whole[begin + _INDEX_END : begin + _INDEX_END + 1] * fragments
    )
