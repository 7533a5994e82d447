"""Dials the server: picks its address (happy eyeballs, RFC 8305) or a proxy, and starts TLS with the pin.

server's name -> addresses, those that failed lately last -> TCP -> TLS             the first that succeeds is used
proxy's name  -> addresses                                -> TCP -> CONNECT -> TLS
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import trio

from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import ProxyRefused, Refused, ServerUnreachable, Unreachable
from tunnel.model.proxies import Proxy, UnsupportedProxy
from tunnel.nat.captive_portal import speaks_no_tls
from tunnel.network.http_proxy import connect_through
from tunnel.network.ports import World
from tunnel.network.tls import client_tls
from tunnel.network.urls import ServerUrl
from tunnel.node.address_memory import AddressMemory
from tunnel.node.own_addresses import OwnAddresses

log = logging.getLogger(__name__)

HEAD_START = 0.25
"""Seconds that one address has before the next is tried beside it."""
TLS_HEAD_START = 1.0
"""The same for an address that has connected: enough for a few round trips and a busy server."""
LOOKUP_PATIENCE = 1.0
"""Seconds to resolve the server's name when a proxy has reached it already: UDP needs the address."""


@dataclass(frozen=True, slots=True)
class ServerStream:
    """A byte stream to the server."""

    stream: trio.abc.Stream
    via: Endpoint
    """What we connected to."""
    server: Endpoint | None
    """The server's address: `via`, or through a proxy the first of its name, None if that does not resolve here."""
    addresses: tuple[Endpoint, ...]
    """All that its name resolved to."""


async def open_server_stream(
    world: World, url: ServerUrl, pin: bytes | None, own: OwnAddresses, memory: AddressMemory
) -> ServerStream:
    """Dial once. Raises Unreachable, or Refused if somebody else answers there."""

    async def secure(stream: trio.abc.Stream) -> trio.abc.Stream:
        return await client_tls(stream, url.host, pin) if url.is_tls else stream

    async def tunnel(stream: trio.abc.Stream) -> trio.abc.Stream:
        assert isinstance(proxy, Proxy)
        await connect_through(stream, proxy, url.host, url.port)
        return await secure(stream)

    proxy = world.proxies.find(url.host, url.port, is_tls=url.is_tls)
    if not isinstance(proxy, Proxy):
        addresses = await world.resolver.resolve(url.host, url.port)
        stream, via = await _open_first(world, memory.ordered(own.choose_dialed(addresses)), secure, memory)
        return ServerStream(stream, via, via, addresses)
    log.info("dialling through an HTTP proxy", extra={"proxy": proxy})
    try:
        addresses = await world.resolver.resolve(proxy.host, proxy.port)
        stream, via = await _open_first(world, memory.ordered(own.choose_dialed(addresses)), tunnel, memory)
    except Unreachable as error:
        raise _named(error, proxy) from error
    addresses = await _look_up(world, url)
    return ServerStream(stream, via, addresses[0] if addresses else None, addresses)


def proxy_notes(world: World, url: ServerUrl) -> tuple[str, ...]:
    """Notes on the proxies in the environment. Raises SettingsError for one that is not the URL of a proxy."""
    proxy = world.proxies.find(url.host, url.port, is_tls=url.is_tls)
    return (str(proxy),) if isinstance(proxy, UnsupportedProxy) else ()


def configured_hosts(world: World, url: ServerUrl) -> tuple[str, ...]:
    """The server and the proxy that leads to it, as a person named them."""
    proxy = world.proxies.find(url.host, url.port, is_tls=url.is_tls)
    return (url.host, proxy.host) if isinstance(proxy, Proxy) else (url.host,)


async def _look_up(world: World, url: ServerUrl) -> tuple[Endpoint, ...]:
    with trio.move_on_after(LOOKUP_PATIENCE):
        try:
            return await world.resolver.resolve(url.host, url.port)
        except Unreachable:
            return ()
    return ()


def _named(error: Unreachable, proxy: Proxy) -> Unreachable:
    """Names the proxy, so that nobody looks for the fault in the server."""
    return error if str(proxy) in str(error) else ServerUnreachable(f"through the proxy {proxy}: {error}")


async def _open_first(
    world: World,
    endpoints: tuple[Endpoint, ...],
    secure: Callable[[trio.abc.Stream], Awaitable[trio.abc.Stream]],
    memory: AddressMemory,
) -> tuple[trio.abc.Stream, Endpoint]:
    """The first address that succeeds (RFC 8305 section 5), TLS included: a path may connect and then carry nothing."""
    failures: list[Unreachable | Refused] = []
    opened: list[tuple[trio.abc.Stream, Endpoint]] = []
    connected: dict[Endpoint, None] = {}
    """Those on which TLS has begun."""

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
    """The most telling failure: an answer that is not the server's says more than an address where nobody answers."""
    for failure in failures:
        if isinstance(failure, Refused | ProxyRefused):
            return failure
    told = sorted(failures, key=lambda failure: not speaks_no_tls(failure))
    return ServerUnreachable("; ".join(map(str, told)) or "the server's name has no address")
