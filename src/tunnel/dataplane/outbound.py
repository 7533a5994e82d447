"""The way out: what goes to one peer is packed into records, sealed, and leaves by each way of its route.

    rider --frames--> pack --records--> seal, once --fragments--> exit of the way: a UDP socket
                                               `--whole record--> the link to the server

Batches in, batches out; no I/O. The part that opens the sockets passes in the exits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import TypeAlias

from tunnel.dataplane.flow import Flow
from tunnel.dataplane.fragmentation import MAX_SEALED, Fragmentation, count_fragments
from tunnel.dataplane.key_slots import Keys
from tunnel.dataplane.packing import pack
from tunnel.model.buffers import Buffer
from tunnel.model.way import Way
from tunnel.network.datagrams import MAX_SEGMENTS, Transmit
from tunnel.wire.circuits import encode_head
from tunnel.wire.frames import HEADER_BYTES, SEALED_OVERHEAD, TAG_BYTES, Kind
from tunnel.wire.records import MAX_RECORD

WANT_GAP = 1.0
"""Seconds between two calls of `FlowPeer.want`, at least."""

_DATA = Kind.DATA
Exit: TypeAlias = Callable[[Transmit], int]
"""Sends at once what can be sent, and returns the number of datagrams that it sent. It keeps no buffer."""
NoteSent: TypeAlias = Callable[[memoryview, int], None]
"""Told of a sealed record that leaves by UDP, and of the bytes of it in each datagram but the last."""


class Outbound:
    """One for each node. `send` takes what riders and sessions send; `flush` sends what waited."""

    def __init__(self, exits: Mapping[int, Exit], note_sent: NoteSent | None = None) -> None:
        """`exits`: by the number of a way's socket."""
        self._exits = exits
        self._note_sent = note_sent
        self._fragmentation = Fragmentation()
        self.unsent = 0
        """Datagrams that could not be sent at once, and packets that are longer than a record."""

    def send(self, flow: Flow, kind: Kind, plaintexts: Sequence[Buffer], now: float) -> None:
        """Seal and send: frames and applications' datagrams (DATA), or messages of a record each (CONTROL).

        Without keys or a route they wait, within bounds. Only data makes the peer wanted: messages also go out of
        themselves, tallies even because of a fragment that nobody has authenticated.
        """
        is_data = kind is _DATA
        if is_data and now - flow.wanted_at > WANT_GAP:
            flow.peer.want()
        if not flow.route:
            flow.waiting.hold(kind, plaintexts, now)
            return
        keys = flow.keys.current
        if keys is None:
            flow.waiting.hold(kind, plaintexts, now)
            flow.peer.want_keys()
            return
        keys.used = now
        datagram_size = flow.datagram_size
        if is_data:
            flow.used = now
            if now < keys.owed:
                keys.owed = now
            record_size, piece = flow.record_size, datagram_size - HEADER_BYTES
            plaintexts = pack(
                plaintexts,
                min(record_size.fragments * piece - TAG_BYTES, MAX_RECORD),
                min(record_size.bundled * piece - TAG_BYTES, MAX_RECORD),
            )
        seal, index, room_for = keys.sealer.seal_into, keys.peer_index, self._fragmentation.room
        at, count = 0, len(plaintexts)
        is_joinable = count > 1 and all(way.remote is not None for way in flow.route)
        while at < count:
            if is_joinable and (end := _end_of_row(plaintexts, at, datagram_size)) > at + 1:
                self._send_row(flow, kind, keys, plaintexts[at:end])
                at = end
                continue
            plaintext = plaintexts[at]
            at += 1
            size = len(plaintext) + TAG_BYTES
            if size > MAX_SEALED:  # somebody raised the interface's MTU
                self.unsent += 1
                continue
            sealed = room_for(size)
            header = seal(kind, index, count_fragments(size, datagram_size), plaintext, sealed)
            for way in flow.route:
                self._transmit(way, flow.handle, header, sealed, datagram_size)
            flow.tx_bytes += size - TAG_BYTES
        flow.peer.note_sent(now, is_data=is_data)

    def send_data(self, flow: Flow, frames: Sequence[Buffer], now: float) -> None:
        """The same for data of programs on this machine: frames and applications' datagrams."""
        if not flow.has_sent_data:
            flow.has_sent_data = True
            flow.peer.note_first_data()
        self.send(flow, _DATA, frames, now)

    def flush(self, flow: Flow, now: float) -> None:
        """Send what waited, oldest first."""
        for kind, waiting in groupby(flow.waiting.take_all(now), key=lambda held: held[0]):
            self.send(flow, kind, [plaintext for _, plaintext in waiting], now)

    def _send_row(self, flow: Flow, kind: Kind, keys: Keys, row: Sequence[Buffer]) -> None:
        """Records of one datagram each leave by one call of a socket, as the fragments of one record do."""
        size, total = len(row[0]) + TAG_BYTES, sum(map(len, row)) + len(row) * TAG_BYTES
        sealed, seal, index, at = self._fragmentation.room(total), keys.sealer.seal_into, keys.peer_index, 0
        buffers: list[Buffer] = []
        for plaintext in row:
            end = at + len(plaintext) + TAG_BYTES
            room = sealed[at:end]
            buffers += (seal(kind, index, 1, plaintext, room), room)
            at = end
        for way in flow.route:
            if self._note_sent is not None:
                self._note_sent(sealed, size)
            head = encode_head(way.circuit) if way.circuit else b""
            heads = [head + bytes(buffer) if head and not at % 2 else buffer for at, buffer in enumerate(buffers)]
            self._leave(Transmit(way, heads, 2, len(head) + HEADER_BYTES + size, flow.handle))
        flow.tx_bytes += total - len(row) * TAG_BYTES

    def _transmit(self, way: Way, handle: bytes, header: bytes, sealed: memoryview, datagram_size: int) -> None:
        if way.remote is None:
            transmit = Transmit(way, (header, sealed), 2, 0, handle)
        else:
            if self._note_sent is not None:
                self._note_sent(sealed, datagram_size - HEADER_BYTES)
            prefix = encode_head(way.circuit) + header if way.circuit else header
            transmit = Transmit(way, *self._fragmentation.cut(prefix, len(sealed), datagram_size), handle)
        self._leave(transmit)

    def _leave(self, transmit: Transmit) -> None:
        send = self._exits.get(transmit.way.socket)
        sent = 0 if send is None else send(transmit)
        self.unsent += len(transmit.buffers) // 2 - sent


def _end_of_row(plaintexts: Sequence[Buffer], at: int, datagram_size: int) -> int:
    """Behind the last record that may leave in one call with the one at `at`: equal sizes, the last may be shorter."""
    size = len(plaintexts[at])
    if size + SEALED_OVERHEAD > datagram_size:
        return at + 1
    most = min(len(plaintexts), at + MAX_SEGMENTS, at + MAX_SEALED // (size + TAG_BYTES))
    for end in range(at + 1, most):
        if (other := len(plaintexts[end])) != size:
            return end + (other < size)
    return most
