"""A server and nodes in an internet in memory: the real programs, virtual time, no file descriptor."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from typing import Any, Protocol

import pytest
import trio

from tunnel.crypto.network_keys import derive_network_keys
from tunnel.embedding import Node, open_node
from tunnel.model.endpoint import Endpoint
from tunnel.model.invite import Invite
from tunnel.model.settings import NodeSettings, ServerSettings
from tunnel.network.memory import MemoryInternet, open_memory_internet
from tunnel.network.memory_host import MemoryHost
from tunnel.server.program import serve

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
class Town:
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
        async with trio.open_nursery() as nursery:
            await nursery.start(
                partial(serve, replace(SERVER_SETTINGS, **changes), self.server_host.world(), tls=False)
            )

            def kill() -> None:
                self.server_host.kill()
                nursery.cancel_scope.cancel()

            yield kill
            nursery.cancel_scope.cancel()


@pytest.fixture
async def town(autojump_clock: trio.testing.MockClock) -> AsyncIterator[Town]:
    async with open_memory_internet(latency=0.02) as internet:
        yield Town(internet, internet.add_host("server", SERVER_ADDRESS), {})


@pytest.fixture
def open_in(town: Town) -> OpenNode:
    @asynccontextmanager
    async def run(
        name: str, *, host: str | None = None, invite: Invite | None = None, **changes: Any
    ) -> AsyncIterator[Node]:
        settings = NodeSettings(name=name, default_stun=False, **changes)
        async with open_node(
            invite=invite or invite_to(), settings=settings, world=town.host(host or name).world()
        ) as node:
            yield node

    return run
