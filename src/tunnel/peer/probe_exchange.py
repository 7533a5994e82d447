"""Probes under one pair of keys: sealed questions and answers that prove a way both ways, measure it, and tell what the
peer sees.

What may have traveled through the tunnel itself proves nothing (riders/loop_guard.py): where the tunnel carried at
least as many bytes as the question has until its answer came, it is asked again while applications wait. An answer
never triggers an answer. A probe on an unknown way is probed back, a few ways at a time (docs/protocol.md).
"""

from __future__ import annotations

from dataclasses import dataclass

import trio

from tunnel.crypto.pair_keys import ProbeKeys
from tunnel.crypto.sealing import Opener, Sealer
from tunnel.model.endpoint import Endpoint
from tunnel.model.way import RELAY, Way
from tunnel.peer.context import PeerContext
from tunnel.peer.path import NEVER, Path
from tunnel.peer.peer_state import PeerState
from tunnel.peer.ports import ApplicationTraffic
from tunnel.peer.probe_budget import ProbeBudget
from tunnel.peer.transmitter import Transmitter
from tunnel.wire.frames import BASE_SIZE, SEALED_OVERHEAD, Header, Kind
from tunnel.wire.probes import Probe, ProbeAnswer, ProbeHint, ProbeRequest, decode_probe, encode_probe

MAX_OPEN = 1024
MAX_PROBE_BACKS = 8
MAX_HUSHES = 3
LEAST_HUSH, MOST_HUSH = 0.1, 1.0
"""Seconds beyond the round trip, and in all, for which applications wait."""
TRANSACTION_BYTES = 8


@dataclass(frozen=True, slots=True)
class Answered:
    """A probe of ours was answered."""

    path: Path
    size: int
    """Bytes of a datagram that the path carried both ways."""
    asked: float


@dataclass(frozen=True, slots=True)
class Asked:
    """The peer has probed us."""

    way: Way


@dataclass(frozen=True, slots=True)
class _Question:
    way: Way
    at: float
    size: int
    """Bytes of its datagram."""
    carried: int
    """Bytes that the tunnel had carried by then."""


class ProbeExchange:
    """Asks and answers under one pair of probe keys.

    `budget` bounds the answers to endpoints that have not answered us yet: a source is easily forged and may be a
    victim.
    """

    def __init__(
        self,
        keys: ProbeKeys,
        peer: PeerState,
        context: PeerContext,
        transmitter: Transmitter,
        *,
        budget: ProbeBudget,
        traffic: ApplicationTraffic,
        counter: int = 0,
    ) -> None:
        """`counter`: that of the first probe. Above 0 where these keys may have been in use before."""
        self.receive_index = keys.receive_index
        self._send_index = keys.send_index
        self._sealer = Sealer(keys.send_key)
        self._sealer.counter = counter
        self._opener = Opener(keys.receive_key)
        self._peer = peer
        self._paths = peer.paths
        self._timings = context.timings
        self._stalls = context.stalls
        self._entropy = context.entropy
        self._transmitter = transmitter
        self._budget = budget
        self._traffic = traffic
        self._open: dict[bytes, _Question] = {}

    @property
    def counter(self) -> int:
        """That of the next probe."""
        return self._sealer.counter

    def ask(self, way: Way, *, size: int = 0, ttl: int | None = None) -> None:
        """Send one probe on this way, a datagram of at least `size` bytes."""
        path = self._paths.expect(way)
        if path.asked == NEVER:
            path.asked = trio.current_time()
        self._send_question(way, size, ttl)

    def ask_size(self, way: Way, size: int) -> None:
        """Send one probe that asks whether a datagram of this size passes; its loss is no silence of the path."""
        self._send_question(way, size, None)

    def send_untracked(self, way: Way, ttl: int | None = None) -> None:
        """Send one probe to a port that is most likely not the peer's: without an answer it makes no path."""
        self._paths.awaited.add(way)
        self._send_question(way, 0, ttl)

    def tell(self, hint: ProbeHint) -> None:
        """Send a hint, over the relay: it may be lost."""
        self._send(RELAY, hint, 0)

    def handle_untrusted(self, header: Header, datagram: bytes, way: Way) -> Answered | Asked | ProbeHint | None:
        """Open a probe and act on it. Returns what it means for others; None: nothing.

        Raises NotAuthentic or MalformedFrame; then nothing happened.
        """
        match decode_probe(self._opener.open(datagram, header.counter)):
            case ProbeRequest() as request:
                return self._answer(request, way)
            case ProbeAnswer() as answer:
                return self._note(answer, way)
            case ProbeHint() as hint:
                return hint

    def _send_question(self, way: Way, size: int, ttl: int | None) -> None:
        transaction = self._entropy.token(TRANSACTION_BYTES)
        while len(self._open) >= MAX_OPEN:
            del self._open[next(iter(self._open))]
        datagram = self._seal(ProbeRequest(transaction, _remote_told(way)), size)
        self._open[transaction] = _Question(way, trio.current_time(), len(datagram), self._traffic.carried)
        self._transmitter.send(way, datagram, ttl)

    def _answer(self, request: ProbeRequest, way: Way) -> Asked | None:
        now = trio.current_time()
        path = self._paths.admit(way, now)
        if path is None:
            return None
        path.heard = now
        if self._may_answer(path, now):
            self._send(way, ProbeAnswer(request.transaction, _remote_told(way)), request.size + SEALED_OVERHEAD)
        if way != RELAY and not path.is_proved and self._may_probe_back(path, request, now):
            path.probed_back = now
            path.probe_backs += 1
            self.ask(way, size=BASE_SIZE if path.answered != NEVER or way.circuit else 0)
        return Asked(way)

    def _may_answer(self, path: Path, now: float) -> bool:
        way = path.way
        if path.answered != NEVER or not way.is_direct or way.remote is None:
            return True
        return self._budget.take_answer(way.remote.host, now)

    def _may_probe_back(self, path: Path, request: ProbeRequest, now: float) -> bool:
        """One that asks at full size was answered on this way: it is probed back beyond the bound, slowly."""
        if path.probe_backs < MAX_PROBE_BACKS:
            return now - path.probed_back >= self._timings.unverified_gap
        is_heard = request.size + SEALED_OVERHEAD >= BASE_SIZE and now - path.probed_back >= self._timings.heartbeat
        return is_heard and self._may_answer(path, now)

    def _note(self, answer: ProbeAnswer, way: Way) -> Answered | None:
        question = self._open.get(answer.transaction)
        if question is None or question.way != way:
            return None
        del self._open[answer.transaction]
        now = trio.current_time()
        took = now - question.at
        if took > self._timings.round_trip_most:
            return None  # what a machine that stood still finds in its socket says nothing of now
        path = self._paths.at(way) or self._paths.expect(way)
        may_have_ridden = way != RELAY and self._traffic.carried - question.carried >= question.size
        size = min(question.size, answer.size + SEALED_OVERHEAD)
        is_full = size >= BASE_SIZE
        if not may_have_ridden:
            path.may_ride = False
        elif path.may_ride or (is_full and not path.is_proved):
            self._ask_in_quiet(path, took)
            return None
        path.note_answer(now, None if self._stalls.lost(question.at) else took)
        if is_full:
            path.is_proved = True
            path.hushes = 0
        elif way.is_direct and not path.is_proved:
            self._paths.answered_small |= not may_have_ridden and not path.is_nested
            self.ask(way, size=BASE_SIZE)
        return Answered(path, size, question.at)

    def _ask_in_quiet(self, path: Path, took: float) -> None:
        """The tunnel may have carried the question: one that rides in it is not answered while applications wait."""
        now = trio.current_time()
        seconds = min(MOST_HUSH, 2 * took + LEAST_HUSH)
        is_allowed = path.hushes < MAX_HUSHES and self._paths.hushes.left(now) >= seconds
        if is_allowed and self._traffic.hush(seconds, is_wanted=self._peer.is_wanted):
            self._paths.hushes.take(now, seconds)
            path.hushes += 1
            self.ask(path.way, size=BASE_SIZE)

    def _send(self, way: Way, probe: Probe, size: int) -> None:
        self._transmitter.send(way, self._seal(probe, size))

    def _seal(self, probe: Probe, size: int) -> bytes:
        """`size`: bytes of the datagram, at least."""
        return self._sealer.seal(Kind.PROBE, self._send_index, encode_probe(probe, size - SEALED_OVERHEAD))


def _remote_told(way: Way) -> Endpoint | None:
    """The endpoint that a probe names; none for a way over a relay."""
    return way.remote if way.is_direct else None
