"""The control messages of one session: round trips, what was received, and farewell."""

from __future__ import annotations

from collections.abc import Callable

import trio

from tunnel.dataplane.flow import Flow
from tunnel.dataplane.outbound import Outbound
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
    Tally,
    encode_control,
)


class SessionMessages:
    """One a peer connection."""

    def __init__(
        self,
        flow: Flow,
        outbound: Outbound,
        throughput: Throughput,
        entropy: Entropy,
        *,
        left: Callable[[], None],
        tallied: Callable[[Tally], None],
    ) -> None:
        """`left()` is told that the peer said farewell, `tallied(tally)` what it says it received."""
        self._flow = flow
        self._outbound = outbound
        self._throughput = throughput
        self._entropy = entropy
        self._left = left
        self._tallied = tallied
        self._echoes: dict[bytes, trio.Event] = {}

    def say(self, message: Control) -> None:
        """Send a message; it waits for keys and a route as data does."""
        self._outbound.send(self._flow, Kind.CONTROL, (encode_control(message),), trio.current_time())

    async def echo(self, asked: Callable[[], None]) -> float:
        """Round trip of one message, in seconds; never returns without an answer. `asked()` is told that it is sent."""
        token = self._entropy.token(ECHO_TOKEN_BYTES)
        answered = self._echoes[token] = trio.Event()
        began = trio.current_time()
        try:
            self.say(Echo(token))
            asked()
            await answered.wait()
        finally:
            del self._echoes[token]
        return trio.current_time() - began

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

    def hear(self, message: Control) -> None:
        """Do what the peer's message asks for."""
        now = trio.current_time()
        match message:
            case Echo(token):
                self._flow.used = now
                self.say(EchoReply(token))
            case EchoReply(token):
                self._flow.used = now
                if token in self._echoes:
                    self._echoes[token].set()
            case Farewell():
                self._left()
            case Tally() as tally:
                self._tallied(tally)
                if self._throughput.has_news(now):
                    self.say(self._throughput.tally())
            case Keep():
                pass
