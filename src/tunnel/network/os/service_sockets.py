"""A server's UDP sockets: on the wildcard address each datagram tells the address it came to, and answers leave from
it.

RFC 1122 section 4.1.3.5 requires it of every UDP service. On Linux: ip(7) IP_PKTINFO, RFC 3542 section 6.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Iterator
from functools import lru_cache

import trio

from tunnel.model.endpoint import Endpoint, packed_host
from tunnel.model.offload import Offload
from tunnel.network.datagrams import BATCH, Segments
from tunnel.network.os.sockets import RealUdpSocket, open_udp

_IP_PKTINFO = 8  # <linux/in.h>; Python names it from 3.14 on
_INFO = struct.Struct("=i4s4s")
"""Interface, the address of ours (spec_dst), the destination in the packet: a broadcast address, perhaps."""
_INFO6 = struct.Struct("=16sI")
"""Address, interface."""


class RealServiceSockets:
    """Opens UDP sockets of the kernel for a server."""

    def __init__(self, without: frozenset[Offload] = frozenset()) -> None:
        """`without`: offloads that are not used though the kernel may have them."""
        self._without = without

    async def open_service_socket(self, local: Endpoint) -> RealServiceSocket:
        """Bind. Raises DeviceError with the remedy."""
        await trio.lowlevel.checkpoint()
        return RealServiceSocket(open_udp(local), self._without)


class RealServiceSocket(RealUdpSocket[tuple[bytes, Endpoint, str]]):
    """A bound UDP socket of the kernel, for a service."""

    def __init__(self, opened: socket.socket, without: frozenset[Offload] = frozenset()) -> None:
        super().__init__(opened, without)
        self._own = self._local.host
        if self._local.is_wildcard:
            if self._local.is_ipv6:
                opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
            else:
                opened.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)

    def send_nowait(self, datagram: bytes, remote: Endpoint, source: str) -> bool:
        """Send from `source` at once. False: the kernel did not take it, for whatever reason."""
        return self.send_segments(Segments(datagram, remote), remote, source) == 1

    def send_segments(self, segments: Segments, remote: Endpoint, source: str) -> int:
        """Send what was received on, unchanged; how many datagrams the kernel took."""
        if self._closed:
            raise trio.ClosedResourceError
        ancillary = (_source_message(source),) if self._local.is_wildcard else ()
        data, size = segments.data, segments.segment_size
        count = -(-len(data) // size) if size else 1
        if self._send_at_once([data], count, size, remote, ancillary):
            return count
        if count == 1:
            return 0
        return self._send_each([(data[at : at + size],) for at in range(0, len(data), size)], remote, ancillary)

    async def receive_segments(self) -> Iterator[Segments]:
        """Wait for at least one datagram; at most BATCH reads, each made when it is taken."""
        first = await self._receive_first()
        return self._read_on(first)

    def _read_into(self, batch: list[tuple[bytes, Endpoint, str]]) -> None:
        while len(batch) < BATCH:
            segments = self._read()
            batch += [(datagram, segments.remote, segments.own) for datagram in segments.datagrams()]

    def _own_address(self, level: int, data: bytes) -> str:
        return _destination_of(level, data)


@lru_cache(256)
def _destination_of(level: int, data: bytes) -> str:
    """Cached: it is needed for each datagram, and a machine has few addresses."""
    if level == socket.IPPROTO_IP:
        _, own, _ = _INFO.unpack(data)
        return socket.inet_ntoa(own)
    packed, interface = _INFO6.unpack(data)
    own6 = ipaddress.IPv6Address(packed)
    return f"{own6}%{interface}" if own6.is_link_local else str(own6)


@lru_cache(256)
def _source_message(source: str) -> tuple[int, int, bytes]:
    """The ancillary message that makes the kernel send from there; for the wildcard address the kernel chooses."""
    if ":" not in source:
        return socket.IPPROTO_IP, _IP_PKTINFO, _INFO.pack(0, packed_host(source), bytes(4))
    _, _, zone = source.partition("%")
    return socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, _INFO6.pack(packed_host(source), int(zone or 0))
