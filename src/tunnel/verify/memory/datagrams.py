"""UDP sockets in memory."""

from __future__ import annotations

from collections import deque
from typing import Protocol

import trio

from tunnel.model.endpoint import Endpoint
from tunnel.model.offload import Offload
from tunnel.network.datagrams import BATCH, Segments, Transmit
from tunnel.verify.memory.packet import DEFAULT_TTL, Fate, MemoryPacket

QUEUE = 2048
"""The most datagrams that wait in a socket; a kernel's buffer is of that order."""
_HEADERS = {False: 28, True: 48}
"""IP and UDP header, by whether it is IPv6."""


class SocketHost(Protocol):
    """The host of sockets, as they see it."""

    @property
    def mtu(self) -> int:
        """Of its interface: longer packets are not sent."""
        ...

    def send(self, packet: MemoryPacket) -> None:
        """Put a packet on its way."""
        ...

    def source_for(self, local: Endpoint, remote: Endpoint) -> Endpoint | None:
        """The endpoint that a packet from a socket bound to `local` comes from; None if there is no such address."""
        ...

    def forget_socket(self, socket: MemorySocket) -> None:
        """Its port is free."""
        ...


class MemorySocket:
    """What the doubles share: a bound port and a queue."""

    def __init__(self, host: SocketHost, local: Endpoint) -> None:
        self._host = host
        self._local = local
        self._waiting: deque[MemoryPacket] = deque()
        self._readers = trio.lowlevel.ParkingLot()
        self._closed = False

    @property
    def local(self) -> Endpoint:
        """The bound endpoint."""
        return self._local

    def close(self) -> None:
        """Close."""
        if not self._closed:
            self._closed = True
            self._waiting.clear()
            self._host.forget_socket(self)
            self._readers.unpark_all()

    def arrive(self, packet: MemoryPacket) -> Fate:
        """A datagram came in."""
        if len(self._waiting) >= QUEUE:
            return Fate.OVERFLOW
        self._waiting.append(packet)
        self._readers.unpark()
        return Fate.DELIVERED

    def _send(self, datagram: bytes, remote: Endpoint, source: Endpoint | None, ttl: int | None) -> bool:
        if source is None or len(datagram) + _HEADERS[remote.is_ipv6] > self._host.mtu:
            return False
        self._host.send(MemoryPacket(source, remote, bytes(datagram), DEFAULT_TTL if ttl is None else ttl))
        return True

    def _check_open(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError

    async def _receive(self) -> list[MemoryPacket]:
        if self._waiting or self._closed:
            await trio.lowlevel.checkpoint()
        while not self._waiting:
            self._check_open()
            await self._readers.park()
        return [self._waiting.popleft() for _ in range(min(len(self._waiting), BATCH))]


class MemoryDatagramSocket(MemorySocket):
    """The double of a bound UDP socket."""

    @property
    def offloads(self) -> frozenset[Offload]:
        """None: it passes single datagrams."""
        return frozenset()

    def send_nowait(self, datagram: bytes, remote: Endpoint, ttl: int | None = None) -> bool:
        """Send. False: no address of that family here, or too big for one packet."""
        self._check_open()
        return self._send(datagram, remote, self._host.source_for(self._local, remote), ttl)

    def send_batch(self, transmit: Transmit) -> int:
        """Send each; how many went."""
        remote = transmit.way.remote
        assert remote is not None
        return sum(self.send_nowait(b"".join(parts), remote) for parts in transmit.datagrams())

    def unsent_bytes(self) -> int:
        """None: what is sent has left."""
        return 0

    async def receive_batch(self) -> list[tuple[bytes, Endpoint]]:
        """Wait for at least one datagram; at most BATCH."""
        return [(packet.payload, packet.source) for packet in await self._receive()]

    async def receive_segments(self) -> list[Segments]:
        """The same, one datagram each."""
        return [Segments(packet.payload, packet.source) for packet in await self._receive()]


class MemoryServiceSocket(MemorySocket):
    """The double of a bound UDP socket of a server."""

    def send_nowait(self, datagram: bytes, remote: Endpoint, source: str) -> bool:
        """Send. False: that address is not ours or of the other family, or too big for one packet."""
        self._check_open()
        return self._send(datagram, remote, self._host.source_for(Endpoint(source, self._local.port), remote), None)

    async def receive_batch(self) -> list[tuple[bytes, Endpoint, str]]:
        """Wait for at least one datagram; at most BATCH."""
        return [(packet.payload, packet.source, packet.destination.host) for packet in await self._receive()]

    def send_segments(self, segments: Segments, remote: Endpoint, source: str) -> int:
        """Send each datagram; how many went."""
        return sum(self.send_nowait(datagram, remote, source) for datagram in segments.datagrams())

    async def receive_segments(self) -> list[Segments]:
        """The same as `receive_batch`, one datagram each."""
        return [
            Segments(packet.payload, packet.source, own=packet.destination.host) for packet in await self._receive()
        ]
