"""One connection to the server: resolve, connect, TLS with pin, WebSocket, challenge, hello, welcome."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TypeVar

import trio

from tunnel.crypto.admission import prove
from tunnel.crypto.network_keys import NetworkKeys
from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import Refused, RemoteProtocolError, ServerUnreachable, UnexpectedSignal, Unreachable
from tunnel.model.invite import Invite
from tunnel.model.timings import Timings
from tunnel.nat.captive_portal import speaks_no_tls
from tunnel.network.link import Link
from tunnel.network.ports import World
from tunnel.network.tls import client_tls, shown_fingerprint
from tunnel.network.urls import ServerUrl
from tunnel.network.websocket import open_message_channel
from tunnel.node.address_memory import AddressMemory
from tunnel.node.identity import Identity
from tunnel.node.lease import check_lease
from tunnel.wire.signals import PROTOCOL_VERSION, Challenge, ErrorSignal, Welcome

Expected = TypeVar("Expected")

MAX_MESSAGE = 128 * 1024
RELAY_QUEUE = 256 * 1024
HEAD_START = 0.25
"""Seconds that one address of the server has before the next is tried beside it."""
TLS_HEAD_START = 1.0
"""The same for one that has connected: a few round trips, and a server that has other work."""


@dataclass(frozen=True, slots=True)
class Connection:
    """A link on which the server has welcomed us."""

    link: Link
    welcome: Welcome
    server: Endpoint
    """The address that we reached."""
    addresses: tuple[Endpoint, ...] = ()
    """All that the server's name resolved to."""
    doubt: Callable[[], None] = lambda: None
    """To be called when it went silent: another address goes first the next time."""


@asynccontextmanager
async def open_connection(
    invite: Invite,
    network: NetworkKeys,
    identity: Identity,
    world: World,
    timings: Timings,
    *,
    wanted_address: str,
    memory: AddressMemory,
) -> AsyncIterator[Connection]:
    """A welcomed link, its writer not yet running. Raises ServerUnreachable, Refused or RemoteProtocolError."""
    url = ServerUrl.parse(invite.server)
    addresses = await world.resolver.resolve(url.host, url.port)

    async def secure(stream: trio.abc.Stream) -> trio.abc.Stream:
        return await client_tls(stream, url.host, invite.pin) if url.is_tls else stream

    stream, server = await _open_stream(world, memory.ordered(addresses), secure, memory)
    binding = shown_fingerprint(stream)
    is_heard = False
    try:
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
                is_heard = True
                yield Connection(
                    link,
                    replace(welcome, address=check_lease(welcome.address)),
                    server,
                    addresses,
                    doubt=lambda: memory.note_failed(server),
                )
                nursery.cancel_scope.cancel()
    except BaseException as error:
        if not is_heard and not _is_word(error):
            memory.note_failed(server)
        raise


def _is_word(error: BaseException) -> bool:
    """Whether the other side said something: then its address is right."""
    if isinstance(error, BaseExceptionGroup):
        return any(_is_word(inner) for inner in error.exceptions)
    return isinstance(error, Refused | RemoteProtocolError)


async def _open_stream(
    world: World,
    endpoints: tuple[Endpoint, ...],
    secure: Callable[[trio.abc.Stream], Awaitable[trio.abc.Stream]],
    memory: AddressMemory,
) -> tuple[trio.abc.Stream, Endpoint]:
    """The first address that answers (RFC 8305, section 5), TLS included: a way may connect and then carry nothing."""
    failures: list[Unreachable | Refused] = []
    opened: list[tuple[trio.abc.Stream, Endpoint]] = []
    connected: dict[Endpoint, None] = {}
    """Those whose TLS is under way."""

    async def attempt(endpoint: Endpoint, failed: trio.Event) -> None:
        try:
            stream = await world.streams.open_stream(endpoint)
            connected[endpoint] = None
            stream = await secure(stream)
        except (Unreachable, Refused) as error:
            failures.append(error)
            connected.pop(endpoint, None)
            failed.set()
        else:
            opened.append((stream, endpoint))
            connected.pop(endpoint)
            nursery.cancel_scope.cancel()

    try:
        async with trio.open_nursery() as nursery:
            for endpoint in endpoints:
                failed = trio.Event()
                nursery.start_soon(attempt, endpoint, failed)
                with trio.move_on_after(HEAD_START):
                    await failed.wait()
                if endpoint in connected:
                    with trio.move_on_after(TLS_HEAD_START):
                        await failed.wait()
        if not opened:
            raise _cause(failures)
        return opened.pop(0)
    finally:
        for endpoint in connected:
            memory.note_failed(endpoint)
        for stream, _ in opened:
            await trio.aclose_forcefully(stream)


def _cause(failures: Sequence[Unreachable | Refused]) -> Exception:
    """Who answered and is not the server that we look for says more than an address where nobody answers."""
    for failure in failures:
        if isinstance(failure, Refused):
            return failure
    told = sorted(failures, key=lambda failure: not speaks_no_tls(failure))
    return ServerUnreachable("; ".join(map(str, told)) or "the server's name has no address")


async def _expect(link: Link, kind: type[Expected]) -> Expected:
    match await link.receive():
        case ErrorSignal(code, text):
            raise Refused(code, text)
        case signal if isinstance(signal, kind):
            return signal
        case other:
            raise UnexpectedSignal(f"the server said {type(other).__name__} where a {kind.__name__} was due")
