"""The control messages of one session: round trips, what was received, and farewell."""

from __future__ import annotations

import trio

from tunnel.dataplane.flow import Flow
from tunnel.dataplane.outbound import Outbound
from tunnel.model.rates import TokenBucket
from tunnel.network.ports import Entropy
from tunnel.peer.throughput import Throughput
from tunnel.wire.frames import Kind
from tunnel.wire.session_packets import (
    ECHO_TOKEN_BYTES,
    Control,
    Echo,
    EchoReply,
    Farewell,
    Keep,
    encode_control,
)

ECHO_RATE, ECHO_BURST = 20.0, 40.0
"""Echoes per second, and at once, that are answered: a peer that asks for more would fill our socket with answers."""


class SessionMessages:
    """One for each peer connection."""

    def __init__(self, flow: Flow, outbound: Outbound, throughput: Throughput, entropy: Entropy) -> None:
        self._flow = flow
        self._outbound = outbound
        self._throughput = throughput
        self._entropy = entropy
        self._answers = TokenBucket(ECHO_RATE, ECHO_BURST, 0.0)
        self._echoes: dict[bytes, trio.Event] = {}

    def say(self, message: Control) -> None:
        """Send a message; it waits for keys and a route as data does."""
        self._outbound.send(self._flow, Kind.CONTROL, (encode_control(message),), trio.current_time())

    def say_echo(self) -> bytes:
        """Ask for an echo; the token to wait for it by."""
        token = self._entropy.token(ECHO_TOKEN_BYTES)
        self._echoes[token] = trio.Event()
        self.say(Echo(token))
        return token

    async def wait_echo(self, token: bytes) -> None:
        """Return when the echo with this token has come. Wait once for each that was asked for."""
        try:
            await self._echoes[token].wait()
        finally:
            del self._echoes[token]

    def ask(self) -> None:
        """Have the peer send any packet of the session: one that only receives sends none by itself."""
        if self._flow.is_ready:
            self.say(Echo(self._entropy.token(ECHO_TOKEN_BYTES)))

    def say_farewell(self) -> None:
        """Tell the peer that we leave, if that can be sent now."""
        if self._flow.is_ready:
            self.say(Farewell())

    def note_got_data(self, now: float) -> None:
        """Data came in, and it is time to look at the counts."""
        if self._throughput.is_tally_due(now):
            self.say(self._throughput.tally())

    def tell_news(self) -> None:
        """Tell the peer whether UDP is avoided, where it must hear that."""
        if self._throughput.has_news(trio.current_time()):
            self.say(self._throughput.tally())

    def hear(self, message: Echo | EchoReply | Keep) -> None:
        """Do what the peer's message asks for."""
        match message:
            case Echo(token):
                now = self._flow.used = trio.current_time()
                if self._answers.take(now):
                    self.say(EchoReply(token))
            case EchoReply(token):
                self._flow.used = trio.current_time()
                if token in self._echoes:
                    self._echoes[token].set()
            case Keep():
                pass
