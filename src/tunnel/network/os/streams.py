"""TCP of the kernel."""

from __future__ import annotations

import errno
import socket

import trio

from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import DeviceError, Unreachable
from tunnel.network.accept_backoff import AcceptBackoff
from tunnel.network.os.sockets import describe, endpoint_of, open_bound
from tunnel.network.os.tcp_stream import TcpStream

BACKLOG = 1024
HUNG_UP = frozenset({errno.ECONNABORTED, errno.EPROTO, errno.EPERM})
"""Errors of accept(2) for callers that are gone or that a firewall forbids; the next one may succeed."""
SAFE_MTU = 1280
"""What every path carries (RFC 8200 section 5). Some carry no more and do not report it (RFC 2923 section 2.1)."""
_SEGMENT = {False: SAFE_MTU - 40, True: SAFE_MTU - 60}
"""MSS by whether it is IPv6: announced to the other side, so it holds both ways (RFC 9293 section 3.7.1)."""


class RealStreams:
    """Opens and accepts TCP connections."""

    async def open_stream(self, remote: Endpoint) -> trio.abc.Stream:
        """Connect. Raises Unreachable."""
        try:
            opened = trio.socket.socket(socket.AF_INET6 if remote.is_ipv6 else socket.AF_INET, socket.SOCK_STREAM)
        except OSError as error:
            raise Unreachable(f"{remote}: {describe(error)}") from error
        try:
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, _SEGMENT[remote.is_ipv6])
            await opened.connect(remote)
        except OSError as error:
            opened.close()
            raise Unreachable(f"{remote}: {describe(error)}") from error  # Trio's text has the endpoint's repr in it
        except BaseException:
            opened.close()
            raise
        return TcpStream(_detach(opened))

    async def open_listener(self, local: Endpoint) -> RealListener:
        """Listen. Raises DeviceError with the remedy."""
        await trio.lowlevel.checkpoint()
        opened = open_bound(socket.SOCK_STREAM, local)
        try:
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, _SEGMENT[local.is_ipv6])
            opened.listen(BACKLOG)
        except OSError as error:  # SO_REUSEADDR lets two bind, and only one listen
            opened.close()
            raise DeviceError(f"TCP {local} cannot be used: {describe(error)}") from error
        return RealListener(trio.socket.from_stdlib_socket(opened), endpoint_of(opened.getsockname()))


class RealListener:
    """Accepts TCP connections at one endpoint."""

    def __init__(self, listening: trio.socket.SocketType, local: Endpoint) -> None:
        self._socket = listening
        self._local = local
        self._backoff = AcceptBackoff(f"connections at {local}")

    @property
    def local(self) -> Endpoint:
        """The bound endpoint."""
        return self._local

    async def accept(self) -> tuple[trio.abc.Stream, Endpoint]:
        """The next connection and its remote endpoint; retries when the machine is out of file descriptors."""
        accepted, address = await accept_patiently(self._socket, self._backoff)
        return TcpStream(_detach(accepted)), endpoint_of(address)

    async def aclose(self) -> None:
        """Stop listening."""
        self._socket.close()
        await trio.lowlevel.checkpoint()


async def accept_patiently(
    listening: trio.socket.SocketType, backoff: AcceptBackoff
) -> tuple[trio.socket.SocketType, object]:
    """Accept a connection. Callers that hung up are skipped; when the machine has no resources left, it waits."""
    while True:
        try:
            return await listening.accept()
        except OSError as error:
            if listening.fileno() < 0:
                raise trio.ClosedResourceError from error
            if error.errno not in HUNG_UP:
                await backoff.wait(error)


def _detach(opened: trio.socket.SocketType) -> socket.socket:
    """The same socket without Trio's wrapper."""
    return socket.socket(opened.family, opened.type, opened.proto, opened.detach())
