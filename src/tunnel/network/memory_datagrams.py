"""UDP sockets in memory."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import trio

from tunnel.model.endpoint import Endpoint
from tunnel.network.memory_packet import DEFAULT_TTL, Fate, MemoryPacket
from tunnel.network.ports import BATCH

if TYPE_CHECKING:
    from tunnel.network.memory_host import MemoryHost

QUEUE = 2048
"""Datagrams that a socket keeps for a reader that does not come; a kernel's buffer is of that order."""
MTU = 1500
_HEADERS = {False: 28, True: 48}
"""IP and UDP header, by whether it is IPv6."""


class MemoryDatagramSocket:
    """The double of a bound UDP socket."""

    def __init__(self, host: MemoryHost, local: Endpoint) -> None:
        self._host = host
        self._local = local
        self._waiting: deque[tuple[bytes, Endpoint]] = deque()
        self._readers = trio.lowlevel.ParkingLot()
        self._closed = False

    @property
    def local(self) -> Endpoint:
        """The bound endpoint."""
        return self._local

    def send_nowait(self, datagram: bytes, remote: Endpoint, ttl: int | None = None) -> bool:
        """Send. False: no address of that family here, or too big for one packet."""
        if self._closed:
            raise trio.ClosedResourceError
        source = self._host.source_for(self._local, remote)
        if source is None or len(datagram) + _HEADERS[remote.is_ipv6] > MTU:
            return False
        self._host.send(MemoryPacket(source, remote, bytes(datagram), DEFAULT_TTL if ttl is None else ttl))
        return True

    async def receive_batch(self) -> list[tuple[bytes, Endpoint]]:
        """Wait for at least one datagram; at most BATCH."""
        if self._waiting or self._closed:
            await trio.lowlevel.checkpoint()
        while not self._waiting:
            if self._closed:
                raise trio.ClosedResourceError
            await self._readers.park()
        return [self._waiting.popleft() for _ in range(min(len(self._waiting), BATCH))]

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
        self._waiting.append((packet.payload, packet.source))
        self._readers.unpark()
        return Fate.DELIVERED
