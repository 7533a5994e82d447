"""What real UDP sockets and TCP listeners share: opening, binding, waiting, and error texts with remedies."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import struct
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar

import trio

from tunnel.model.buffers import Buffer
from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import DeviceError
from tunnel.model.offload import Offload
from tunnel.network.datagrams import BATCH, BATCH_BYTES, MAX_RECEIVED, Segments

BUFFER_BYTES = 4 * 1024 * 1024
"""A burst of single datagrams takes half as much again as its bytes: with 2 MB a stream lost a quarter of its start."""

# Linux <in.h> and <in6.h>; Python's socket module does not name them all.
_IP_MTU_DISCOVER = 10
_IPV6_MTU_DISCOVER = 23
_PMTUDISC_PROBE = 3
"""Set the don't-fragment bit and ignore what ICMP says of the path MTU: our probes measure it."""
_UDP_SEGMENT, _UDP_GRO = 103, 104
"""Linux <udp.h>; they tell segment sizes."""
_SIZE = struct.Struct("=H")
_SO_RXQ_OVFL = 40
"""Linux <socket.h>: each read tells how often the buffer has been full, once it was."""
_ANCILLARY_ROOM = 2 * socket.CMSG_SPACE(4) + socket.CMSG_SPACE(20)
"""The segment size, how often the buffer was full, and the address that a datagram came to."""
_FORCED = {socket.SO_RCVBUF: 33, socket.SO_SNDBUF: 32}
"""SO_RCVBUFFORCE and SO_SNDBUFFORCE: beyond the system's limit, for root only."""

_BUFFERS = [bytearray(MAX_RECEIVED)]
_VIEW = memoryview(_BUFFERS[0])
"""Where all sockets read to: what one has read is taken before another task has its turn, so before another reads."""

REFUSAL = 60.0
"""Seconds after which UDP_SEGMENT is tried again where the kernel refused it: the route may lead elsewhere by then."""

log = logging.getLogger(__name__)

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
    """A bound UDP socket of the kernel: waiting, batches, offloads and closing. Subclasses send and collect.

    Trio's own `recvfrom` costs five times as much per datagram as `wait_readable` and a batch of non-blocking calls.
    """

    def __init__(self, opened: socket.socket, without: frozenset[Offload]) -> None:
        self._socket = opened
        self._local = endpoint_of(opened.getsockname())
        self._closed = False
        self._own = ""
        """The address of ours that datagrams come to, where no ancillary message tells it."""
        self._address: object = None
        self._remote = self._local
        self._overflows = b""
        self._offloads = _find_offloads(opened) - without
        with contextlib.suppress(OSError):  # a filter of system calls, for instance
            opened.setsockopt(socket.SOL_SOCKET, _SO_RXQ_OVFL, 1)
        if Offload.UDP_GRO in self._offloads:
            try:
                opened.setsockopt(socket.SOL_UDP, _UDP_GRO, 1)
            except OSError:
                self._offloads -= {Offload.UDP_GRO}
        self._is_segmenting = Offload.UDP_SEGMENT in self._offloads
        self._refused_until = 0.0
        """Until when UDP_SEGMENT is not tried, since the kernel refused it; 0.0 if it did not."""
        self._is_refusal_told = False

    @property
    def local(self) -> Endpoint:
        """The bound endpoint."""
        return self._local

    @property
    def offloads(self) -> frozenset[Offload]:
        """What the kernel does for this socket now."""
        return self._offloads - {Offload.UDP_SEGMENT} if self._is_refused() else self._offloads

    async def receive_batch(self) -> list[_Received]:
        """Wait for at least one datagram; after BATCH other tasks get their turn."""
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

    async def _receive_first(self) -> Segments:
        while True:
            if self._closed:
                raise trio.ClosedResourceError
            await trio.lowlevel.wait_readable(self._socket)
            try:
                return self._read()
            except OSError:
                continue  # likewise

    def _read_on(self, first: Segments) -> Iterator[Segments]:
        yield first
        left = BATCH_BYTES - first.cost
        try:
            for _ in range(BATCH - 1):
                if left <= 0:
                    return
                segments = self._read()
                left -= segments.cost
                yield segments
        except OSError:
            return

    def _read(self) -> Segments:
        """One read. Raises OSError when there is nothing."""
        size, ancillary, _, address = self._socket.recvmsg_into(_BUFFERS, _ANCILLARY_ROOM)
        if address != self._address:
            self._address, self._remote = address, endpoint_of(address)
        segment_size, own, is_behind_gap = 0, self._own, False
        for level, kind, data in ancillary:
            if level == socket.SOL_UDP and kind == _UDP_GRO:
                segment_size = int.from_bytes(data[:4], sys.byteorder)
            elif level == socket.SOL_SOCKET and kind == _SO_RXQ_OVFL:
                is_behind_gap, self._overflows = data != self._overflows, data
            else:
                own = self._own_address(level, data)
        return Segments(_VIEW[:size], self._remote, segment_size if segment_size < size else 0, own, is_behind_gap)

    def _own_address(self, level: int, data: bytes) -> str:  # noqa: ARG002 - only services ask for such messages
        """The address of ours that an ancillary message tells."""
        return ""

    def _send_at_once(
        self,
        buffers: Sequence[Buffer],
        count: int,
        segment_size: int,
        remote: Endpoint,
        ancillary: Sequence[tuple[int, int, bytes]],
    ) -> bool:
        """Send `count` datagrams that lie in these buffers by one call. False: the kernel took none."""
        if count > 1:
            if not segment_size or not self._is_segmenting or (self._refused_until and self._is_refused()):
                return False
            ancillary = (*ancillary, (socket.SOL_UDP, _UDP_SEGMENT, _SIZE.pack(segment_size)))
        try:
            self._socket.sendmsg(buffers, ancillary, 0, remote)
        except OSError as error:
            if error.errno == errno.EIO and count > 1:
                self._note_refused()
            return False
        return True

    def _note_refused(self) -> None:
        """The interface that the route leads to computes no checksums, or IPsec is there (udp(7))."""
        self._refused_until = trio.current_time() + REFUSAL
        if not self._is_refusal_told:
            self._is_refusal_told = True
            log.info(
                "the kernel refuses UDP_SEGMENT here, each datagram is sent by itself port=%d again_in=%g",
                self._local.port,
                REFUSAL,
            )

    def _is_refused(self) -> bool:
        return self._refused_until > 0.0 and trio.current_time() < self._refused_until

    def _send_each(
        self,
        datagrams: Iterable[Sequence[Buffer]],
        remote: Endpoint,
        ancillary: Sequence[tuple[int, int, bytes]],
    ) -> int:
        """Send datagrams, given by their parts, one by one, until the buffer is full; how many the kernel took.

        Those behind belong to a record of which a part is lost.
        """
        sent = 0
        for parts in datagrams:
            try:
                self._socket.sendmsg(parts, ancillary, 0, remote)
            except BlockingIOError:
                break
            except OSError:
                continue
            sent += 1
        return sent


def _find_offloads(opened: socket.socket) -> frozenset[Offload]:
    """Those that the kernel knows for UDP sockets."""
    found = set()
    for offload, option in ((Offload.UDP_SEGMENT, _UDP_SEGMENT), (Offload.UDP_GRO, _UDP_GRO)):
        with contextlib.suppress(OSError):
            opened.getsockopt(socket.SOL_UDP, option)
            found.add(offload)
    return frozenset(found)


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
