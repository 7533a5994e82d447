"""The way in: each datagram goes to its receiver by its first byte, then by the index in its header.

    UDP socket --batch--> STUN: to the survey
        |                 RELAYED: a datagram behind a circuit's head is unwrapped; the others are for the circuits
        v
    link ------batch----> DATA, CONTROL: flow by index -> open, replay window -> mux
                          PROBE, HANDSHAKE: owner by index

A header is unpacked here, once. What comes from a stranger changes no more than a counter. No I/O: time is passed in.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from tunnel.dataplane.circuit_table import CircuitTable
from tunnel.dataplane.flow import Flow, FlowPeer
from tunnel.dataplane.flow_index import FlowIndex, Indexed
from tunnel.dataplane.mux import Mux
from tunnel.dataplane.outbound import WANT_GAP
from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import MalformedFrame, NotAuthentic
from tunnel.model.way import RELAY, Way
from tunnel.wire.circuits import HEAD, HEAD_BYTES, Word
from tunnel.wire.frames import HEADER, HEADER_BYTES, Header, Kind
from tunnel.wire.stun import is_stun

log = logging.getLogger(__name__)

_unpack_header = HEADER.unpack_from
_DATA, _CONTROL, _RELAYED = int(Kind.DATA), int(Kind.CONTROL), int(Kind.RELAYED)
_OWNED = (int(Kind.HANDSHAKE), int(Kind.PROBE))


@dataclass(slots=True)
class DatagramCounts:
    """Datagrams that came in and were dropped."""

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
    """One for each node. The readers of sockets call `receive`, the reader of the link `dispatch_untrusted`."""

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
        self.counts = DatagramCounts()

    def receive(self, socket: int, batch: Sequence[tuple[bytes, Endpoint]], now: float) -> None:
        """Datagrams and their sources, from the UDP socket of this number."""
        run: list[bytes] = []
        way = direct = RELAY
        for datagram, remote in batch:
            circuit = self._circuit_of(datagram, remote) if datagram[:1] == b"\x14" else None
            if circuit is not None:
                here, datagram = circuit, datagram[HEAD_BYTES:]  # noqa: PLW2901 - what follows is a datagram too
            else:
                if remote != direct.remote:
                    direct = Way(socket, remote)
                here = direct
            if here is not way:
                self.dispatch_untrusted(run, way, now)
                way, run = here, []
            run.append(datagram)
        self.dispatch_untrusted(run, way, now)

    def dispatch_untrusted(self, datagrams: Sequence[bytes], way: Way, now: float) -> None:
        """Datagrams that came by one way, in order. Whatever they hold, a bad one only changes a counter."""
        opened: list[bytes] = []
        flow, flow_index = None, -1
        for datagram in datagrams:
            kind = datagram[0] if len(datagram) >= HEADER_BYTES else -1
            if kind != _DATA:
                self._deliver(flow, opened, way, now)
                opened = []
                if kind != _CONTROL:
                    self._receive_other(kind, datagram, way)
                    continue
            _, _, _, index, counter = _unpack_header(datagram)
            if index != flow_index:
                self._deliver(flow, opened, way, now)
                opened = []
                flow, flow_index = self._index.flows.get(index), index
            if flow is None:
                self.counts.unknown_index += 1
                continue
            plaintext = self._open(flow, datagram, index, counter, way, now)
            if plaintext is None:
                continue
            if kind == _DATA:
                opened.append(plaintext)
            else:
                self._hear(flow, plaintext, way, now)
        self._deliver(flow, opened, way, now)

    def _circuit_of(self, datagram: bytes, remote: Endpoint) -> Way | None:
        """The way of a datagram that a UDP relay passed on; None for a message of the relay itself."""
        if len(datagram) < HEADER_BYTES or remote not in self._circuits.relays:
            return None
        _, word, number = HEAD.unpack_from(datagram)
        return self._circuits.ways.get(number) if word == Word.PASS else None

    def _open(self, flow: Flow, datagram: bytes, index: int, counter: int, way: Way, now: float) -> bytes | None:
        """The plaintext. None if the datagram is not the peer's: then only a counter has changed.

        If direct paths are forbidden, what comes directly is ignored, so that guessing our address shows nothing.
        """
        keys = flow.keys.find(index)
        is_heard = flow.is_direct_allowed or not way.is_direct
        if keys is None or not is_heard or now - keys.born > self._key_life:
            self.counts.not_authentic += 1
            return None
        try:
            plaintext = keys.opener.open(datagram, counter)
            keys.owed = math.inf
            if keys is flow.keys.next:
                flow.peer.note_confirmed(keys)
        except NotAuthentic:
            self.counts.not_authentic += 1
            return None
        except MalformedFrame as error:
            self._note_malformed(datagram[0], error)
            return None
        except Exception as error:  # a bug of ours costs one peer, never the node
            self._fail(flow.peer, error)
            return None
        flow.received.note(index, counter, is_udp=way.remote is not None)
        return plaintext

    def _deliver(self, flow: Flow | None, packets: Sequence[bytes], way: Way, now: float) -> None:
        """Hand over data of one flow that came in a row."""
        if flow is None or not packets:
            return
        size = sum(map(len, packets))
        try:
            flow.peer.note_heard(way, now)
            flow.rx_bytes += size
            flow.used = now
            received = flow.received
            if way.remote is not None:
                received.by_udp += size
            else:
                received.by_link += size
            if now - flow.wanted_at > WANT_GAP:
                flow.peer.want()  # the peer wants us: the introduction that it got may have been lost on its way here
            if now >= received.due:
                flow.peer.note_got_data(now)
            for take, taken in self._mux.split(packets):
                take(flow, taken)
        except Exception as error:  # likewise
            self._fail(flow.peer, error)

    def _hear(self, flow: Flow, plaintext: bytes, way: Way, now: float) -> None:
        """Hand over a control packet."""
        try:
            flow.peer.note_heard(way, now)
            flow.rx_bytes += len(plaintext)
            self._mux.hear(flow, plaintext)
        except MalformedFrame as error:
            self._note_malformed(Kind.CONTROL, error)
        except Exception as error:  # likewise
            self._fail(flow.peer, error)

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
