"""The node's UDP sockets, by number: opened, read, closed. What comes in goes to the data plane (dataplane/inbound.py).

One socket per address family stays open as long as the node runs. Punches open more and close them again. A number is
never used twice, so nothing that refers to a closed socket reaches another one.
"""

from __future__ import annotations

import contextlib
import itertools
import logging

import trio

from tunnel.dataplane.inbound import Inbound
from tunnel.dataplane.outbound import Exit
from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import DeviceError
from tunnel.model.offload import Offload
from tunnel.model.way import Way
from tunnel.network.datagrams import Datagrams, DatagramSocket
from tunnel.riders.loop_guard import LoopGuard
from tunnel.wire.circuits import encode_passed

log = logging.getLogger(__name__)

FIRST_EXTRA = 2
"""The first number after those that stay: one per address family."""


class UdpSockets:
    """`await open()`, then run `receive_all`; `close` at the end."""

    def __init__(self, exits: dict[int, Exit], guard: LoopGuard | None = None) -> None:
        """`exits`: where the data plane finds what sends on each socket, by its number.

        `guard` is told of each datagram that leaves; None: nobody needs one where there is no interface.
        """
        self._exits = exits
        self._guard = guard
        self.sockets: list[DatagramSocket] = []
        """Those that stay, by number."""
        self._extra: dict[int, DatagramSocket] = {}
        self._numbers = itertools.count(FIRST_EXTRA)
        self._datagrams: Datagrams | None = None
        self._reader: tuple[trio.Nursery, Inbound] | None = None

    async def open(self, datagrams: Datagrams, port: int) -> None:
        """IPv4, and IPv6 on the same port where the machine has it. Raises DeviceError when not even IPv4 works."""
        self._datagrams = datagrams
        first = await datagrams.open_socket(Endpoint("0.0.0.0", port))
        self._keep(first)
        try:
            self._keep(await datagrams.open_socket(Endpoint("::", first.local.port)))
        except DeviceError as error:
            log.info("no IPv6 socket", extra={"error": error})

    def families(self) -> list[tuple[int, bool]]:
        """Number and family (True: IPv6) of each socket that stays."""
        return [(number, socket.local.is_ipv6) for number, socket in enumerate(self.sockets)]

    @property
    def offloads(self) -> frozenset[Offload]:
        """What the kernel does for all of those that stay."""
        return frozenset.intersection(*(socket.offloads for socket in self.sockets)) if self.sockets else frozenset()

    def unsent_bytes(self) -> int:
        """Bytes that the kernel has not sent yet."""
        return sum([socket.unsent_bytes() for socket in (*self.sockets, *self._extra.values())])

    def send(self, way: Way, datagram: bytes, ttl: int | None = None) -> bool:
        """Send one datagram, now or not at all: probes, handshakes and binds. A socket that is closed sends nothing."""
        assert way.remote is not None
        if self._guard is not None:
            self._guard.note_sent(datagram)
        if way.circuit:
            datagram = encode_passed(way.circuit, datagram)
        socket = self.sockets[way.socket] if way.socket < len(self.sockets) else self._extra.get(way.socket)
        return socket is not None and socket.send_nowait(datagram, way.remote, ttl)

    @property
    def extra(self) -> tuple[int, ...]:
        """Numbers of the sockets that punches have opened and not closed."""
        return tuple(self._extra)

    async def open_extra(self) -> int:
        """One more IPv4 socket on any port, its number; it receives until `close_extra`.

        Raises DeviceError, also before the node receives at all.
        """
        if self._datagrams is None or self._reader is None:
            raise DeviceError("the node receives nothing yet")
        socket = await self._datagrams.open_socket(Endpoint("0.0.0.0", 0))
        number = next(self._numbers)
        self._extra[number] = socket
        self._exits[number] = socket.send_batch
        nursery, inbound = self._reader
        nursery.start_soon(self._receive_extra, number, socket, inbound)
        return number

    def close_extra(self, number: int) -> None:
        """Close one of those. A number that is closed already is ignored."""
        socket = self._extra.pop(number, None)
        if socket is not None:
            del self._exits[number]
            socket.close()

    async def receive_all(self, inbound: Inbound) -> None:
        """Receive on every socket, for ever."""
        async with trio.open_nursery() as nursery:
            self._reader = nursery, inbound
            for number, socket in enumerate(self.sockets):
                nursery.start_soon(self._receive, number, socket, inbound)

    def close(self) -> None:
        """Close the sockets."""
        for number in list(self._extra):
            self.close_extra(number)
        for number, socket in enumerate(self.sockets):
            del self._exits[number]
            socket.close()

    def _keep(self, socket: DatagramSocket) -> None:
        self._exits[len(self.sockets)] = socket.send_batch
        self.sockets.append(socket)

    async def _receive(self, number: int, socket: DatagramSocket, inbound: Inbound) -> None:
        while True:
            reads = await socket.receive_segments()
            inbound.receive(number, reads, trio.current_time())

    async def _receive_extra(self, number: int, socket: DatagramSocket, inbound: Inbound) -> None:
        with contextlib.suppress(trio.ClosedResourceError):
            await self._receive(number, socket, inbound)
