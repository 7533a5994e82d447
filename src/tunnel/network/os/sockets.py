"""What real UDP sockets and TCP listeners share: opening, binding, waiting, and error texts with remedies."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from abc import ABC, abstractmethod
from typing import Any, Generic, TypeVar

import trio

from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import DeviceError

MAX_RECEIVED = 65535
"""Bytes of one datagram."""
BUFFER_BYTES = 4 * 1024 * 1024

# Linux <in.h> and <in6.h>; Python's socket module does not name them all.
_IP_MTU_DISCOVER = 10
_IPV6_MTU_DISCOVER = 23
_PMTUDISC_PROBE = 3
"""Set the don't-fragment bit and ignore what ICMP says of the path MTU: our probes measure it."""
_FORCED = {socket.SO_RCVBUF: 33, socket.SO_SNDBUF: 32}
"""SO_RCVBUFFORCE and SO_SNDBUFFORCE: beyond the system's limit, for root only."""

_Received = TypeVar("_Received")
"""What a kind of socket returns for a datagram."""


def open_bound(kind: socket.SocketKind, local: Endpoint) -> socket.socket:
    """A non-blocking socket bound to `local`; an IPv6 one takes no IPv4. Raises DeviceError with the remedy."""
    protocol = "UDP" if kind is socket.SOCK_DGRAM else "TCP"
    try:
        opened = socket.socket(socket.AF_INET6 if local.is_ipv6 else socket.AF_INET, kind)
    except OSError as error:
        raise DeviceError(f"no {protocol} socket for {local}: {describe(error)}") from error
    try:
        opened.setblocking(False)
        if local.is_ipv6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if kind is socket.SOCK_STREAM:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(local)
    except OSError as error:
        opened.close()
        raise DeviceError(f"{protocol} {local} cannot be used: {describe(error)}") from error
    return opened


def open_udp(local: Endpoint) -> socket.socket:
    """A bound UDP socket with large buffers, which never fragments. Raises DeviceError with the remedy."""
    opened = open_bound(socket.SOCK_DGRAM, local)
    if local.is_ipv6:
        opened.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _PMTUDISC_PROBE)
    else:
        opened.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _PMTUDISC_PROBE)
    for option, forced in _FORCED.items():
        opened.setsockopt(socket.SOL_SOCKET, option, BUFFER_BYTES)
        with contextlib.suppress(PermissionError):
            opened.setsockopt(socket.SOL_SOCKET, forced, BUFFER_BYTES)
    return opened


class RealUdpSocket(ABC, Generic[_Received]):
    """A bound UDP socket of the kernel: waiting, batches and closing. Subclasses send and read.

    Trio's own `recvfrom` costs five times as much per datagram as `wait_readable` and a batch of non-blocking calls.
    """

    def __init__(self, opened: socket.socket) -> None:
        self._socket = opened
        self._local = endpoint_of(opened.getsockname())
        self._closed = False

    @property
    def local(self) -> Endpoint:
        """The bound endpoint."""
        return self._local

    async def receive_batch(self) -> list[_Received]:
        """Wait for at least one datagram; at most BATCH."""
        batch: list[_Received] = []
        while not batch:
            if self._closed:
                raise trio.ClosedResourceError
            await trio.lowlevel.wait_readable(self._socket)
            try:
                self._read_into(batch)
            except OSError:
                continue  # empty now, or an ICMP error about an earlier datagram, which no reader needs
        return batch

    def close(self) -> None:
        """Close."""
        if not self._closed:
            self._closed = True
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()

    @abstractmethod
    def _read_into(self, batch: list[_Received]) -> None:
        """Append waiting datagrams until there are BATCH, or until the kernel has no more and raises OSError."""


def describe(error: OSError) -> str:
    """An error of the operating system as a sentence, with a remedy if there is one."""
    match error.errno:
        case errno.EADDRINUSE:
            return "another program has this port; choose another one, or 0 for any free one"
        case errno.EACCES:
            return "ports below 1024 need root; choose a higher one"
        case errno.EADDRNOTAVAIL:
            return "this machine does not have that address; use one of its own, or 0.0.0.0"
        case errno.EAFNOSUPPORT:
            return "this machine has that protocol family switched off"
        case None:
            return str(error)
        case number:
            return os.strerror(number)


def endpoint_of(address: Any) -> Endpoint:
    """The endpoint in a socket address of Python's socket module. A link-local IPv6 address keeps its zone."""
    if len(address) == 4 and address[3]:
        return Endpoint(f"{address[0].partition('%')[0]}%{address[3]}", address[1])
    return Endpoint(address[0], address[1])
