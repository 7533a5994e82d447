"""A server's UDP sockets: on the wildcard address each datagram tells the address it came to, and answers leave from
it.

RFC 1122 section 4.1.3.5 requires it of every UDP service. On Linux: ip(7) IP_PKTINFO, RFC 3542 section 6.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from functools import lru_cache

import trio

from tunnel.model.endpoint import Endpoint, packed_host
from tunnel.network.os.sockets import MAX_RECEIVED, RealUdpSocket, endpoint_of, open_udp
from tunnel.network.ports import BATCH

_IP_PKTINFO = 8  # <linux/in.h>; Python names it from 3.14 on
_INFO = struct.Struct("=i4s4s")
"""Interface, the address of ours (spec_dst), the destination in the packet: a broadcast address, perhaps."""
_INFO6 = struct.Struct("=16sI")
"""Address, interface."""
_ROOM = socket.CMSG_SPACE(_INFO6.size)


class RealServiceSockets:
    """Opens UDP sockets of the kernel for a server."""

    async def open_service_socket(self, local: Endpoint) -> RealServiceSocket:
        """Bind. Raises DeviceError with the remedy."""
        await trio.lowlevel.checkpoint()
        return RealServiceSocket(open_udp(local))


class RealServiceSocket(RealUdpSocket[tuple[bytes, Endpoint, str]]):
    """A bound UDP socket of the kernel, for a service."""

    def __init__(self, opened: socket.socket) -> None:
        super().__init__(opened)
        if self._local.is_wildcard:
            if self._local.is_ipv6:
                opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
            else:
                opened.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)

    def send_nowait(self, datagram: bytes, remote: Endpoint, source: str) -> bool:
        """Send from `source` at once. False: the kernel did not take it, for whatever reason."""
        if self._closed:
            raise trio.ClosedResourceError
        try:
            if self._local.is_wildcard:
                self._socket.sendmsg([datagram], [_source_message(source)], 0, remote)
            else:
                self._socket.sendto(datagram, remote)
        except OSError:
            return False
        return True

    def _read_into(self, batch: list[tuple[bytes, Endpoint, str]]) -> None:
        while len(batch) < BATCH:
            batch.append(self._receive())

    def _receive(self) -> tuple[bytes, Endpoint, str]:
        if not self._local.is_wildcard:
            datagram, address = self._socket.recvfrom(MAX_RECEIVED)
            return datagram, endpoint_of(address), self._local.host
        datagram, ancillary, _, address = self._socket.recvmsg(MAX_RECEIVED, _ROOM)
        return (
            datagram,
            endpoint_of(address),
            _destination_of(ancillary[0][0], ancillary[0][2]) if ancillary else self._local.host,
        )


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
