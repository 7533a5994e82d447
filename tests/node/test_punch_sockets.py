"""Sockets for one punch: opened if the machine gives them, and seen by our own server."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import cast

import trio

from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import DeviceError
from tunnel.model.timings import DEFAULT_TIMINGS
from tunnel.model.way import Way
from tunnel.node.nat_discovery import NatDiscovery
from tunnel.node.punch_sockets import PunchSockets
from tunnel.node.udp_sockets import UdpSockets
from tunnel.verify.memory.machine import MemoryEntropy
from tunnel.wire.stun import binding_success, decode_stun, encode_stun

SERVERS = (Endpoint("2a00::1", 3478), Endpoint("25.0.0.1", 3478), Endpoint("25.0.0.2", 3478))


class Sockets(UdpSockets):
    """Numbers in place of sockets: so many, then none. What is sent is kept."""

    def __init__(self, most: int) -> None:
        super().__init__({})
        self.most = most
        self.opened: list[int] = []
        self.sent: list[tuple[Way, bytes]] = []

    async def open_extra(self) -> int:
        await trio.lowlevel.checkpoint()
        if len(self.opened) == self.most:
            raise DeviceError("too many open files")
        self.opened.append(len(self.opened))
        return self.opened[-1]

    def send(self, way: Way, datagram: bytes, ttl: int | None = None) -> bool:
        self.sent.append((way, datagram))
        return True


def punch_sockets(sockets: Sockets) -> PunchSockets:
    discovery = cast("NatDiscovery", SimpleNamespace(own=SERVERS))
    return PunchSockets(sockets, discovery, timings=DEFAULT_TIMINGS, entropy=MemoryEntropy(random.Random(1)))


async def test_a_machine_that_gives_no_more_sockets_ends_no_punch() -> None:
    made = punch_sockets(Sockets(most=1))
    assert [await made.open(), await made.open()] == [0, None]


async def test_only_ipv4_servers_are_asked_before_and_after(autojump_clock: trio.testing.MockClock) -> None:
    """The sockets are IPv4 ones."""
    sockets = Sockets(most=1)
    made = punch_sockets(sockets)
    seen: list[tuple[Endpoint | None, Endpoint | None]] = []
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def ask() -> None:
            seen.append(await made.enclose(7, lambda: None))

        await trio.testing.wait_all_tasks_blocked()
        assert [way for way, _ in sockets.sent] == [Way(7, server) for server in SERVERS[1:]]
        for number, (way, request) in enumerate(sockets.sent):
            answer = encode_stun(binding_success(decode_stun(request), Endpoint("26.0.0.1", 5000 + number)))
            assert way.remote is not None
            made.handle_untrusted(7, answer, way.remote)
    assert seen == [(Endpoint("26.0.0.1", 5000), Endpoint("26.0.0.1", 5001))]
