"""The port to TCP and UDP on the tunnel's addresses, whichever side has them: a kernel, or a stack of our own.

A node's listeners and datagram sockets are reached by other nodes, over the tunnel alone: not from the LAN, and not
from the internet. Streams are `trio.abc.HalfCloseableStream`: a reset one raises trio.BrokenResourceError, one that
this side has closed trio.ClosedResourceError.
"""

from __future__ import annotations

from typing import Protocol

import trio

from tunnel.model.endpoint import Endpoint

BACKLOG = 128
"""Connections that wait to be accepted, unless told otherwise."""


class TunnelListener(Protocol):
    """Accepts streams at one endpoint of the tunnel. It is a `StreamListener` (ports.py) of streams that half-close."""

    @property
    def local(self) -> Endpoint:
        """The bound endpoint."""
        ...

    async def accept(self) -> tuple[trio.abc.HalfCloseableStream, Endpoint]:
        """The next stream and the peer's endpoint. Raises DeviceError if this node has lost the address for good."""
        ...

    async def aclose(self) -> None:
        """Stop listening. Streams that were accepted go on; who waits in `accept` gets trio.ClosedResourceError."""
        ...


class TunnelDatagrams(Protocol):
    """Sends and receives datagrams at one endpoint of the tunnel.

    What nobody has received yet waits, bounded in bytes; more than that is dropped.
    """

    @property
    def local(self) -> Endpoint:
        """The bound endpoint."""
        ...

    async def send(self, datagram: bytes, remote: Endpoint) -> None:
        """Send one, at most 65,507 bytes. Raises Unreachable if it cannot leave: too long, or not into the tunnel."""
        ...

    async def receive(self) -> tuple[bytes, Endpoint]:
        """The next one, and whom it is from."""
        ...

    async def aclose(self) -> None:
        """Close; who waits gets trio.ClosedResourceError."""
        ...


class Sockets(Protocol):
    """Opens them. A local host is one of the node's tunnel addresses, or the wildcard of a family: all that it has."""

    async def open_stream(self, remote: Endpoint) -> trio.abc.HalfCloseableStream:
        """Connect to a tunnel address.

        Raises Unreachable with the cause: refused, timed out, not an address of the tunnel, none of our own.
        """
        ...

    async def open_listener(self, local: Endpoint, backlog: int = BACKLOG) -> TunnelListener:
        """Listen. Port 0 picks one. Raises DeviceError with the remedy: the port is taken, the address is not ours."""
        ...

    async def open_datagrams(self, local: Endpoint) -> TunnelDatagrams:
        """Bind. Port 0 picks one. Raises DeviceError with the remedy, as `open_listener`."""
        ...
