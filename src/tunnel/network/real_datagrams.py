"""UDP sockets of the kernel: batches, the don't-fragment bit, a TTL for one datagram, and no errors from afar.

Trio's own `recvfrom` costs five times as much per datagram as `wait_readable` and a batch of non-blocking calls.
"""

from __future__ import annotations

import socket
import struct

import trio

from tunnel.model.endpoint import Endpoint
from tunnel.network.ports import BATCH
from tunnel.network.real_sockets import MAX_RECEIVED, endpoint_of, open_udp


class RealDatagrams:
    """Opens UDP sockets of the kernel."""

    async def open_socket(self, local: Endpoint) -> RealDatagramSocket:
        """Bind. Raises DeviceError with the remedy."""
        await trio.lowlevel.checkpoint()
        return RealDatagramSocket(open_udp(local))


class RealDatagramSocket:
    """A bound UDP socket of the kernel."""

    def __init__(self, opened: socket.socket) -> None:
        self._socket = opened
        self._local = endpoint_of(opened.getsockname())
        self._closed = False
        self._ttl_option = (
            (socket.IPPROTO_IPV6, socket.IPV6_HOPLIMIT)
            if opened.family == socket.AF_INET6
            else (socket.IPPROTO_IP, socket.IP_TTL)
        )

    @property
    def local(self) -> Endpoint:
        """The bound endpoint."""
        return self._local

    def send_nowait(self, datagram: bytes, remote: Endpoint, ttl: int | None = None) -> bool:
        """Send at once. False: the kernel took it not, for whatever reason."""
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

    async def receive_batch(self) -> list[tuple[bytes, Endpoint]]:
        """Wait for at least one datagram; at most BATCH."""
        batch: list[tuple[bytes, Endpoint]] = []
        while not batch:
            if self._closed:
                raise trio.ClosedResourceError
            await trio.lowlevel.wait_readable(self._socket)
            try:
                while len(batch) < BATCH:
                    datagram, address = self._socket.recvfrom(MAX_RECEIVED)
                    batch.append((datagram, endpoint_of(address)))
            except OSError:
                pass  # empty now, or an ICMP error about something sent earlier: no news for a reader
        return batch

    def close(self) -> None:
        """Close."""
        if not self._closed:
            self._closed = True
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()
