"""A client's stream and a server's, in one internet in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from tunnel.model.endpoint import Endpoint
from tunnel.verify.memory.internet import MemoryInternet, open_memory_internet


@asynccontextmanager
async def open_streams() -> AsyncIterator[tuple[trio.abc.Stream, trio.abc.Stream, MemoryInternet]]:
    """The client's, the server's, and the internet between them."""
    async with open_memory_internet(seed=1) as internet:
        client, server = internet.add_host("client", "25.0.0.1"), internet.add_host("server", "25.0.0.2")
        listener = await server.open_listener(Endpoint("0.0.0.0", 443))
        stream = await client.open_stream(Endpoint("25.0.0.2", 443))
        served, _ = await listener.accept()
        yield stream, served, internet
