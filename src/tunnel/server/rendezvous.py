"""Takes connections in: slots and rates by address, then TLS, WebSocket, and `Connection` for what is said.

    listener --accept--> slot? rate? --> TLS --> WebSocket --> Connection --> a member's slot?
                             |             `--- all this until one deadline ---'
                             no: closed at once

Each connection lives in its own guarded task: no bytes from outside end more than the connection that they came on.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

import trio

from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import DeviceError, TunnelError
from tunnel.model.identity import NetworkId
from tunnel.network.accept_backoff import AcceptBackoff
from tunnel.network.fair_queueing import Share
from tunnel.network.first_bytes import FirstBytesStream
from tunnel.network.link import Link
from tunnel.network.ports import StreamListener
from tunnel.network.relay_queue import QueueBudget
from tunnel.network.websocket import accept_message_channel
from tunnel.server.connection import Connection
from tunnel.server.context import ServerContext
from tunnel.server.limits import ConnectRates, Slot, Slots, sources_of
from tunnel.wire.signals import MAX_SIGNAL

MAX_FIRST = MAX_SIGNAL + 64
"""Bytes that a stranger may send after the handshake and before we know him: one signal in its frame."""
FORGET_INTERVAL = 1.0

_log = logging.getLogger(__name__)

Secure = Callable[[trio.abc.Stream], Awaitable[trio.abc.Stream]]
"""What makes a TLS stream of an accepted one, or leaves it as it is."""


@dataclass(slots=True)
class AcceptStatistics:
    """Connections since the start, by what became of them at the door."""

    accepted: int = 0
    refused_rate: int = 0
    refused_slots: int = 0
    crowded_out: int = 0
    """Strangers who were dropped for newer ones."""
    failed_handshakes: int = 0


class Rendezvous:
    """Serves every connection of one listener. Run `serve` in a task; `end_all` closes the door."""

    def __init__(self, context: ServerContext, secure: Secure) -> None:
        settings = context.settings
        self._context = context
        self._secure = secure
        self._slots = Slots(
            strangers=settings.max_strangers,
            members=settings.max_connections,
            each_strangers=settings.max_strangers_per_address,
            each_members=settings.max_connections_per_address,
        )
        self._rates = ConnectRates(settings.max_connects_per_address_rate, settings.max_connects_per_address_burst)
        self._connections: dict[Connection, Link] = {}
        self.relay_budget = QueueBudget(settings.relay_memory)
        self._one_less = trio.Event()
        self._closing = False
        self.statistics = AcceptStatistics()

    @property
    def open_connections(self) -> int:
        """How many connections hold a slot now, in whatever stage."""
        return self._slots.held

    async def serve(self, listener: StreamListener) -> None:
        """Accept and serve until cancelled."""
        backoff = AcceptBackoff("connections of nodes")
        async with trio.open_nursery() as nursery:
            while True:
                try:
                    stream, remote = await listener.accept()
                except (OSError, DeviceError, trio.BrokenResourceError) as error:
                    await backoff.wait(error)
                    continue
                scope = trio.CancelScope()
                slot = self._take_slot(remote, scope)
                if slot is not None:
                    nursery.start_soon(self._serve_one, stream, remote, listener.local, slot, scope)
                else:
                    await trio.aclose_forcefully(stream)

    async def forget_old_frames(self) -> None:
        """Free the memory of relay frames that came too late, again and again, until cancelled."""
        while True:
            await self.relay_budget.wait_held()
            await trio.sleep(FORGET_INTERVAL)
            for link in self._connections.values():
                link.forget_old_relay()

    def end_all(self, code: str, text: str = "") -> None:
        """Admit nobody any more, and end every conversation with this last word."""
        self._closing = True
        for connection in tuple(self._connections):
            connection.end(code, text)

    async def wait_idle(self) -> None:
        """Return when every conversation has ended and its stream is closed."""
        while self._connections:
            self._one_less = trio.Event()
            await self._one_less.wait()

    def _take_slot(self, remote: Endpoint, scope: trio.CancelScope) -> Slot | None:
        """Take a slot for a connection that ends with this scope, or count why not."""
        sources = sources_of(remote.host)
        if not self._rates.may_connect(sources, trio.current_time()):
            self.statistics.refused_rate += 1
            return None
        slot = None if self._closing else self._slots.take(sources, scope.cancel)
        if slot is None:
            self.statistics.refused_slots += 1
            return None
        self.statistics.accepted += 1
        self.statistics.crowded_out = self._slots.dropped
        return slot

    def _hear_first(self, slot: Slot) -> None:
        """Somebody speaks. Raises BrokenResourceError if his source has spoken too often."""
        if not self._rates.may_speak(slot.sources, trio.current_time()):
            self.statistics.refused_rate += 1
            raise trio.BrokenResourceError("too many connections from one address")

    def _admit(self, slot: Slot, network: NetworkId, end: Callable[[str], None], *, returns: bool) -> str | None:
        refusal = self._slots.admit(slot, network, end, returns=returns)
        if refusal is None:
            self._rates.note_registered(slot.sources, trio.current_time())
        return refusal

    async def _serve_one(
        self, stream: trio.abc.Stream, remote: Endpoint, local: Endpoint, slot: Slot, scope: trio.CancelScope
    ) -> None:
        try:
            with scope:
                await self._open_and_run(stream, remote, local, slot)
        except (TunnelError, trio.TooSlowError, trio.EndOfChannel, trio.BrokenResourceError, trio.ClosedResourceError):
            self.statistics.failed_handshakes += 1
            _log.debug("no conversation", extra={"remote": remote}, exc_info=True)
        except Exception:
            self.statistics.failed_handshakes += 1
            _log.exception("a connection failed")
        finally:
            self._slots.give_back(slot)
            await trio.aclose_forcefully(stream)

    async def _open_and_run(self, stream: trio.abc.Stream, remote: Endpoint, local: Endpoint, slot: Slot) -> None:
        settings = self._context.settings
        deadline = trio.current_time() + settings.timings.handshake_patience
        stream = FirstBytesStream(stream, partial(self._hear_first, slot))
        with trio.fail_at(deadline):
            secured = await self._secure(stream)
        share = Share(self._context.fair_queue, self._context.fair_queue.group_of(slot.sources[-1]))
        opening = accept_message_channel(
            secured,
            patience=deadline - trio.current_time(),
            max_message=settings.max_message,
            max_first=MAX_FIRST,
            share=share,
        )
        connection = None
        try:
            async with opening as channel:
                link = Link(
                    channel, timings=settings.timings, relay_queue=settings.relay_queue, budget=self.relay_budget
                )
                connection = Connection(
                    self._context, link, remote, partial(self._admit, slot), local=local, share=share
                )
                self._connections[connection] = link
                if not self._closing:
                    await connection.run(deadline)
        finally:
            if connection is not None:
                del self._connections[connection]
                self._one_less.set()
