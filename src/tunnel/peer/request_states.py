"""Until there is an introduction: waiting for our own announcement, for somebody who needs the peer, for the server."""

from __future__ import annotations

from collections.abc import Callable

import trio

from tunnel.model.reasons import Reason, ReasonCode
from tunnel.peer.context import PeerContext
from tunnel.peer.peer_state import PeerState
from tunnel.wire.signals import Connect, Signal


class RequestStates:
    """The activities of `detecting`, `announced` and `requested`. `send(signal)` checks the chart's table and sends."""

    def __init__(self, peer: PeerState, context: PeerContext, *, send: Callable[[Signal], bool]) -> None:
        self._peer = peer
        self._timings = context.timings
        self._entropy = context.entropy
        self._send = send

    async def detect(self) -> str:
        """Wait for the server's word that it keeps an announcement that knows our NAT."""
        await self._peer.notifier.wait_until(lambda: self._peer.is_announced)
        return "announcement_acked"

    async def idle(self) -> str:
        """Wait until somebody needs the peer, or the peer asked first."""
        peer = self._peer
        while not peer.is_introduced:
            now = trio.current_time()
            if now >= peer.wanted_at + self._timings.wanted:
                await peer.notifier.wait()
            elif not peer.is_registered:
                peer.reason = Reason(ReasonCode.SERVER_UNREACHABLE, "no link to the server, so nobody introduces us")
                if await self._is_worth_a_blind_punch():
                    return "introduced"
            elif now < peer.not_before:
                with trio.move_on_at(peer.not_before):
                    await peer.notifier.wait()
            else:
                return "peer_wanted"
        return "introduced"

    async def request(self) -> str:
        """Ask for an introduction, again after each registration, until the server says yes or no."""
        peer = self._peer
        asked_in = 0
        identifier = self._entropy.chance.getrandbits(31)
        while not peer.is_introduced:
            if peer.refusal is not None and peer.refusal.id == identifier:  # another one answers an older request
                code = peer.take_refusal(peer.refusal)
                return "peer_info_timeout" if code is ReasonCode.PEER_INFO_TIMEOUT else "refused"
            if peer.registrations != asked_in and self._send(Connect(identifier, peer.node.raw)):
                asked_in = peer.registrations
            await peer.notifier.wait()
        return "introduced"

    async def _is_worth_a_blind_punch(self) -> bool:
        """Without a server nobody introduces us, but what we know of the peer may still hold."""
        peer = self._peer
        with trio.move_on_after(self._timings.blind_punch) as waited:
            await peer.notifier.wait_until(lambda: peer.is_registered or peer.is_introduced)
        return waited.cancelled_caught and peer.card is not None and peer.is_direct_allowed
