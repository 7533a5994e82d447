"""Until there is an introduction: waiting for our own announcement, for somebody who needs the peer, for the server."""

from __future__ import annotations

from collections.abc import Callable

import trio

from tunnel.model.reasons import Reason, ReasonCode
from tunnel.peer.context import PeerContext
from tunnel.peer.peer_state import PeerFacts
from tunnel.wire.signals import Connect, Signal


class Requesting:
    """The activities of `detecting`, `announced` and `requested`. `send(signal)` checks the chart's table and sends."""

    def __init__(self, facts: PeerFacts, context: PeerContext, *, send: Callable[[Signal], bool]) -> None:
        self._facts = facts
        self._timings = context.timings
        self._entropy = context.entropy
        self._send = send

    async def detect(self) -> str:
        """Wait for the server's word that it keeps an announcement that knows our NAT."""
        await self._facts.notifier.wait_until(lambda: self._facts.is_announced)
        return "announcement_acked"

    async def idle(self) -> str:
        """Wait until somebody needs the peer, or the peer asked first."""
        facts = self._facts
        while not facts.is_introduced:
            now = trio.current_time()
            if now >= facts.wanted_at + self._timings.wanted:
                await facts.notifier.wait()
            elif not facts.is_registered:
                facts.reason = Reason(ReasonCode.SERVER_UNREACHABLE, "no link to the server, so nobody introduces us")
                if await self._is_worth_a_blind_punch():
                    return "introduced"
            elif now < facts.not_before:
                with trio.move_on_at(facts.not_before):
                    await facts.notifier.wait()
            else:
                return "peer_wanted"
        return "introduced"

    async def request(self) -> str:
        """Ask for an introduction, again after each registration, until the server says yes or no."""
        facts = self._facts
        asked_in = 0
        identifier = self._entropy.chance.getrandbits(31)
        while not facts.is_introduced:
            if facts.refusal is not None and facts.refusal.id == identifier:  # another one answers an older request
                code = facts.take_refusal(facts.refusal)
                return "peer_info_timeout" if code is ReasonCode.PEER_INFO_TIMEOUT else "refused"
            if facts.registrations != asked_in and self._send(Connect(identifier, facts.node.raw)):
                asked_in = facts.registrations
            await facts.notifier.wait()
        return "introduced"

    async def _is_worth_a_blind_punch(self) -> bool:
        """Without a server nobody introduces us, but what we know of the peer may still hold."""
        facts = self._facts
        with trio.move_on_after(self._timings.blind_punch) as waited:
            await facts.notifier.wait_until(lambda: facts.is_registered or facts.is_introduced)
        return waited.cancelled_caught and facts.card is not None and facts.is_direct_allowed
