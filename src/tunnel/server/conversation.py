"""What one registered node says, and what it is told: signals, relay frames, updates about its peers, pings.

Rates, silence and slow reading end it with a typed error. What a node does reaches its own network at most.
"""

from __future__ import annotations

from contextlib import suppress

import trio

from tunnel.machines.background import run_beside
from tunnel.model.errors import Refused, UnexpectedSignal
from tunnel.model.rates import TokenBucket
from tunnel.model.settings import ServerSettings
from tunnel.network.fair_queueing import Share
from tunnel.network.link import Link
from tunnel.server.announcement_pacing import AnnouncementPacer
from tunnel.server.context import ServerContext
from tunnel.server.presence import Member
from tunnel.wire.relay_batch import is_relay_batch
from tunnel.wire.signals import (
    Allocate,
    Announce,
    Announced,
    Connect,
    NoCircuit,
    Ping,
    Pong,
    Signal,
    Withdraw,
    tag_of,
)

MAX_UNSENT = 64
"""Signals that may wait in a link's queue, far below where it breaks; beyond that no more are read or made."""
ANNOUNCE_WEIGHT = 5.0
"""Signals that an announcement counts for, besides what passing it on costs (announcement_pacing.py)."""
UPDATES_AT_ONCE = 8
"""Signals about peers that are made at once, when those before them are sent."""
MESSAGES_RATE = 10_000.0
"""Messages a second that are read from one member, whatever is in them; the rest wait."""
MESSAGES_PAUSE = 0.01
RENEWAL = 0.05
"""Seconds by which the end of silence may be too early: to move a deadline costs as much as to read a message."""
FRAMES_A_PIECE = 32
"""Relay frames whose forwarding is a piece of work (fair_queueing.py)."""


class Conversation:
    """Run `run` once, when the member has joined."""

    def __init__(self, context: ServerContext, member: Member, link: Link, share: Share) -> None:
        """`share`: what the link uses of the event loop."""
        settings, now = context.settings, trio.current_time()
        self._context = context
        self._member = member
        self._link = link
        self._share = share
        self._pacer = AnnouncementPacer(context.presence, member, share)
        self._signals = TokenBucket(settings.max_signals_rate, _signal_burst(settings), now)
        self._messages = TokenBucket(MESSAGES_RATE, MESSAGES_RATE / 4, now)
        self._ping: tuple[int, float] | None = None

    async def run(self) -> None:
        """Listen and answer until an error ends it: the link's own, MalformedFrame, Refused or UnexpectedSignal."""
        patience = self._context.settings.timings.silence_patience
        async with run_beside(self._tell):
            with trio.move_on_after(patience) as silence:
                while True:
                    now = trio.current_time()
                    if silence.deadline < now + patience - RENEWAL:
                        silence.deadline = now + patience
                    received = await self._receive()
                    now = trio.current_time()
                    if not self._messages.take(now):
                        await trio.sleep(MESSAGES_PAUSE)
                    match received:
                        case list() as frames:
                            self._context.relay.forward(self._member, frames, now)
                            if len(frames) > FRAMES_A_PIECE:
                                self._share.charge(len(frames) / FRAMES_A_PIECE)
                                await trio.lowlevel.checkpoint()
                        case signal:
                            self._charge(ANNOUNCE_WEIGHT if isinstance(signal, Announce) else 1.0)
                            self._context.counts.signals += 1
                            self._hear(signal)
                            await self._wait_room()
            raise Refused("silent", f"nothing was heard for {patience:g} s")

    async def _receive(self) -> Signal | list[tuple[bytes, bytes]]:
        """The next signal or relay frames. Batches beyond the member's rate are dropped unread."""
        while True:
            message = await self._link.receive_message()
            if is_relay_batch(message) and not self._context.relay.admit_batch(self._member, trio.current_time()):
                continue
            received = self._link.decode(message)
            if received is not None:
                return received
            self._charge()

    def _charge(self, weight: float = 1.0) -> None:
        if not self._signals.take(trio.current_time(), weight):
            raise Refused("too_many_signals", f"more than {self._context.settings.max_signals_rate:g} a second")

    def _hear(self, signal: Signal) -> None:
        context, member = self._context, self._member
        match signal:
            case Announce():
                if len(signal.body) > context.settings.max_announcement:
                    raise Refused("announcement_too_big", f"more than {context.settings.max_announcement} bytes")
                if context.presence.announce(member, signal):
                    self._pacer.note()
                member.tell(Announced(signal.seq))
            case Withdraw():
                context.presence.withdraw(member)
            case Connect():
                context.introductions.request(member, signal)
            case Allocate():
                if context.udp_relay is None:
                    member.tell(NoCircuit(signal.peer, "off"))
                else:
                    context.udp_relay.circuits.allocate(member, signal)
            case Ping():
                member.tell(Pong(signal.token))
            case Pong():
                if self._ping is not None and signal.token == self._ping[0]:
                    took, self._ping = trio.current_time() - self._ping[1], None
                    if took <= context.settings.timings.round_trip_most:
                        member.add_rtt(took)
            case _:
                raise UnexpectedSignal(f"a registered node does not send {tag_of(signal)}")

    async def _tell(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._ping_often)
            nursery.start_soon(self._pass_updates)
            nursery.start_soon(self._pacer.run)

    async def _ping_often(self) -> None:
        """The first at once: introductions need the round trip."""
        while True:
            token = int.from_bytes(self._context.world.entropy.token(7), "big")
            self._ping = (token, trio.current_time())
            self._link.send_signal(Ping(token))
            await trio.sleep(self._context.settings.timings.server_ping)

    async def _pass_updates(self) -> None:
        """Tell the member about its peers, as fast as it takes it."""
        updates = self._member.updates
        while True:
            await updates.wait_some()
            await self._share.wait_queued()
            for _ in range(UPDATES_AT_ONCE):
                if (signal := updates.take_nowait()) is not None:
                    self._link.send_signal(signal)
            await self._wait_sent()

    async def _wait_room(self) -> None:
        """Wait until the member has taken what it was told, when that is much."""
        if self._link.statistics().signals_waiting > MAX_UNSENT:
            await self._wait_sent()

    async def _wait_sent(self) -> None:
        with suppress(trio.BrokenResourceError):  # the writer finds that out too, and ends the connection
            await self._link.wait_signals_sent()


def _signal_burst(settings: ServerSettings) -> float:
    """A node that comes back may ask for all nodes of its network at once."""
    return 4 * settings.max_signals_rate + 2 * settings.max_nodes_per_network
