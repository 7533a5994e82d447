"""A server in an internet in memory, and scripted nodes that speak to it signal by signal."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import sha256
from typing import Any, Protocol, TypeVar

import pytest
import trio

from tunnel.crypto.admission import prove
from tunnel.crypto.network_keys import NetworkKeys, derive_network_keys
from tunnel.crypto.node_keys import NodeKeys
from tunnel.machines.background import run_beside
from tunnel.model.endpoint import Endpoint, split_host_port
from tunnel.model.settings import ServerSettings
from tunnel.network.link import Link
from tunnel.network.os.world import real_world
from tunnel.network.tls import client_tls
from tunnel.network.websocket import MessageChannel, open_message_channel
from tunnel.server.program import ServerReady, serve
from tunnel.verify.memory.host import MemoryHost
from tunnel.verify.memory.internet import MemoryInternet, open_memory_internet
from tunnel.wire.signals import (
    Announce,
    Announced,
    Challenge,
    Connect,
    Ping,
    Pong,
    Signal,
    Welcome,
)

Heard = TypeVar("Heard")

SERVER_ADDRESS = "25.0.0.1"
SETTINGS = ServerSettings(
    listen=Endpoint(SERVER_ADDRESS, 8443),
    udp=(Endpoint(SERVER_ADDRESS, 3478), Endpoint(SERVER_ADDRESS, 3479)),
    http=Endpoint(SERVER_ADDRESS, 9443),
)


def node_keys(name: str) -> NodeKeys:
    """The same keys for the same name."""
    return NodeKeys(sha256(name.encode()).digest())


def network_keys(name: str) -> NetworkKeys:
    return derive_network_keys(name, sha256(name.encode()).digest())


def epoch_of(name: str) -> bytes:
    return sha256(name.encode()).digest()[:16]


@dataclass
class ScriptedNode:
    """The far end of a link, driven by a test. It answers pings by itself while it listens."""

    name: str
    keys: NodeKeys
    network: NetworkKeys
    link: Link
    channel: MessageChannel
    answers_pings: bool = True
    seq: int = 0
    binding: bytes = b""
    unread: list[Signal] = field(default_factory=list)
    frames: list[tuple[bytes, bytes]] = field(default_factory=list)

    @property
    def raw(self) -> bytes:
        return self.keys.id.raw

    @property
    def handle(self) -> bytes:
        return self.keys.id.handle

    def say(self, signal: Signal) -> None:
        self.link.send_signal(signal)

    async def hear(self, kind: type[Heard]) -> Heard:
        """The next signal of this kind; the others are kept for later, in order."""
        for earlier in self.unread:
            if isinstance(earlier, kind):
                self.unread.remove(earlier)
                return earlier
        while True:
            signal = await self._next()
            if isinstance(signal, kind):
                return signal
            if signal is not None:
                self.unread.append(signal)

    async def listen(self, seconds: float) -> list[Signal]:
        """All signals that come in this time, after those that were kept."""
        with trio.move_on_after(seconds):
            while True:
                signal = await self._next()
                if signal is not None:
                    self.unread.append(signal)
        heard, self.unread = self.unread, []
        return heard

    async def hear_frames(self, count: int) -> list[tuple[bytes, bytes]]:
        """This many relay frames."""
        while len(self.frames) < count:
            signal = await self._next()
            if signal is not None:
                self.unread.append(signal)
        heard, self.frames = self.frames[:count], self.frames[count:]
        return heard

    async def hear_end(self) -> None:
        """Listen until the server closes."""
        try:
            while True:
                signal = await self._next()
                if signal is not None:
                    self.unread.append(signal)
        except (trio.EndOfChannel, trio.BrokenResourceError):
            return

    async def register(self, **wishes: Any) -> Welcome:
        """Answer the challenge and be welcomed."""
        self.say(prove(await self.hear(Challenge), self.network, self.keys, **{"binding": self.binding, **wishes}))
        return await self.hear(Welcome)

    async def announce(self, body: bytes = b"sealed") -> Announce:
        """Announce a next version and wait for its acknowledgement."""
        self.seq += 1
        announce = Announce(epoch_of(self.name), self.seq, body)
        self.say(announce)
        assert await self.hear(Announced) == Announced(self.seq)
        return announce

    def connect(self, request: int, peer: ScriptedNode) -> None:
        self.say(Connect(request, peer.raw))

    async def _next(self) -> Signal | None:
        match await self.link.receive():
            case list() as frames:
                self.frames.extend(frames)
                return None
            case Ping(token):
                if self.answers_pings:
                    self.say(Pong(token))
                return None
            case signal:
                return signal


class Dial(Protocol):
    """Opens a link of a node to a server; what the node does on it is the test's affair."""

    def __call__(
        self, name: str, *, network: str = "home", host: str | None = None, at: Endpoint = SETTINGS.listen
    ) -> AbstractAsyncContextManager[ScriptedNode]: ...


@dataclass(frozen=True)
class RunningServer:
    """A server that runs while its block does, or until it is stopped."""

    ready: ServerReady
    listen: Endpoint
    stop: Callable[[], None]
    ended: trio.Event


class DialReal(Protocol):
    """Opens a link over TLS and this machine's own TCP, and checks the pin that `ready` states."""

    def __call__(self, name: str, ready: ServerReady) -> AbstractAsyncContextManager[ScriptedNode]: ...


class Serve(Protocol):
    """Runs a server on the server's host, with some settings changed."""

    def __call__(self, **changes: Any) -> AbstractAsyncContextManager[RunningServer]: ...


@pytest.fixture
async def internet(autojump_clock: trio.testing.MockClock) -> AsyncIterator[MemoryInternet]:
    async with open_memory_internet() as internet:
        yield internet


@pytest.fixture
def server_host(internet: MemoryInternet) -> MemoryHost:
    return internet.add_host("server", SERVER_ADDRESS)


@pytest.fixture
def run_server(server_host: MemoryHost) -> Serve:
    @asynccontextmanager
    async def run(**changes: Any) -> AsyncIterator[RunningServer]:
        settings = replace(SETTINGS, **changes)
        ended = trio.Event()

        async def program(*, task_status: trio.TaskStatus[RunningServer]) -> None:
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    ready = await nursery.start(partial(serve, settings, server_host.world(), tls=False))
                    task_status.started(RunningServer(ready, settings.listen, scope.cancel, ended))
            ended.set()

        async with trio.open_nursery() as nursery:
            server = await nursery.start(program)
            yield server
            nursery.cancel_scope.cancel()

    return run


@pytest.fixture
def add_client_host(internet: MemoryInternet) -> Callable[[str], MemoryHost]:
    """The host of this name, made when it is first asked for."""
    hosts: dict[str, MemoryHost] = {}

    def add(name: str) -> MemoryHost:
        if name not in hosts:
            hosts[name] = internet.add_host(name, f"26.0.0.{len(hosts) + 1}")
        return hosts[name]

    return add


@asynccontextmanager
async def speak(name: str, network: str, stream: trio.abc.Stream) -> AsyncIterator[ScriptedNode]:
    """A scripted node over a byte stream."""
    async with open_message_channel(stream, host="server", patience=5.0, max_message=65536) as channel:
        link = Link(channel, timings=SETTINGS.timings, relay_queue=SETTINGS.relay_queue)

        async def write() -> None:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await link.run_writer()

        async with run_beside(write):
            yield ScriptedNode(name, node_keys(name), network_keys(network), link, channel)


@pytest.fixture
def dial(add_client_host: Callable[[str], MemoryHost]) -> Dial:
    @asynccontextmanager
    async def open_link(
        name: str, *, network: str = "home", host: str | None = None, at: Endpoint = SETTINGS.listen
    ) -> AsyncIterator[ScriptedNode]:
        stream = await add_client_host(host or name).open_stream(at)
        async with speak(name, network, stream) as node:
            yield node

    return open_link


@pytest.fixture
def dial_real() -> DialReal:
    @asynccontextmanager
    async def open_link(name: str, ready: ServerReady) -> AsyncIterator[ScriptedNode]:
        host, port = split_host_port(ready.url.removeprefix("wss://"))
        stream = await real_world(None).streams.open_stream(Endpoint(host, port))
        async with speak(name, "home", await client_tls(stream, host, ready.pin)) as node:
            node.binding = ready.pin or b""
            yield node

    return open_link


@pytest.fixture
def fetch(add_client_host: Callable[[str], MemoryHost]) -> Callable[..., Awaitable[tuple[int, bytes]]]:
    """An HTTP client: GET a path, get the status code and the body."""

    async def get(path: str) -> tuple[int, bytes]:
        assert SETTINGS.http is not None
        stream = await add_client_host("monitor").world().streams.open_stream(SETTINGS.http)
        async with stream:
            await stream.send_all(f"GET {path} HTTP/1.1\r\nHost: server\r\nConnection: close\r\n\r\n".encode())
            answer = b""
            while received := await stream.receive_some():
                answer += received
        head, _, body = answer.partition(b"\r\n\r\n")
        return int(head.split()[1]), body

    return get
