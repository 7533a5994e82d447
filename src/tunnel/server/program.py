"""The server program: opens what the settings name, puts the parts together, and ends them in order.

    rendezvous (TCP: TLS, WebSocket) -- admission control, presence, introductions, relay, registry (SQLite)
    STUN, UDP relay (UDP)        HTTP (metrics, status)

It composes and decides nothing else.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass

import trio

from tunnel.model.endpoint import Endpoint
from tunnel.model.settings import STUN_PORTS, ServerSettings
from tunnel.network.datagrams import ServiceSocket
from tunnel.network.ports import StreamListener, World
from tunnel.server.admission_control import AdmissionControl
from tunnel.server.bind_cookies import SECRET_BYTES
from tunnel.server.certificate import ServerCertificate, open_certificate
from tunnel.server.circuits import Circuits
from tunnel.server.context import ServerContext
from tunnel.server.http import Page, serve_http
from tunnel.server.introductions import Introductions
from tunnel.server.lease_file import LeaseStore
from tunnel.server.presence import Presence
from tunnel.server.registry import Registry
from tunnel.server.relay import Relay
from tunnel.server.rendezvous import Rendezvous
from tunnel.server.reports import Reports
from tunnel.server.stun_service import serve_stun
from tunnel.server.udp_relay import UdpRelay

REGISTRY_FILE = "registry.sqlite"
LEASES_PER_NODE = 4
"""Leases of a network for each node that it may have online: some nodes are away for a while."""
FAREWELL = 1.0
"""Seconds in which the clients are told that the server stops."""
SEEN_INTERVAL = 60.0
"""Seconds between two marks in the registry that the nodes online are still there."""
WRITE_INTERVAL = 5.0
"""Seconds between two attempts to write to a disk that failed."""


@dataclass(frozen=True, slots=True)
class ServerReady:
    """Where a server serves."""

    url: str
    pin: bytes | None
    """SHA-256 of the certificate, 32 bytes; None without TLS."""
    stun: tuple[Endpoint, ...]
    http: Endpoint | None


@dataclass(frozen=True, slots=True)
class _Listeners:
    """Everything that the server listens at."""

    signals: tuple[StreamListener, ...]
    stun: tuple[ServiceSocket, ...]
    http: StreamListener | None


async def serve(
    settings: ServerSettings,
    world: World,
    *,
    tls: bool = True,
    leases: LeaseStore | None = None,
    task_status: trio.TaskStatus[ServerReady] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled; then tell the clients `shutting_down`, which takes a second at most.

    Reports `ServerReady` when everything is open. In simulations the URL is ws://, without `tls`, and `leases` stands
    for the file in the state directory. Raises SettingsError, and DeviceError when a port is taken or the state
    directory cannot be used.
    """
    certificate = open_certificate(settings, world.store, world.entropy) if tls else None
    binding = (
        b"" if certificate is None else certificate.pin
    )  # loads a library, which must be before rights are given up
    kept = settings.state / REGISTRY_FILE if settings.state else leases
    max_leases = LEASES_PER_NODE * settings.max_nodes_per_network
    with closing(Registry(kept, settings.addresses, max_leases_per_network=max_leases)) as registry:
        async with _open_listeners(settings, world) as listeners:
            world.privileges.lay_down(None)
            context = _make_context(settings, world, registry, listeners.stun, binding)
            await _serve_all(context, listeners, certificate, task_status)


def _make_context(
    settings: ServerSettings, world: World, registry: Registry, udp: tuple[ServiceSocket, ...], binding: bytes
) -> ServerContext:
    presence = Presence(settings.max_nodes_per_network)
    udp_relay = None
    if settings.udp_relay:
        udp_relay = UdpRelay(Circuits(presence, world.entropy), udp, world.entropy.token(SECRET_BYTES))
    return ServerContext(
        settings=settings,
        world=world,
        admission=AdmissionControl(settings),
        presence=presence,
        registry=registry,
        relay=Relay(presence, settings.relay_rate),
        introductions=Introductions(presence, settings.timings, world.entropy),
        udp_relay=udp_relay,
        stun=tuple(socket.local for socket in udp),
        binding=binding,
    )


async def _serve_all(
    context: ServerContext,
    listeners: _Listeners,
    certificate: ServerCertificate | None,
    task_status: trio.TaskStatus[ServerReady],
) -> None:
    """Run the services, shielded so that a cancellation leaves a second to tell the clients."""
    rendezvous = Rendezvous(context, certificate)
    services = trio.CancelScope(shield=True)

    async def run_services() -> None:
        with services:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(context.introductions.run)
                for listener in listeners.signals:
                    nursery.start_soon(rendezvous.serve, listener)
                nursery.start_soon(rendezvous.forget_old_frames)
                nursery.start_soon(_mark_seen_often, context)
                nursery.start_soon(_write_down_often, context.registry)
                nursery.start_soon(_serve_stun, listeners.stun, context)
                if context.udp_relay is not None:
                    nursery.start_soon(context.udp_relay.circuits.sweep_often)
                if listeners.http is not None:
                    nursery.start_soon(serve_http, listeners.http, _pages(Reports(context, rendezvous)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_services)
        try:
            task_status.started(_ready(listeners, certificate))
            await trio.sleep_forever()
        finally:
            with trio.move_on_after(FAREWELL, shield=True):
                rendezvous.end_all("shutting_down", "the server is stopping; dial again later")
                await rendezvous.wait_idle()
            services.cancel()


@asynccontextmanager
async def _open_listeners(settings: ServerSettings, world: World) -> AsyncIterator[_Listeners]:
    """Open every port, or none."""
    async with AsyncExitStack() as stack:
        signals = []
        places = (settings.listen, *settings.also_listen)
        for place in places:
            listener = await world.streams.open_listener(place)
            stack.push_async_callback(listener.aclose)
            signals.append(listener)
        sockets = []
        for endpoint in settings.udp or tuple(Endpoint(host, port) for host, _ in places for port in STUN_PORTS):
            socket = await world.services.open_service_socket(endpoint)
            stack.callback(socket.close)
            sockets.append(socket)
        http = None
        if settings.http is not None:
            http = await world.streams.open_listener(settings.http)
            stack.push_async_callback(http.aclose)
        yield _Listeners(tuple(signals), tuple(sockets), http)


def _ready(listeners: _Listeners, certificate: ServerCertificate | None) -> ServerReady:
    return ServerReady(
        url=f"{'ws' if certificate is None else 'wss'}://{listeners.signals[0].local}",
        pin=None if certificate is None else certificate.pin,
        stun=tuple(socket.local for socket in listeners.stun),
        http=None if listeners.http is None else listeners.http.local,
    )


async def _serve_stun(sockets: tuple[ServiceSocket, ...], context: ServerContext) -> None:
    relay = context.udp_relay
    await serve_stun(
        sockets,
        rate_per_source=context.settings.stun_rate,
        counts=context.stun_counts,
        on_relayed=None if relay is None else relay.handle_untrusted,
    )


async def _mark_seen_often(context: ServerContext) -> None:
    while True:
        await trio.sleep(SEEN_INTERVAL)
        online = [(member.network, member.node) for member in context.presence.members()]
        context.registry.mark_seen(online, context.world.clock.wall())


async def _write_down_often(registry: Registry) -> None:
    while True:
        await trio.sleep(WRITE_INTERVAL)
        registry.write_down()


def _pages(reports: Reports) -> Mapping[str, Callable[[], Page]]:
    return {
        "/healthz": lambda: Page("text/plain; charset=utf-8", b"ok\n"),
        "/metrics": lambda: Page("text/plain; version=0.0.4; charset=utf-8", reports.metrics()),
        "/status": lambda: Page("application/json", reports.status()),
    }
