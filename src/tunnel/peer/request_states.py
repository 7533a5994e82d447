"""What is done until there is an introduction: wait for our announcement, for a wish for the peer, for the server."""

from __future__ import annotations

import trio

from tunnel.model.reasons import ReasonCode
from tunnel.peer.context import PeerContext
from tunnel.peer.outcome import Outcome
from tunnel.peer.peer_state import PeerState
from tunnel.peer.ports import ServerPort
from tunnel.wire.signals import Connect


class RequestStates:
    """The activities of `detecting`, `announced` and `requested`. One a chart."""

    def __init__(self, peer: PeerState, context: PeerContext, server: ServerPort) -> None:
        self._peer = peer
        self._timings = context.timings
        self._chance = context.entropy.chance
        self._server = server

    async def detect(self) -> Outcome:
        """Wait for the server's word that it keeps an announcement that knows our NAT."""
        await self._peer.notifier.wait_until(lambda: self._peer.is_announced)
        return Outcome("announcement_acked")

    async def idle(self) -> Outcome:
        """Wait until somebody needs the peer, or the peer asked first."""
        peer = self._peer
        while not peer.is_introduced:
            now = trio.current_time()
            if now >= peer.wanted_at + self._timings.wanted or peer.version_mismatch is not None:
                await peer.notifier.wait()
            elif not peer.is_registered:
                peer.note_no_server()
                if await self._is_worth_a_blind_punch():
                    return Outcome("introduced")
            elif now < peer.not_before:
                with trio.move_on_at(peer.not_before):
                    await peer.notifier.wait()
            else:
                return Outcome("peer_wanted")
        return Outcome("introduced")

    async def request(self) -> Outcome:
        """Ask for an introduction, again after each registration, until the server says yes or no."""
        peer = self._peer
        asked_in = 0
        identifier = self._chance.getrandbits(31)
        while not peer.is_introduced:
            if peer.refusal is not None and peer.refusal.id == identifier:  # another one answers an older request
                reason = peer.take_refusal(peer.refusal)
                is_timeout = reason.code is ReasonCode.PEER_INFO_TIMEOUT
                return Outcome("peer_info_timeout" if is_timeout else "refused", reason)
            if peer.registrations != asked_in and send_connect(peer, self._server, identifier):
                asked_in = peer.registrations
            await peer.notifier.wait()
        return Outcome("introduced")

    async def _is_worth_a_blind_punch(self) -> bool:
        """Without a server there is no introduction, but what we know of the peer may still hold."""
        peer = self._peer
        with trio.move_on_after(self._timings.blind_punch) as waited:
            await peer.notifier.wait_until(lambda: peer.is_registered or peer.is_introduced)
        return waited.cancelled_caught and peer.card is not None and peer.is_direct_allowed


def send_connect(peer: PeerState, server: ServerPort, identifier: int) -> bool:
    """Ask the server for an introduction. False: there is no link."""
    peer.check_send("connect")
    return server.send_signal(Connect(identifier, peer.node.raw))
