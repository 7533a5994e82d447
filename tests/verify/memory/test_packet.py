"""A NAT box can stand between hosts: the doubles leave room for it."""

from __future__ import annotations

from dataclasses import replace

import trio
from trio.testing import MockClock

from tunnel.model.endpoint import Endpoint
from tunnel.verify.memory.internet import MemoryInternet, open_memory_internet
from tunnel.verify.memory.packet import Fate, MemoryPacket, Owner


class PortPreservingBox:
    """The smallest NAT box: one address outside, many inside, each port as it is. A network for its inner hosts."""

    name = "box"

    def __init__(self, internet: MemoryInternet, outside: str) -> None:
        self._internet = internet
        self._outside = outside
        self._inside: dict[str, Owner] = {}
        self._mapped: dict[int, Endpoint] = {}
        internet.attach(outside, self)

    def attach(self, address: str, owner: Owner) -> None:
        self._inside[address] = owner

    def detach(self, address: str) -> None:
        del self._inside[address]

    def transmit(self, packet: MemoryPacket) -> None:
        self._mapped[packet.source.port] = packet.source
        self._internet.transmit(replace(packet, source=Endpoint(self._outside, packet.source.port)))

    def deliver(self, packet: MemoryPacket) -> None:
        inner = self._mapped.get(packet.destination.port)
        if inner is None:
            self._internet.settle(packet, Fate.FILTERED)
        else:
            self._inside[inner.host].deliver(replace(packet, destination=inner))


async def test_datagrams_and_streams_pass_a_nat_box(autojump_clock: MockClock) -> None:
    async with open_memory_internet() as internet:
        server = internet.add_host("server", "25.0.0.1")
        hidden = internet.add_host("hidden", "192.168.1.2", network=PortPreservingBox(internet, "25.0.0.9"))
        echo = await server.open_socket(Endpoint("0.0.0.0", 7))
        socket = await hidden.open_socket(Endpoint("0.0.0.0", 5000))
        socket.send_nowait(b"out", Endpoint("25.0.0.1", 7))
        assert await echo.receive_batch() == [(b"out", Endpoint("25.0.0.9", 5000))]
        echo.send_nowait(b"back", Endpoint("25.0.0.9", 5000))
        assert await socket.receive_batch() == [(b"back", Endpoint("25.0.0.1", 7))]

        listener = await server.open_listener(Endpoint("0.0.0.0", 80))
        stream = await hidden.open_stream(Endpoint("25.0.0.1", 80))
        served, remote = await listener.accept()
        assert remote.host == "25.0.0.9"
        await stream.send_all(b"there")
        assert await served.receive_some() == b"there"
        await served.send_all(b"back")
        assert await stream.receive_some() == b"back"


async def test_what_nobody_asked_for_is_filtered(autojump_clock: MockClock) -> None:
    fates: list[Fate] = []
    async with open_memory_internet() as internet:
        server = internet.add_host("server", "25.0.0.1")
        internet.add_host("hidden", "192.168.1.2", network=PortPreservingBox(internet, "25.0.0.9"))
        internet.watch = lambda packet, fate: fates.append(fate)
        socket = await server.open_socket(Endpoint("0.0.0.0", 7))
        socket.send_nowait(b"x", Endpoint("25.0.0.9", 5000))
        await trio.sleep(1)
    assert fates == [Fate.FILTERED]
