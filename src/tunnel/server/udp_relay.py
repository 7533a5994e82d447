"""The UDP relay: sealed datagrams between the two bound sides of a circuit, on the sockets that also serve STUN.

    A --[0x14 | 0 | circuit | datagram]--> server --[the same bytes]--> B

It answers only a holder of a key of the circuit, with as many bytes as came. A datagram from where one side is bound
goes to where the other side is bound; everything else is dropped and counted. What a side sends is charged to its
node's allowance, which the WebSocket relay shares. Only a bind moves a side: it must be newer than all before it, so a
recording moves nothing, and repeat the cookie last sent to its source (bind_cookies.py). Otherwise a forged source
would direct the other side's datagrams at a victim.

Cookies are limited for each side, once its MAC has been verified; binds with a valid cookie are not. A limit for each
source could be used up by anybody in that source's name; one for all binds, by recordings of a bind that was not taken.
Junk costs a look-up, or two MACs if it names a circuit: about as much as a STUN request.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import trio

from tunnel.crypto.circuit_seal import open_binding, seal_binding
from tunnel.model.endpoint import is_usable
from tunnel.model.errors import MalformedFrame, NotAuthentic
from tunnel.network.datagrams import Segments, ServiceSocket
from tunnel.server.bind_cookies import BindCookies
from tunnel.server.circuits import BIND_LIFE, CircuitEntry, Circuits, FiveTuple, Side
from tunnel.server.relay import FRAME_COST
from tunnel.wire.circuits import HEAD_BYTES, Binding, Word, decode_head


@dataclass(slots=True)
class UdpRelayStatistics:
    """Datagrams and bytes since the start; bytes are the inner datagrams'."""

    binds: int = 0
    moves: int = 0
    """Binds from another 5-tuple than the one before."""
    binds_unproved: int = 0
    """Without a fresh cookie of their 5-tuple: a cookie was sent there, and nothing bound."""
    binds_limited: int = 0
    """The same, but too many for that side: not answered."""
    binds_refused: int = 0
    """Of no circuit, under no key of it, or not newer than the last bind."""
    datagrams: int = 0
    bytes: int = 0
    dropped_malformed: int = 0
    dropped_no_circuit: int = 0
    dropped_not_bound: int = 0
    """From an endpoint that is not bound."""
    dropped_half_bound: int = 0
    """To a side that is not bound."""
    dropped_over_rate: int = 0
    dropped_unsent: int = 0


class UdpRelay:
    """Call `handle_untrusted` for each relayed datagram. One for the whole server."""

    def __init__(self, circuits: Circuits, sockets: Sequence[ServiceSocket], secret: bytes) -> None:
        """`secret`: unguessable bytes, for the cookies."""
        self.circuits = circuits
        self._sockets = sockets
        self._cookies = BindCookies(secret)
        self.statistics = UdpRelayStatistics()

    def handle_untrusted(self, socket: int, segments: Segments) -> None:
        """One read from anywhere. What is invalid in it is counted and nothing else.

        Mostly it is a record's fragments, all of one circuit: they are looked up and charged once, and sent on as they
        came.
        """
        if _is_of_one_circuit(segments):
            self._handle(socket, segments)
        else:
            for datagram in segments.datagrams():
                self._handle(socket, segments._replace(data=datagram, segment_size=0))

    def _handle(self, socket: int, segments: Segments) -> None:
        data, remote, size, own, _ = segments
        try:
            word, circuit = decode_head(data)
            if word is Word.PASS:
                self._pass_on(circuit, FiveTuple(socket, own, remote), segments)
            elif word is Word.BIND and is_usable(remote) and not size:
                self._bind(circuit, FiveTuple(socket, own, remote), bytes(data))
            else:
                self.statistics.dropped_malformed += 1
        except MalformedFrame:
            self.statistics.dropped_malformed += 1

    def _pass_on(self, circuit: int, five_tuple: FiveTuple, segments: Segments) -> None:
        statistics, now = self.statistics, trio.current_time()
        size = len(segments.data)
        each = segments.segment_size or size
        count = -(-size // each)
        entry = self.circuits.find(circuit)
        if entry is None:
            statistics.dropped_no_circuit += count
            return
        sender, receiver = (entry.low, entry.high) if entry.low.five_tuple == five_tuple else (entry.high, entry.low)
        to = receiver.five_tuple
        if sender.five_tuple != five_tuple:
            statistics.dropped_not_bound += count
        elif to is None or now - receiver.bound_at > BIND_LIFE:
            statistics.dropped_half_bound += count
        elif not sender.allowance.take(now, size + count * FRAME_COST):
            statistics.dropped_over_rate += count
        else:
            sent = self._sockets[to.socket].send_segments(segments, to.remote, to.own)
            statistics.datagrams += sent
            statistics.dropped_unsent += count - sent
            statistics.bytes += min(sent * each, size) - sent * HEAD_BYTES

    def _bind(self, circuit: int, five_tuple: FiveTuple, datagram: bytes) -> None:
        statistics, now = self.statistics, trio.current_time()
        entry = self.circuits.find(circuit)
        opened = None if entry is None else _open(entry, datagram)
        if entry is None or opened is None:
            statistics.binds_refused += 1
            return
        side, other, binding = opened
        if not self._cookies.is_fresh(binding.cookie, side.key, five_tuple, now):
            if side.proves.take(now):
                statistics.binds_unproved += 1
                self._answer(Word.PROVE, entry, side, five_tuple, binding.counter)
            else:
                statistics.binds_limited += 1
            return
        was_bound = side.five_tuple is not None
        statistics.binds += 1
        statistics.moves += was_bound and side.five_tuple != five_tuple
        side.bind(five_tuple, binding.counter, now)
        self.circuits.refresh(entry, side)
        self._answer(Word.BOUND, entry, side, five_tuple, side.counter)
        if not was_bound and other.five_tuple is not None:
            self._answer(Word.BOUND, entry, other, other.five_tuple, other.counter)  # it waits for this

    def _answer(self, word: Word, entry: CircuitEntry, side: Side, five_tuple: FiveTuple, counter: int) -> None:
        cookie = self._cookies.cookie_for(side.key, five_tuple, trio.current_time())
        answer = Binding(word, entry.id, counter, word is Word.BOUND and entry.is_whole, cookie)
        self._send(five_tuple, seal_binding(side.key, answer))

    def _send(self, five_tuple: FiveTuple, datagram: bytes) -> bool:
        return self._sockets[five_tuple.socket].send_nowait(datagram, five_tuple.remote, five_tuple.own)


def _open(entry: CircuitEntry, datagram: bytes) -> tuple[Side, Side, Binding] | None:
    """The side that bound, the other side, and the bind. None: of neither side, or a recording."""
    for side, other in ((entry.low, entry.high), (entry.high, entry.low)):
        try:
            binding = open_binding(side.key, datagram)
        except NotAuthentic:
            continue
        return (side, other, binding) if binding.counter > side.counter else None
    return None


def _is_of_one_circuit(segments: Segments) -> bool:
    """Whether all datagrams are to be passed on, and as far as it matters for one circuit.

    The numbers' last bytes and the last datagram are looked at. If a sender forges the rest, the receiver knows no such
    circuit, and drops them.
    """
    data, _, size, *_ = segments
    if not size:
        return True
    last = (len(data) - 1) // size * size
    count = last // size + 1
    head = bytes(data[:HEAD_BYTES])
    return (
        bytes(data[last : last + HEAD_BYTES]) == head
        and bytes(data[1::size])[:count] == bytes((Word.PASS,)) * count
        and bytes(data[HEAD_BYTES - 1 :: size])[:count] == head[-1:] * count
    )
