"""TCP and UDP on tunnel addresses in memory: without packets, so at once and without loss.

The nodes of one `MemoryTunnel` reach each other. `MemorySockets` are those of one node.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from itertools import count

import trio
import trio.testing

from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import DeviceError, Unreachable
from tunnel.network.sockets import BACKLOG

MAX_WAITING = 256 * 1024
"""Bytes of datagrams that wait at one endpoint."""
FIRST_EPHEMERAL = 49152


class MemoryTunnel:
    """What is bound at the addresses of all nodes."""

    def __init__(self) -> None:
        self.listeners: list[MemoryTunnelListener] = []
        self.datagrams: list[MemoryTunnelDatagrams] = []
        self.ports = count(FIRST_EPHEMERAL)

    def sockets(self, hosts: Callable[[], Iterable[str]]) -> MemorySockets:
        """Those of a node that has these addresses."""
        return MemorySockets(self, hosts)


class MemorySockets:
    """The sockets of one node. Made by `MemoryTunnel.sockets`."""

    def __init__(self, tunnel: MemoryTunnel, hosts: Callable[[], Iterable[str]]) -> None:
        self.tunnel = tunnel
        self._hosts = hosts

    def holds(self, local: Endpoint, wanted: Endpoint) -> bool:
        """Whether what is bound to `local` here gets what is sent to `wanted`."""
        is_meant = local.host == wanted.host or (local.is_wildcard and local.is_ipv6 == wanted.is_ipv6)
        return local.port == wanted.port and is_meant and wanted.host in self._hosts()

    def own_for(self, remote: Endpoint, port: int) -> Endpoint:
        """Our endpoint toward a peer. Raises Unreachable if we have no address of its family."""
        host = next((host for host in self._hosts() if (":" in host) is remote.is_ipv6), None)
        if host is None:
            raise Unreachable(f"{remote}: this node has no address of that family in the tunnel yet")
        return Endpoint(host, port)

    async def open_stream(self, remote: Endpoint) -> trio.abc.HalfCloseableStream:
        """Connect. Raises Unreachable: refused."""
        await trio.lowlevel.checkpoint()
        own = self.own_for(remote, next(self.tunnel.ports))
        for listener in self.tunnel.listeners:
            if listener.sockets.holds(listener.local, remote):
                return listener.connect(own)
        raise Unreachable(f"{remote}: Connection refused")

    async def open_listener(self, local: Endpoint, backlog: int = BACKLOG) -> MemoryTunnelListener:
        """Listen. Raises DeviceError."""
        await trio.lowlevel.checkpoint()
        listener = MemoryTunnelListener(self, self._bind("TCP", local, self.tunnel.listeners), backlog)
        self.tunnel.listeners.append(listener)
        return listener

    async def open_datagrams(self, local: Endpoint) -> MemoryTunnelDatagrams:
        """Bind. Raises DeviceError."""
        await trio.lowlevel.checkpoint()
        datagrams = MemoryTunnelDatagrams(self, self._bind("UDP", local, self.tunnel.datagrams))
        self.tunnel.datagrams.append(datagrams)
        return datagrams

    def _bind(
        self, protocol: str, local: Endpoint, others: Iterable[MemoryTunnelListener | MemoryTunnelDatagrams]
    ) -> Endpoint:
        if not local.is_wildcard and local.host not in self._hosts():
            raise DeviceError(f"{protocol} {local} cannot be used: it is none of this node's tunnel addresses")
        bound = Endpoint(local.host, local.port or next(self.tunnel.ports))
        if any(other.sockets is self and other.local == bound for other in others):
            raise DeviceError(f"{protocol} {local} cannot be used: another program has this port")
        return bound


class MemoryTunnelListener:
    """Accepts streams."""

    def __init__(self, sockets: MemorySockets, local: Endpoint, backlog: int) -> None:
        self.sockets = sockets
        self.local = local
        self._send, self._waiting = trio.open_memory_channel[tuple[trio.abc.HalfCloseableStream, Endpoint]](backlog)

    def connect(self, remote: Endpoint) -> trio.abc.HalfCloseableStream:
        """The caller's end of a new stream. Raises Unreachable if too many wait."""
        theirs, ours = trio.testing.memory_stream_pair()
        try:
            self._send.send_nowait((ours, remote))
        except trio.WouldBlock:
            raise Unreachable(f"{self.local}: Connection timed out") from None
        return theirs

    async def accept(self) -> tuple[trio.abc.HalfCloseableStream, Endpoint]:
        """The next stream and the peer's endpoint."""
        return await self._waiting.receive()

    async def aclose(self) -> None:
        """Stop listening."""
        if self in self.sockets.tunnel.listeners:
            self.sockets.tunnel.listeners.remove(self)
        self._waiting.close()
        await trio.lowlevel.checkpoint()


class MemoryTunnelDatagrams:
    """Sends and receives datagrams. The oldest that waits is dropped when there are too many."""

    def __init__(self, sockets: MemorySockets, local: Endpoint) -> None:
        self.sockets = sockets
        self.local = local
        self._waiting: deque[tuple[bytes, Endpoint]] = deque()
        self._size = 0
        self._changed = trio.lowlevel.ParkingLot()
        self._closed = False

    async def send(self, datagram: bytes, remote: Endpoint) -> None:
        """Send one; nobody may be there."""
        await trio.lowlevel.checkpoint()
        if self._closed:
            raise trio.ClosedResourceError
        own = self.sockets.own_for(remote, self.local.port)
        for other in self.sockets.tunnel.datagrams:
            if other.sockets.holds(other.local, remote):
                other.deliver(datagram, own)

    def deliver(self, datagram: bytes, remote: Endpoint) -> None:
        """One has come."""
        self._waiting.append((datagram, remote))
        self._size += len(datagram)
        while self._size > MAX_WAITING:
            self._size -= len(self._waiting.popleft()[0])
        self._changed.unpark_all()

    async def receive(self) -> tuple[bytes, Endpoint]:
        """The next one, and whom it is from."""
        await trio.lowlevel.checkpoint()
        while not self._waiting:
            if self._closed:
                raise trio.ClosedResourceError
            await self._changed.park()
        datagram, remote = self._waiting.popleft()
        self._size -= len(datagram)
        return datagram, remote

    async def aclose(self) -> None:
        """Close."""
        if not self._closed:
            self._closed = True
            self.sockets.tunnel.datagrams.remove(self)
            self._changed.unpark_all()
        await trio.lowlevel.checkpoint()
