"""A server and nodes in an internet in memory: the real programs, virtual time, no file descriptor."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any, Protocol

import pytest
import trio

from tunnel.crypto.announcement_seal import seal_announcement
from tunnel.crypto.network_keys import derive_network_keys, tunnel_address6
from tunnel.crypto.node_keys import NodeKeys
from tunnel.embedding import Node, open_node
from tunnel.machines.background import run_beside
from tunnel.model.announcement import Announcement
from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import TunnelError
from tunnel.model.identity import NodeId
from tunnel.model.invite import Invite
from tunnel.model.nat import NatReport
from tunnel.model.protocol_version import PROTOCOL_VERSION
from tunnel.model.settings import NodeSettings, ServerSettings
from tunnel.model.timings import DEFAULT_TIMINGS
from tunnel.network.link import Link
from tunnel.network.ports import StreamListener
from tunnel.network.websocket import accept_message_channel
from tunnel.server.program import serve
from tunnel.verify.memory.host import MemoryHost
from tunnel.verify.memory.internet import MemoryInternet, open_memory_internet
from tunnel.wire.announcement_body import encode_announcement
from tunnel.wire.signals import Announce, Announced, Challenge, Hello, PeerUp, Ping, Pong, Signal, Welcome

SERVER_ADDRESS = "25.0.0.1"
SERVER_SETTINGS = ServerSettings(
    listen=Endpoint(SERVER_ADDRESS, 8443),
    udp=(Endpoint(SERVER_ADDRESS, 3478), Endpoint(SERVER_ADDRESS, 3479)),
    http=Endpoint(SERVER_ADDRESS, 9443),
)
SECRET = sha256(b"a secret for tests").digest()


def invite_to(network: str = "home", secret: bytes = SECRET) -> Invite:
    return Invite(f"ws://{SERVER_ADDRESS}:8443", None, network, derive_network_keys(network, secret).network_id, secret)


class OpenNode(Protocol):
    """Runs a node on a host of its own, made when it is first asked for."""

    def __call__(
        self, name: str, *, host: str | None = None, invite: Invite | None = None, **changes: Any
    ) -> AbstractAsyncContextManager[Node]: ...


@dataclass
class SimulatedNetwork:
    """The internet, the server's host, and a way to start and stop the server."""

    internet: MemoryInternet
    server_host: MemoryHost
    hosts: dict[str, MemoryHost]

    def host(self, name: str) -> MemoryHost:
        if name not in self.hosts:
            self.hosts[name] = self.internet.add_host(name, f"26.0.0.{len(self.hosts) + 1}")
        return self.hosts[name]

    @asynccontextmanager
    async def server(self, **changes: Any) -> AsyncIterator[Callable[[], None]]:
        """A server while the block runs; what it yields kills it like a power cut."""
        life = (
            trio.CancelScope()
        )  # not the nursery's, which is that of the block too: what follows a kill would not run

        async def live(task_status: trio.TaskStatus[Any]) -> None:
            with life:
                world = self.server_host.world()
                await serve(replace(SERVER_SETTINGS, **changes), world, tls=False, task_status=task_status)

        async with trio.open_nursery() as nursery:
            await nursery.start(live)

            def kill() -> None:
                self.server_host.kill()
                life.cancel()

            yield kill
            life.cancel()


@pytest.fixture
async def net(autojump_clock: trio.testing.MockClock) -> AsyncIterator[SimulatedNetwork]:
    async with open_memory_internet(latency=0.02) as internet:
        yield SimulatedNetwork(internet, internet.add_host("server", SERVER_ADDRESS), {})


@pytest.fixture
def open_in(net: SimulatedNetwork) -> OpenNode:
    @asynccontextmanager
    async def run(
        name: str, *, host: str | None = None, invite: Invite | None = None, **changes: Any
    ) -> AsyncIterator[Node]:
        settings = NodeSettings(name=name, default_stun=False, **changes)
        async with open_node(
            invite=invite or invite_to(), settings=settings, world=net.host(host or name).world()
        ) as node:
            yield node

    return run


WELCOME = Welcome(
    "10.86.0.7/16",
    1.0,
    Endpoint("26.0.0.1", 5),
    (Endpoint(SERVER_ADDRESS, 3478),),
    protocol_version=PROTOCOL_VERSION,
)


@dataclass
class PuppetServer:
    """A server that says what a test makes it say. By itself it welcomes, acknowledges and answers pings."""

    nursery: trio.Nursery
    first: Callable[[], Signal] = lambda: Challenge(bytes(32), NodeKeys(bytes(31) + b"\x01").public)
    welcome: Signal = WELCOME
    acknowledges: bool = True
    answers_pings: bool = True
    hellos: list[float] = field(default_factory=list)
    """When each came."""
    heard: list[tuple[float, Signal]] = field(default_factory=list)
    frames: list[tuple[bytes, bytes]] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)

    def say(self, *signals: Signal) -> None:
        for signal in signals:
            self.links[-1].send_signal(signal)

    def announced(self) -> list[float]:
        """When each announcement came."""
        return [at for at, signal in self.heard if isinstance(signal, Announce)]

    async def serve(self, listener: StreamListener) -> None:
        while True:
            stream, _ = await listener.accept()
            self.nursery.start_soon(self._talk, stream)

    async def _talk(self, stream: trio.abc.Stream) -> None:
        with suppress(TunnelError, trio.BrokenResourceError, trio.ClosedResourceError, trio.EndOfChannel):
            async with accept_message_channel(stream, patience=5.0, max_message=1 << 20) as channel:
                link = Link(channel, timings=DEFAULT_TIMINGS, relay_queue=1 << 20)
                self.links.append(link)
                async with run_beside(link.run_writer):
                    link.send_signal(self.first())
                    await self._converse(link)

    async def _converse(self, link: Link) -> None:
        while True:
            match await link.receive():
                case Hello():
                    self.hellos.append(trio.current_time())
                    link.send_signal(self.welcome)
                case list() as frames:
                    self.frames += frames
                case signal:
                    self.heard.append((trio.current_time(), signal))
                    if isinstance(signal, Announce) and self.acknowledges:
                        link.send_signal(Announced(signal.seq))
                    if isinstance(signal, Ping) and self.answers_pings:
                        link.send_signal(Pong(signal.token))


@pytest.fixture
async def puppet(net: SimulatedNetwork) -> AsyncIterator[PuppetServer]:
    listener = await net.server_host.world().streams.open_listener(SERVER_SETTINGS.listen)
    async with trio.open_nursery() as nursery:
        puppet = PuppetServer(nursery)
        nursery.start_soon(puppet.serve, listener)
        yield puppet
        nursery.cancel_scope.cancel()


@dataclass
class ScriptedPeer:
    """A true member of the network whose words a test writes: what it announces is sealed as it should be."""

    keys: NodeKeys
    epoch: bytes = bytes(16)
    seq: int = 0

    def body(self, **changes: Any) -> Announcement:
        network = invite_to().network_id
        plain = Announcement("ghost", self.keys.public, (tunnel_address6(network, self.keys.id),), (), NatReport())
        return replace(plain, **changes)

    def up(self, about: NodeId | None = None, **changes: Any) -> PeerUp:
        """What a server passes on."""
        self.seq += 1
        node = about or self.keys.id
        sealed = seal_announcement(
            derive_network_keys("home", SECRET).announcement_key,
            node=node,
            epoch=self.epoch,
            seq=self.seq,
            body=encode_announcement(self.body(**changes)),
            nonce=self.seq.to_bytes(12),
        )
        return PeerUp(node.raw, self.epoch, self.seq, sealed)


def scripted_peer(name: str) -> ScriptedPeer:
    return ScriptedPeer(NodeKeys(sha256(name.encode()).digest()))


@pytest.fixture
def member() -> Callable[[str], ScriptedPeer]:
    """A member by name: the same keys for the same name."""
    return scripted_peer


@pytest.fixture
def home() -> Invite:
    """The invite of the network that nodes are in when nothing else is said."""
    return invite_to()
