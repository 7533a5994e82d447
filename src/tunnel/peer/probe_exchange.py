"""Probes: sealed questions and answers that prove a way both ways, measure it, and tell what the peer sees.

What may have travelled through the tunnel itself proves nothing (riders/loop_guard.py): where the tunnel carried as
much as the question has until its answer came, it is asked again while applications wait. An answer never triggers an
answer. A probe on an unknown way is probed back, a few ways at a time (docs/protocol.md).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import trio

from tunnel.crypto.pair_keys import ProbeKeys
from tunnel.crypto.sealing import Opener, Sealer
from tunnel.model.endpoint import Endpoint
from tunnel.model.timings import Timings
from tunnel.model.way import RELAY, Way
from tunnel.network.ports import Entropy
from tunnel.peer.path_table import NEVER, Path, PathTable
from tunnel.wire.frames import FULL_SIZE, SEALED_OVERHEAD, Header, Kind
from tunnel.wire.probes import Probe, ProbeAnswer, ProbeHint, ProbeRequest, decode_probe, encode_probe

MAX_OPEN = 1024
MAX_PROBE_BACKS = 8
MAX_HUSHES = 3
LEAST_HUSH, MOST_HUSH = 0.1, 1.0
"""Seconds beyond the round trip, and in all, for which applications wait."""
TRANSACTION_BYTES = 8
FULL_PLAINTEXT = FULL_SIZE - SEALED_OVERHEAD


@dataclass(frozen=True, slots=True)
class _Question:
    way: Way
    at: float
    size: int
    """Bytes of its datagram."""
    is_full: bool
    carried: int
    """What the tunnel had carried by then."""


class ProbeExchange:
    """Asks and answers under one pair of probe keys.

    `transmit(way, datagram, ttl)` sends; `may_answer(host)` is asked before an answer goes to where nobody has answered
    us yet: a source is easily forged, and may be a victim. `carried()` and `hush(seconds)` are `ApplicationTraffic`'s.
    `on_answer(path)` is told of each probe of ours that was answered, `on_asked(way)` of each probe of the peer's,
    `on_hint(hint)` of each hint.
    """

    def __init__(
        self,
        keys: ProbeKeys,
        paths: PathTable,
        *,
        timings: Timings,
        entropy: Entropy,
        transmit: Callable[[Way, bytes, int | None], bool],
        may_answer: Callable[[str], bool],
        carried: Callable[[], int],
        hush: Callable[[float], bool],
        on_answer: Callable[[Path], None],
        on_asked: Callable[[Way], None],
        on_hint: Callable[[ProbeHint], None],
        counter: int = 0,
    ) -> None:
        """`counter`: that of the first probe. Above 0 where these keys may have been in use before."""
        self.receive_index = keys.receive_index
        self._send_index = keys.send_index
        self._sealer = Sealer(keys.send_key)
        self._sealer.counter = counter
        self._opener = Opener(keys.receive_key)
        self._paths = paths
        self._timings = timings
        self._entropy = entropy
        self._transmit = transmit
        self._may_answer = may_answer
        self._carried = carried
        self._hush = hush
        self._on_answer = on_answer
        self._on_asked = on_asked
        self._on_hint = on_hint
        self._open: dict[bytes, _Question] = {}

    @property
    def counter(self) -> int:
        """That of the next probe."""
        return self._sealer.counter

    def ask(self, way: Way, *, full: bool = False, ttl: int | None = None) -> None:
        """Send one probe on this way."""
        path = self._paths.expect(way)
        if path.asked == NEVER:
            path.asked = trio.current_time()
        self._question(way, full, ttl)

    def send_untracked(self, way: Way, ttl: int | None = None) -> None:
        """Send one probe where most likely nobody is: no path is made of the way unless somebody is heard there."""
        self._paths.awaited.add(way)
        self._question(way, False, ttl)

    def tell(self, hint: ProbeHint) -> None:
        """Send a hint, over the relay: it may be lost."""
        self._send(RELAY, hint, 0, None)

    def handle_untrusted(self, header: Header, datagram: bytes, way: Way) -> None:
        """Open a probe and act on it. Raises NotAuthentic or MalformedFrame; then nothing happened."""
        match decode_probe(self._opener.open(datagram, header.counter)):
            case ProbeRequest() as request:
                self._answer(request, way)
            case ProbeAnswer() as answer:
                self._note(answer, way)
            case ProbeHint() as hint:
                self._on_hint(hint)

    def _question(self, way: Way, full: bool, ttl: int | None) -> None:
        transaction = self._entropy.token(TRANSACTION_BYTES)
        while len(self._open) >= MAX_OPEN:
            del self._open[next(iter(self._open))]
        datagram = self._seal(ProbeRequest(transaction, _told(way)), FULL_PLAINTEXT if full else 0)
        self._open[transaction] = _Question(way, trio.current_time(), len(datagram), full, self._carried())
        self._transmit(way, datagram, ttl)

    def _answer(self, request: ProbeRequest, way: Way) -> None:
        now = trio.current_time()
        path = self._paths.admit(way, now)
        if path is None:
            return
        path.heard = now
        if path.answered != NEVER or not way.is_direct or way.remote is None or self._may_answer(way.remote.host):
            self._send(way, ProbeAnswer(request.transaction, _told(way)), request.size, None)
        if way != RELAY and not path.is_proven and self._may_probe_back(path, now):
            path.probed_back = now
            path.probe_backs += 1
            self.ask(way, full=path.answered != NEVER or bool(way.circuit))
        self._on_asked(way)

    def _may_probe_back(self, path: Path, now: float) -> bool:
        return path.probe_backs < MAX_PROBE_BACKS and now - path.probed_back >= self._timings.unverified_gap

    def _note(self, answer: ProbeAnswer, way: Way) -> None:
        question = self._open.get(answer.transaction)
        if question is None or question.way != way:
            return
        del self._open[answer.transaction]
        now = trio.current_time()
        if now - question.at > self._timings.round_trip_most:
            return  # what a machine that stood still finds in its socket says nothing of now
        path = self._paths.at(way) or self._paths.expect(way)
        may_have_ridden = way != RELAY and self._carried() - question.carried >= question.size
        is_full = question.is_full and answer.size >= FULL_PLAINTEXT
        if not may_have_ridden:
            path.may_ride = False
        elif path.may_ride or (is_full and not path.is_proven):
            self._ask_in_quiet(path, now - question.at)
            return
        path.note_answer(now, now - question.at)
        if is_full:
            path.is_proven = True
            path.hushes = 0
        elif way.is_direct and not path.is_proven:
            self._paths.answered_small |= not may_have_ridden and not path.is_nested
            self.ask(way, full=True)
        self._on_answer(path)

    def _ask_in_quiet(self, path: Path, took: float) -> None:
        """What the tunnel carried may have been the question: one that rides in it is not answered in a hush."""
        seconds = min(MOST_HUSH, 2 * took + LEAST_HUSH)
        is_allowed = path.hushes < MAX_HUSHES and self._paths.hushes.left(trio.current_time()) >= seconds
        if is_allowed and self._hush(seconds):
            self._paths.hushes.take(trio.current_time(), seconds)
            path.hushes += 1
            self.ask(path.way, full=True)

    def _send(self, way: Way, probe: Probe, size: int, ttl: int | None) -> None:
        self._transmit(way, self._seal(probe, size), ttl)

    def _seal(self, probe: Probe, size: int) -> bytes:
        return self._sealer.seal(Kind.PROBE, self._send_index, encode_probe(probe, size))


def _told(way: Way) -> Endpoint | None:
    """What a probe says of its way: of a relay nothing."""
    return way.remote if way.is_direct else None
