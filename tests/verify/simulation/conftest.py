"""Hosts, routers and lines of a topology, and sockets with which a test speaks through them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import pytest
import trio
from trio.testing import MockClock

from tunnel.model.endpoint import Endpoint
from tunnel.verify.memory.datagrams import MemoryDatagramSocket
from tunnel.verify.memory.internet import MemoryInternet, open_memory_internet
from tunnel.verify.memory.packet import Fate, MemoryPacket
from tunnel.verify.reachability.topology import Topology
from tunnel.verify.simulation.internet.simulated_network import SimulatedNetwork, build_network

ROUND = 0.1
"""Seconds of virtual time in which everything that was sent has arrived."""


@dataclass
class Mailbox:
    """One UDP socket of one host."""

    socket: MemoryDatagramSocket

    def say(self, to: Endpoint, payload: bytes = b"?", ttl: int | None = None) -> None:
        assert self.socket.send_nowait(payload, to, ttl)

    async def hear(self) -> list[tuple[bytes, Endpoint]]:
        """What has come since, and comes within a round."""
        await trio.sleep(ROUND)
        heard: list[tuple[bytes, Endpoint]] = []
        while True:
            with trio.move_on_after(0.001) as patience:
                heard += await self.socket.receive_batch()
            if patience.cancelled_caught:
                return heard

    async def sources(self) -> list[Endpoint]:
        """Where that came from."""
        return [source for _, source in await self.hear()]


@dataclass
class Scene:
    """A built network, and what became of each packet, in order."""

    internet: MemoryInternet
    fates: list[tuple[bytes, Fate]] = field(default_factory=list)
    net: SimulatedNetwork = field(init=False)

    def build(self, topology: Topology, *, seed: int = 1) -> SimulatedNetwork:
        self.internet.watch = self._watch
        self.net = build_network(self.internet, topology, seed=seed)
        return self.net

    async def mailbox(self, host: str, port: int = 5000, *, ipv6: bool = False) -> Mailbox:
        wildcard = "::" if ipv6 else "0.0.0.0"
        return Mailbox(await self.net.hosts[host].open_socket(Endpoint(wildcard, port)))

    def fates_of(self, payload: bytes) -> list[Fate]:
        return [fate for sent, fate in self.fates if sent == payload]

    def _watch(self, packet: MemoryPacket, fate: Fate) -> None:
        self.fates.append((packet.payload, fate))


@pytest.fixture
async def scene(autojump_clock: MockClock) -> AsyncIterator[Scene]:
    async with open_memory_internet() as internet:
        yield Scene(internet)


Arrivals = Callable[[Mailbox, Endpoint, Mailbox], Awaitable[bool]]


@pytest.fixture
def is_passed(scene: Scene) -> Arrivals:
    async def passes(sender: Mailbox, to: Endpoint, receiver: Mailbox) -> bool:
        """Whether a datagram sent now arrives at this socket. Whatever becomes of it is said, once."""
        await receiver.hear()
        told = len(scene.fates_of(b"passes?"))
        sender.say(to, b"passes?")
        heard = b"passes?" in [payload for payload, _ in await receiver.hear()]
        assert len(scene.fates_of(b"passes?")) == told + 1
        return heard

    return passes
