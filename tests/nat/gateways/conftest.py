"""A host and its gateway on one LAN; the gateway says what a test makes it say."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import pytest
import trio
from trio.testing import MockClock

from tunnel.model.endpoint import Endpoint
from tunnel.model.routes import Gateway
from tunnel.verify.memory.host import MemoryHost
from tunnel.verify.memory.internet import open_memory_internet
from tunnel.wire.nat_pmp import PmpUnknown
from tunnel.wire.pcp import PcpFaulty
from tunnel.wire.port_control import (
    PORT,
    OtherVersion,
    PortAnswer,
    PortRequest,
    decode_port_request,
    encode_port_answer,
)

ROUTER = Gateway("192.168.1.1", "192.168.1.2")
ROUTER6 = Gateway("fe80::1", "2001:db8::2")
WAITS = (0.25, 0.5, 1.0, 1.0)
NONCE = b"n" * 12

Answer = PortAnswer | bytes | None
AnyRequest = PortRequest | PmpUnknown | PcpFaulty | OtherVersion


@dataclass
class Lan:
    """`answer` makes of each request what the gateway says: an answer, raw bytes, several of them, or nothing."""

    host: MemoryHost
    router: MemoryHost
    answer: Callable[[AnyRequest], Answer | list[Answer]] = lambda _: None
    heard: list[tuple[float, AnyRequest]] = field(default_factory=list)
    speaks_from: int = PORT

    async def serve(self, address: str) -> None:
        socket = await self.router.open_socket(Endpoint(address, PORT))
        other = socket
        while True:
            for datagram, source in await socket.receive_batch():
                request = decode_port_request(datagram)
                self.heard.append((trio.current_time(), request))
                said = self.answer(request)
                if self.speaks_from != PORT and other is socket:
                    other = await self.router.open_socket(Endpoint(address, self.speaks_from))
                for each in said if isinstance(said, list) else [said]:
                    if each is not None:
                        other.send_nowait(each if isinstance(each, bytes) else encode_port_answer(each), source)


@pytest.fixture
async def lan(autojump_clock: MockClock) -> AsyncIterator[Lan]:
    async with open_memory_internet(latency=0.001) as internet, trio.open_nursery() as nursery:
        host = internet.add_host("desk", ROUTER.own, ROUTER6.own)
        router = internet.add_host("router", ROUTER.address, ROUTER6.address)
        made = Lan(host, router)
        for address in (ROUTER.address, ROUTER6.address):
            nursery.start_soon(made.serve, address)
        await trio.testing.wait_all_tasks_blocked()
        yield made
        nursery.cancel_scope.cancel()
