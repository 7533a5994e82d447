"""UDP sockets of the kernel: batches, the don't-fragment bit, a TTL for a single datagram, no ICMP errors."""

from __future__ import annotations

import fcntl
import socket
import struct
import termios
from array import array
from collections.abc import Iterator

import trio

from tunnel.model.endpoint import Endpoint
from tunnel.model.offload import Offload
from tunnel.network.datagrams import BATCH, Segments, Transmit
from tunnel.network.os.sockets import RealUdpSocket, open_udp


class RealDatagrams:
    """Opens UDP sockets of the kernel."""

    def __init__(self, without: frozenset[Offload] = frozenset()) -> None:
        """`without`: offloads that are not used though the kernel may have them."""
        self._without = without

    async def open_socket(self, local: Endpoint) -> RealDatagramSocket:
        """Bind. Raises DeviceError with the remedy."""
        await trio.lowlevel.checkpoint()
        return RealDatagramSocket(open_udp(local), self._without)


class RealDatagramSocket(RealUdpSocket[tuple[bytes, Endpoint]]):
    """A bound UDP socket of the kernel."""

    def __init__(self, opened: socket.socket, without: frozenset[Offload] = frozenset()) -> None:
        super().__init__(opened, without)
        self._unsent = array("i", [0])
        self._ttl_option = (
            (socket.IPPROTO_IPV6, socket.IPV6_HOPLIMIT)
            if opened.family == socket.AF_INET6
            else (socket.IPPROTO_IP, socket.IP_TTL)
        )

    def send_nowait(self, datagram: bytes, remote: Endpoint, ttl: int | None = None) -> bool:
        """Send at once. False: the kernel did not take it, for whatever reason."""
        if self._closed:
            raise trio.ClosedResourceError
        try:
            if ttl is None:
                self._socket.sendto(datagram, remote)
            else:
                ancillary = [(*self._ttl_option, struct.pack("i", ttl))]
                self._socket.sendmsg([datagram], ancillary, 0, remote)
        except OSError:
            return False
        return True

    def send_batch(self, transmit: Transmit) -> int:
        """Send at once, in one call if possible; how many datagrams the kernel took."""
        if self._closed:
            raise trio.ClosedResourceError
        way, buffers, parts, segment_size, _ = transmit
        assert way.remote is not None
        count = len(buffers) // parts
        if self._send_at_once(buffers, count, segment_size, way.remote, ()):
            return count
        return 0 if count == 1 else self._send_each(transmit.datagrams(), way.remote, ())

    def unsent_bytes(self) -> int:
        """What waits in this machine's queues: for a network card, a shaper, a neighbor's address."""
        if self._closed:
            return 0
        fcntl.ioctl(self._socket, termios.TIOCOUTQ, self._unsent)
        return self._unsent[0]

    async def receive_segments(self) -> Iterator[Segments]:
        """Wait for at least one datagram; at most BATCH reads, each made when it is taken."""
        first = await self._receive_first()
        return self._read_on(first)

    def _read_into(self, batch: list[tuple[bytes, Endpoint]]) -> None:
        while len(batch) < BATCH:
            segments = self._read()
            batch += [(datagram, segments.remote) for datagram in segments.datagrams()]
