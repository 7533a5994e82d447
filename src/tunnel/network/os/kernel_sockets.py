"""TCP and UDP of a kernel on the addresses of one tunnel interface, in this machine's network or in one of our own.

In this machine's network each socket is bound to the interface (SO_BINDTODEVICE). So no packet of it leaves by another
one, whatever routes there are, and the wildcard means the tunnel's addresses only. A socket stays with the interface
that it was bound to: when that is removed and made again, connections break, and listeners are opened anew.
"""

from __future__ import annotations

import socket
import weakref
from abc import ABC, abstractmethod

import trio

from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import DeviceError, Unreachable
from tunnel.network.accept_backoff import AcceptBackoff
from tunnel.network.os.socket_source import SocketSource
from tunnel.network.os.sockets import describe, endpoint_of
from tunnel.network.os.streams import accept_patiently
from tunnel.network.os.tcp_stream import TcpStream
from tunnel.network.os.tun_link import RealTunLink
from tunnel.network.sockets import BACKLOG

MAX_DATAGRAM = 65536
UNSENT = 256 * 1024
"""Bytes of a stream that the kernel takes beyond what is on the way: some superpackets."""
ONLY_ROOT_BINDS = "this kernel lets only root bind a socket to an interface: Linux 5.7 or newer is needed"

# Linux <in.h>, <in6.h>; Python's socket module does not name them all.
_IP_FREEBIND, _IP_BIND_ADDRESS_NO_PORT, _IPV6_FREEBIND = 15, 24, 78


class KernelSockets:
    """Those of one interface. `bound_to` is its name; empty in a namespace that has no other."""

    def __init__(self, link: RealTunLink, source: SocketSource, *, bound_to: str) -> None:
        self._link = link
        self._source = source
        self._bound_to = bound_to
        self._streams: weakref.WeakSet[TcpStream] = weakref.WeakSet()
        self._bound: weakref.WeakSet[_Bound] = weakref.WeakSet()

    async def open_stream(self, remote: Endpoint) -> TcpStream:
        """Connect. Raises Unreachable with the cause."""
        self.check_remote(remote)
        own = next((host for host in self._hosts() if (":" in host) is remote.is_ipv6), None)
        if own is None:
            raise Unreachable(f"{remote}: this node has no {_family(remote)} address in the tunnel yet")
        try:
            opened = trio.socket.from_stdlib_socket(self._open(socket.SOCK_STREAM, is_ipv6=remote.is_ipv6))
        except OSError as error:
            raise Unreachable(f"{remote}: {describe(error)}") from error
        try:
            opened.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
            await opened.bind((own, 0))
            await opened.connect(remote)
        except OSError as error:
            opened.close()
            raise Unreachable(f"{remote}: {describe(error)}") from error
        except BaseException:
            opened.close()
            raise
        return self.stream(opened)

    async def open_listener(self, local: Endpoint, backlog: int = BACKLOG) -> KernelListener:
        """Listen. Raises DeviceError with the remedy."""
        await trio.lowlevel.checkpoint()
        self._check_local("TCP", local)
        listener = KernelListener(self, local, backlog)
        self._bound.add(listener)
        return listener

    async def open_datagrams(self, local: Endpoint) -> KernelDatagrams:
        """Bind. Raises DeviceError with the remedy."""
        await trio.lowlevel.checkpoint()
        self._check_local("UDP", local)
        datagrams = KernelDatagrams(self, local)
        self._bound.add(datagrams)
        return datagrams

    def drop_former(self) -> None:
        """Break the connections of addresses that the interface no longer has: their packets would be lost."""
        hosts = self._hosts()
        for stream in list(self._streams):
            if stream.socket.fileno() >= 0 and endpoint_of(stream.socket.getsockname()).host not in hosts:
                stream.abort()

    def renew(self) -> None:
        """The interface was made again: connections break, listeners and datagram sockets are opened anew."""
        if self._bound_to:
            for stream in list(self._streams):
                stream.abort()
            for bound in list(self._bound):
                bound.renew()

    def close(self) -> None:
        """Close all: the interface is gone for good."""
        for stream in list(self._streams):
            stream.close()
        for bound in list(self._bound):
            bound.close()

    def check_remote(self, remote: Endpoint) -> None:
        """Raise Unreachable unless the tunnel leads there. The kernel would send it into the tunnel all the same."""
        if not self._link.leads_to(remote.host):
            raise Unreachable(f"{remote}: no address of the tunnel")

    def stream(self, connected: trio.socket.SocketType) -> TcpStream:
        """A stream that breaks when its address or its interface is gone."""
        stream = TcpStream(_detach(connected), UNSENT)
        self._streams.add(stream)
        return stream

    def open_bound(self, kind: socket.SocketKind, local: Endpoint) -> socket.socket:
        """A non-blocking socket, bound; an IPv6 one takes no IPv4. Raises DeviceError with the remedy."""
        name = f"{'UDP' if kind is socket.SOCK_DGRAM else 'TCP'} {local} in the tunnel"
        try:
            opened = self._open(kind, is_ipv6=local.is_ipv6)
        except OSError as error:
            raise DeviceError(f"{name} cannot be used: {describe(error)}") from error
        try:
            if local.is_ipv6:
                opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                opened.setsockopt(socket.IPPROTO_IPV6, _IPV6_FREEBIND, 1)
            else:
                opened.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
            if kind is socket.SOCK_STREAM:
                opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            opened.bind(local)
        except OSError as error:
            opened.close()
            raise DeviceError(f"{name} cannot be used: {describe(error)}") from error
        return opened

    def _open(self, kind: socket.SocketKind, *, is_ipv6: bool) -> socket.socket:
        opened = self._source.open_socket(socket.AF_INET6 if is_ipv6 else socket.AF_INET, kind, 0)
        opened.setblocking(False)
        if self._bound_to:
            try:
                opened.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, self._bound_to.encode())
            except PermissionError as error:
                opened.close()
                raise OSError(ONLY_ROOT_BINDS) from error
            except OSError:
                opened.close()
                raise
        return opened

    def _check_local(self, protocol: str, local: Endpoint) -> None:
        hosts = self._hosts()
        if not local.is_wildcard and local.host not in hosts:
            told = ", ".join(hosts)
            raise DeviceError(f"{protocol} {local} cannot be used: it is none of this node's tunnel addresses ({told})")

    def _hosts(self) -> tuple[str, ...]:
        return tuple(str(address.ip) for address in self._link.addresses)


class _Bound(ABC):
    """A bound socket that is opened again when its interface was made again."""

    def __init__(self, sockets: KernelSockets, kind: socket.SocketKind, local: Endpoint) -> None:
        self._sockets = sockets
        self._kind = kind
        self._socket = self._bind(local)
        self._local = endpoint_of(self._socket.getsockname())
        self._trouble = ""

    @property
    def local(self) -> Endpoint:
        """The bound endpoint."""
        return self._local

    async def aclose(self) -> None:
        """Close; who waits gets trio.ClosedResourceError."""
        self.close()
        await trio.lowlevel.checkpoint()

    def close(self) -> None:
        """The same without a checkpoint."""
        self._socket.close()

    def renew(self) -> None:
        """Open it again at the same endpoint, unless it was closed."""
        if self._socket.fileno() < 0:
            return
        former = self._socket
        former.close()
        try:
            self._socket = self._bind(self._local)
        except DeviceError as error:
            self._trouble = str(error)

    @abstractmethod
    def _prepare(self, opened: socket.socket) -> None:
        """What is done with a bound socket. Raises OSError."""

    def _bind(self, local: Endpoint) -> trio.socket.SocketType:
        opened = self._sockets.open_bound(self._kind, local)
        try:
            self._prepare(opened)
        except OSError as error:
            opened.close()
            raise DeviceError(f"{local} in the tunnel cannot be used: {describe(error)}") from error
        return trio.socket.from_stdlib_socket(opened)

    def _check_renewed(self, used: trio.socket.SocketType) -> None:
        """Called when `used` was found closed: it returns if there is another one by now."""
        if self._trouble:
            raise DeviceError(self._trouble)
        if used is self._socket:
            raise trio.ClosedResourceError


class KernelListener(_Bound):
    """Accepts connections at one endpoint of the tunnel."""

    def __init__(self, sockets: KernelSockets, local: Endpoint, backlog: int) -> None:
        self._backlog = backlog
        super().__init__(sockets, socket.SOCK_STREAM, local)
        self._backoff = AcceptBackoff(f"connections at {self._local}")

    async def accept(self) -> tuple[TcpStream, Endpoint]:
        """The next connection and its remote endpoint."""
        while True:
            listening = self._socket
            try:
                accepted, address = await accept_patiently(listening, self._backoff)
            except trio.ClosedResourceError:
                self._check_renewed(listening)
            else:
                return self._sockets.stream(accepted), endpoint_of(address)

    def _prepare(self, opened: socket.socket) -> None:
        opened.listen(self._backlog)


class KernelDatagrams(_Bound):
    """Datagrams at one endpoint of the tunnel. What waits is bounded by the kernel, which drops the newest."""

    def __init__(self, sockets: KernelSockets, local: Endpoint) -> None:
        super().__init__(sockets, socket.SOCK_DGRAM, local)

    async def send(self, datagram: bytes, remote: Endpoint) -> None:
        """Send one. Raises Unreachable if it cannot leave."""
        self._sockets.check_remote(remote)
        while True:
            used = self._socket
            try:
                await used.sendto(datagram, remote)
                return
            except trio.ClosedResourceError:
                self._check_renewed(used)
            except OSError as error:
                if used.fileno() >= 0:
                    raise Unreachable(f"{remote}: {describe(error)}") from error
                self._check_renewed(used)

    async def receive(self) -> tuple[bytes, Endpoint]:
        """The next one, and whom it is from."""
        while True:
            used = self._socket
            try:
                datagram, address = await used.recvfrom(MAX_DATAGRAM)
                return datagram, endpoint_of(address)
            except trio.ClosedResourceError:
                self._check_renewed(used)
            except OSError:
                if used.fileno() < 0:
                    self._check_renewed(used)

    def _prepare(self, opened: socket.socket) -> None:
        """Nothing more."""


def _family(remote: Endpoint) -> str:
    return "IPv6" if remote.is_ipv6 else "IPv4"


def _detach(opened: trio.socket.SocketType) -> socket.socket:
    """The same socket without Trio's wrapper."""
    return socket.socket(opened.family, opened.type, opened.proto, opened.detach())
