"""Accepts connections: admission by source address, then TLS, WebSocket, and `Connection` for what is said.

    listener --accept--> admission --> TLS --> WebSocket --> Connection
                             |          `--- all this until one deadline ---'
                             no: closed at once

Each connection lives in its own guarded task: bytes from outside end no more than the connection they came on.
"""

from __future__ import annotations

import logging
from functools import partial

import trio

from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import DeviceError, TunnelError
from tunnel.network.accept_backoff import AcceptBackoff
from tunnel.network.fair_queueing import Share
from tunnel.network.first_bytes import FirstBytesStream
from tunnel.network.link import Link
from tunnel.network.ports import StreamListener
from tunnel.network.relay_queue import QueueBudget
from tunnel.network.tls import server_tls
from tunnel.network.websocket import accept_message_channel
from tunnel.server.certificate import ServerCertificate
from tunnel.server.connection import Connection
from tunnel.server.context import ServerContext
from tunnel.server.limits import Slot
from tunnel.wire.signals import MAX_SIGNAL

MAX_FIRST = MAX_SIGNAL + 64
"""Bytes that a stranger may send after the handshake and before it registers: one signal in its frame."""
FORGET_INTERVAL = 1.0

_log = logging.getLogger(__name__)


class Rendezvous:
    """Serves the connections of all listeners. Run `serve` in a task for each; `end_all` admits no more."""

    def __init__(self, context: ServerContext, certificate: ServerCertificate | None) -> None:
        """Without a certificate connections are not secured by TLS."""
        self._context = context
        self._admission = context.admission
        self._certificate = certificate
        self._connections: dict[Connection, Link] = {}
        self.relay_budget = QueueBudget(context.settings.relay_memory)
        self._one_less = trio.Event()

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
                slot = self._admission.take(remote.host, scope.cancel)
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
        """Serve no new connection, and end every conversation with this last word."""
        self._admission.close()
        for connection in tuple(self._connections):
            connection.end(code, text)

    async def wait_idle(self) -> None:
        """Return when every conversation has ended and its stream is closed."""
        while self._connections:
            self._one_less = trio.Event()
            await self._one_less.wait()

    async def _serve_one(
        self, stream: trio.abc.Stream, remote: Endpoint, local: Endpoint, slot: Slot, scope: trio.CancelScope
    ) -> None:
        try:
            with scope:
                await self._open_and_run(stream, remote, local, slot)
        except (TunnelError, trio.TooSlowError, trio.EndOfChannel, trio.BrokenResourceError, trio.ClosedResourceError):
            self._admission.note_failure()
            _log.debug("no conversation", extra={"remote": remote}, exc_info=True)
        except Exception:
            self._admission.note_failure()
            _log.exception("a connection failed")
        finally:
            self._admission.give_back(slot)
            await trio.aclose_forcefully(stream)

    async def _open_and_run(self, stream: trio.abc.Stream, remote: Endpoint, local: Endpoint, slot: Slot) -> None:
        settings = self._context.settings
        deadline = trio.current_time() + settings.timings.handshake_patience
        stream = FirstBytesStream(stream, partial(self._admission.check_speech, slot))
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
                connection = Connection(self._context, link, slot, share, local=local, remote=remote)
                self._connections[connection] = link
                if not self._admission.is_closing:
                    await connection.run(deadline)
        finally:
            if connection is not None:
                del self._connections[connection]
                self._one_less.set()

    async def _secure(self, stream: trio.abc.Stream) -> trio.abc.Stream:
        if self._certificate is None:
            return stream
        return await server_tls(stream, self._certificate.certificate, self._certificate.private_key)
