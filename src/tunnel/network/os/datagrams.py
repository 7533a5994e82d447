"""UDP sockets of the kernel: batches, the don't-fragment bit, a TTL for a single datagram, no ICMP errors."""

from __future__ import annotations

import socket
import struct

import trio

from tunnel.model.endpoint import Endpoint
from tunnel.network.os.sockets import MAX_RECEIVED, RealUdpSocket, endpoint_of, open_udp
from tunnel.network.ports import BATCH, Transmit


class RealDatagrams:
    """Opens UDP sockets of the kernel."""

    async def open_socket(self, local: Endpoint) -> RealDatagramSocket:
        """Bind. Raises DeviceError with the remedy."""
        await trio.lowlevel.checkpoint()
        return RealDatagramSocket(open_udp(local))


class RealDatagramSocket(RealUdpSocket[tuple[bytes, Endpoint]]):
    """A bound UDP socket of the kernel."""

    def __init__(self, opened: socket.socket) -> None:
        super().__init__(opened)
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
        """Send each at once; how many the kernel took."""
        if self._closed:
            raise trio.ClosedResourceError
        send, remote, sent = self._socket.sendto, transmit.way.remote, 0
        assert remote is not None
        for datagram in transmit.buffers:
            try:
                send(datagram, remote)
            except OSError:
                continue
            sent += 1
        return sent

    def _read_into(self, batch: list[tuple[bytes, Endpoint]]) -> None:
        last = remote = None
        while len(batch) < BATCH:
            datagram, address = self._socket.recvfrom(MAX_RECEIVED)
            if address != last or remote is None:
                last, remote = address, endpoint_of(address)
            batch.append((datagram, remote))
