"""What flows through a peer connection: sealed and sent by the route, opened and handed on. No data turns the chart."""

from __future__ import annotations

from collections.abc import Callable

import trio

from tunnel.model.way import RELAY, Way
from tunnel.network.ports import Entropy
from tunnel.peer.path_liveness import PathLiveness
from tunnel.peer.paths import NEVER
from tunnel.peer.peer_state import PeerFacts
from tunnel.peer.session import Session
from tunnel.peer.session_liveness import SessionLiveness
from tunnel.peer.transmitter import Transmitter
from tunnel.wire.frames import HEADER, Kind
from tunnel.wire.session_packets import (
    ECHO_TOKEN_BYTES,
    Echo,
    EchoReply,
    Farewell,
    Keep,
    Tally,
    decode_control,
    encode_control,
)

_WANT_GAP = 1.0
"""Data refreshes the wish for the peer at most so often: the hot path stays short."""


class Carriage:
    """One a peer connection, `begin` before all else.

    `deliver(plaintext)` takes what DATA packets carry, `want()` is told that we or the peer send, `heard(way, now)` by
    which way something authentic came, `left()` that the peer said farewell, `tallied(tally)` what it says that it got.
    """

    def __init__(
        self,
        facts: PeerFacts,
        transmitter: Transmitter,
        entropy: Entropy,
        *,
        deliver: Callable[[bytes], None],
        want: Callable[[], None],
        heard: Callable[[Way, float], None],
        left: Callable[[], None],
        tallied: Callable[[Tally], None],
    ) -> None:
        self._facts = facts
        self._paths = facts.paths
        self._transmitter = transmitter
        self._entropy = entropy
        self._deliver = deliver
        self._want = want
        self._heard = heard
        self._left = left
        self._tallied = tallied
        self._throughput = facts.throughput
        self._echoes: dict[bytes, trio.Event] = {}
        self.tx_bytes = self.rx_bytes = 0
        self._used = NEVER
        """When data or an echo last went either way."""

    def begin(self, session: Session, liveness: PathLiveness, session_liveness: SessionLiveness) -> None:
        """A new chart, and what lives with it."""
        self._session = session
        self._liveness = liveness
        self._session_liveness = session_liveness

    @property
    def is_ready(self) -> bool:
        """Whether a datagram sent now has keys and a way."""
        return self._session.is_established and bool(self._paths.route)

    @property
    def idle(self) -> float | None:
        """Seconds since data or an echo went either way; None: none ever did."""
        return None if self._used == NEVER else trio.current_time() - self._used

    def send(self, kind: Kind, plaintext: bytes) -> None:
        """Seal and send; without keys or a way it waits, at most 64 packets do."""
        now = trio.current_time()
        self._note_wanted(now)
        route = self._paths.route
        if not route:
            self._session.waiting.hold(kind, plaintext)
            return
        datagram = self._session.seal(kind, plaintext, now)
        if datagram is None:
            return
        for way in route:
            self._transmitter.send(way, datagram)
        self.tx_bytes += len(plaintext)
        if kind is Kind.DATA:
            self._used = now
            self._session_liveness.note_sent()
        self._liveness.note_sent(now)

    def open_untrusted(self, kind: Kind, datagram: bytes, way: Way) -> None:
        """A DATA or CONTROL packet. Raises MalformedFrame or NotAuthentic; then nothing happened."""
        now = trio.current_time()
        _, _, _, index, counter = HEADER.unpack_from(datagram)
        plaintext = self._session.open_untrusted(datagram, index, now)
        self._heard(way, now)
        is_udp = way != RELAY
        self._throughput.note_packet(index, counter, is_udp=is_udp)
        self.rx_bytes += len(plaintext)
        if kind is Kind.DATA:
            self._used = now
            self._note_wanted(now)  # by the peer: the introduction that it got may have been lost on its way here
            if self._throughput.note_got(len(plaintext), is_udp=is_udp, now=now):
                self.send(Kind.CONTROL, encode_control(self._throughput.tally()))
            self._deliver(plaintext)
        else:
            self._obey(plaintext)

    async def echo(self) -> float:
        """Round trip of one control packet inside the session, in seconds. Never returns if nobody answers."""
        token = self._entropy.token(ECHO_TOKEN_BYTES)
        answered = self._echoes[token] = trio.Event()
        began = trio.current_time()
        try:
            self.send(Kind.CONTROL, encode_control(Echo(token)))
            self._session_liveness.note_asked()
            await answered.wait()
        finally:
            del self._echoes[token]
        return trio.current_time() - began

    def ask_after(self) -> None:
        """Ask the peer for any packet of the session: one that only receives says nothing by itself."""
        if self.is_ready:
            self.send(Kind.CONTROL, encode_control(Echo(self._entropy.token(ECHO_TOKEN_BYTES))))

    def say_farewell(self) -> None:
        """Tell the peer that we leave, if there is a way to say it."""
        if self.is_ready:
            self.send(Kind.CONTROL, encode_control(Farewell()))

    def _note_wanted(self, now: float) -> None:
        if now - self._facts.wanted_at > _WANT_GAP:
            self._want()

    def _obey(self, plaintext: bytes) -> None:
        match decode_control(plaintext):
            case Echo(token):
                self._used = trio.current_time()
                self.send(Kind.CONTROL, encode_control(EchoReply(token)))
            case EchoReply(token):
                self._used = trio.current_time()
                if token in self._echoes:
                    self._echoes[token].set()
            case Farewell():
                self._left()
            case Tally() as tally:
                self._tallied(tally)
                if self._throughput.has_news(trio.current_time()):
                    self.send(Kind.CONTROL, encode_control(self._throughput.tally()))
            case Keep():
                pass
