"""One connection to the server: resolve, connect, TLS with pin, WebSocket, challenge, hello, welcome."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TypeVar

import trio

from tunnel.crypto.admission import prove
from tunnel.crypto.network_keys import NetworkKeys
from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import Refused, ServerUnreachable, UnexpectedSignal, Unreachable
from tunnel.model.invite import Invite
from tunnel.model.timings import Timings
from tunnel.network.link import Link
from tunnel.network.ports import World
from tunnel.network.tls import client_tls, shown_fingerprint
from tunnel.network.urls import ServerUrl
from tunnel.network.websocket import open_message_channel
from tunnel.node.identity import Identity
from tunnel.node.lease import check_lease
from tunnel.wire.signals import PROTOCOL_VERSION, Challenge, ErrorSignal, Welcome

Expected = TypeVar("Expected")

MAX_MESSAGE = 128 * 1024
RELAY_QUEUE = 256 * 1024
HEAD_START = 0.25
"""Seconds that one address of the server has before the next is tried beside it."""


@dataclass(frozen=True, slots=True)
class Connection:
    """A link on which the server has welcomed us."""

    link: Link
    welcome: Welcome
    server: Endpoint
    """The address that we reached."""
    addresses: tuple[Endpoint, ...] = ()
    """All that the server's name resolved to."""


@asynccontextmanager
async def open_connection(
    invite: Invite, network: NetworkKeys, identity: Identity, world: World, timings: Timings, *, wanted_address: str
) -> AsyncIterator[Connection]:
    """A welcomed link, its writer not yet running. Raises ServerUnreachable, Refused or RemoteProtocolError."""
    url = ServerUrl.parse(invite.server)
    addresses = await world.resolver.resolve(url.host, url.port)
    stream, server = await _open_stream(world, addresses, url)
    if url.is_tls:
        stream = await client_tls(stream, url.host, invite.pin)
    binding = shown_fingerprint(stream)
    async with open_message_channel(
        stream, host=f"{url.host}:{url.port}", patience=timings.handshake_patience, max_message=MAX_MESSAGE
    ) as channel:
        link = Link(channel, timings=timings, relay_queue=RELAY_QUEUE)
        challenge = await _expect(link, Challenge)
        if challenge.version != PROTOCOL_VERSION:
            raise Refused("version", f"the server speaks version {challenge.version}, we speak {PROTOCOL_VERSION}")
        link.send_signal(prove(challenge, network, identity.keys, binding=binding, wanted_address=wanted_address))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(link.run_writer)
            welcome = await _expect(link, Welcome)
            yield Connection(link, replace(welcome, address=check_lease(welcome.address)), server, addresses)
            nursery.cancel_scope.cancel()


async def _open_stream(
    world: World, endpoints: tuple[Endpoint, ...], url: ServerUrl
) -> tuple[trio.abc.Stream, Endpoint]:
    """The first address that answers; each has a head start of 250 ms before the next (RFC 8305, section 5)."""
    failures: list[str] = []
    opened: list[tuple[trio.abc.Stream, Endpoint]] = []

    async def attempt(endpoint: Endpoint, failed: trio.Event) -> None:
        try:
            stream = await world.streams.open_stream(endpoint)
        except Unreachable as error:
            failures.append(str(error))
            failed.set()
        else:
            opened.append((stream, endpoint))
            nursery.cancel_scope.cancel()

    try:
        async with trio.open_nursery() as nursery:
            for endpoint in endpoints:
                failed = trio.Event()
                nursery.start_soon(attempt, endpoint, failed)
                with trio.move_on_after(HEAD_START):
                    await failed.wait()
        if not opened:
            raise ServerUnreachable("; ".join(failures) or f"{url.host} has no address")
        return opened.pop(0)
    finally:
        for stream, _ in opened:
            await trio.aclose_forcefully(stream)


async def _expect(link: Link, kind: type[Expected]) -> Expected:
    match await link.receive():
        case ErrorSignal(code, text):
            raise Refused(code, text)
        case signal if isinstance(signal, kind):
            return signal
        case other:
            raise UnexpectedSignal(f"the server said {type(other).__name__} where a {kind.__name__} was due")
