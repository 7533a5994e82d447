"""The way out: packets of one flow are sealed, and leave by each way of its route.

    rider --packets--> seal --datagrams--> exit of the way: a UDP socket, or the link to the server

Batches in, batches out; no I/O. The part that opens the sockets passes in the exits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import TypeAlias

from tunnel.dataplane.flow import Flow
from tunnel.model.way import Way
from tunnel.network.ports import Transmit
from tunnel.wire.circuits import encode_passed
from tunnel.wire.frames import Kind

WANT_GAP = 1.0
"""Seconds between two calls of `FlowPeer.want`, at least."""

_DATA = Kind.DATA
Exit: TypeAlias = Callable[[Transmit], int]
"""Sends at once what can be sent, and returns the number of datagrams that it sent."""


class Outbound:
    """One for each node. `send` takes what riders and sessions send; `flush` sends what waited."""

    def __init__(
        self, exits: Mapping[int, Exit], note_sent: Callable[[Sequence[bytes]], None] = lambda _datagrams: None
    ) -> None:
        """`exits`: by the number of a way's socket. `note_sent` is called with all datagrams that leave by UDP."""
        self._exits = exits
        self._note_sent = note_sent
        self.unsent = 0
        """Datagrams that could not be sent at once."""

    def send(self, flow: Flow, kind: Kind, packets: Sequence[bytes], now: float) -> None:
        """Seal and send packets of one kind. Without keys or a route they wait; at most 64 do."""
        if now - flow.wanted_at > WANT_GAP:
            flow.peer.want()
        if not flow.route:
            flow.waiting.hold(kind, packets, now)
            return
        keys = flow.keys.current
        if keys is None:
            flow.waiting.hold(kind, packets, now)
            flow.peer.want_keys()
            return
        keys.used = now
        is_data = kind is _DATA
        if is_data:
            flow.used = now
            if now < keys.owed:
                keys.owed = now
        seal, index = keys.sealer.seal, keys.peer_index
        datagrams = [seal(kind, index, packet) for packet in packets]
        for way in flow.route:
            self._transmit(way, flow.handle, datagrams)
        flow.tx_bytes += sum(map(len, packets))
        flow.peer.note_sent(now, is_data=is_data)

    def send_data(self, flow: Flow, packets: Sequence[bytes], now: float) -> None:
        """The same for data of programs on this machine."""
        if not flow.has_sent_data:
            flow.has_sent_data = True
            flow.peer.note_first_data()
        self.send(flow, _DATA, packets, now)

    def flush(self, flow: Flow, now: float) -> None:
        """Send what waited, oldest first."""
        for kind, waiting in groupby(flow.waiting.take_all(now), key=lambda held: held[0]):
            self.send(flow, kind, [packet for _, packet in waiting], now)

    def _transmit(self, way: Way, handle: bytes, datagrams: Sequence[bytes]) -> None:
        if way.remote is not None:
            self._note_sent(datagrams)
        if way.circuit:
            datagrams = [encode_passed(way.circuit, datagram) for datagram in datagrams]
        send = self._exits.get(way.socket)
        sent = 0 if send is None else send(Transmit(way, datagrams, 0, handle))
        self.unsent += len(datagrams) - sent
