"""The node's UDP sockets and the way of each datagram: by its first byte to the survey, or by its index to a peer.

One socket a family stays as long as the node. Punches open more and close them again; a number is never used twice, so
what is said of a socket that is gone is never taken for another one.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
from collections.abc import Callable
from dataclasses import dataclass

import trio

from tunnel.dataplane.flow_index import FlowIndex
from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import DeviceError, MalformedFrame, NotAuthentic
from tunnel.model.way import Way
from tunnel.network.ports import Datagrams, DatagramSocket
from tunnel.riders.loop_guard import LoopGuard
from tunnel.wire.circuits import encode_passed
from tunnel.wire.frames import HEADER, HEADER_BYTES, Kind
from tunnel.wire.stun import is_stun

log = logging.getLogger(__name__)

FIRST_EXTRA = 2
"""There is one socket a family that stays."""
_KINDS = {int(kind): kind for kind in (Kind.DATA, Kind.CONTROL, Kind.HANDSHAKE, Kind.PROBE)}


@dataclass(slots=True)
class DatagramCounts:
    """What came in and was of no use."""

    malformed: int = 0
    unknown_index: int = 0
    not_authentic: int = 0
    unsent: int = 0
    failed: int = 0
    """Bugs of ours that a datagram has found."""


class DatagramPlane:
    """Opens one socket a family, receives on all of them, and hands each datagram to whom it is for."""

    def __init__(
        self,
        indices: FlowIndex,
        on_stun: Callable[[int, bytes, Endpoint], None],
        on_relayed: Callable[[bytes, Endpoint], None] | None = None,
        guard: LoopGuard | None = None,
    ) -> None:
        """`on_stun(socket, datagram, remote)` takes STUN, `on_relayed(datagram, remote)` what a UDP relay says.

        `guard` is told of each datagram that leaves; nobody needs one where there is no interface.
        """
        self._indices = indices
        self._on_stun = on_stun
        self._on_relayed = on_relayed
        self._guard = guard
        self.sockets: list[DatagramSocket] = []
        """Those that stay, by number."""
        self._extra: dict[int, DatagramSocket] = {}
        self._numbers = itertools.count(FIRST_EXTRA)
        self._datagrams: Datagrams | None = None
        self._nursery: trio.Nursery | None = None
        self.counts = DatagramCounts()

    async def open(self, datagrams: Datagrams, port: int) -> None:
        """IPv4, and IPv6 on the same port where the machine has it. Raises DeviceError when not even IPv4 works."""
        self._datagrams = datagrams
        first = await datagrams.open_socket(Endpoint("0.0.0.0", port))
        self.sockets.append(first)
        try:
            self.sockets.append(await datagrams.open_socket(Endpoint("::", first.local.port)))
        except DeviceError as error:
            log.info("no IPv6 socket", extra={"error": error})

    def families(self) -> list[tuple[int, bool]]:
        """Number and family (True: IPv6) of each socket that stays."""
        return [(number, socket.local.is_ipv6) for number, socket in enumerate(self.sockets)]

    def send(self, way: Way, datagram: bytes, ttl: int | None = None) -> bool:
        """Send on one of our sockets, now or not at all. One that is closed sends nothing."""
        assert way.remote is not None
        if self._guard is not None:
            self._guard.note_sent(datagram)
        if way.circuit:
            datagram = encode_passed(way.circuit, datagram)
        socket = self.sockets[way.socket] if way.socket < len(self.sockets) else self._extra.get(way.socket)
        if socket is not None and socket.send_nowait(datagram, way.remote, ttl):
            return True
        self.counts.unsent += 1
        return False

    @property
    def extra(self) -> tuple[int, ...]:
        """Numbers of those that were opened beyond them, and are open."""
        return tuple(self._extra)

    async def open_extra(self) -> int:
        """One more IPv4 socket on any port, its number; it receives until `close_extra`.

        Raises DeviceError, also before the node receives at all.
        """
        if self._datagrams is None or self._nursery is None:
            raise DeviceError("the node receives nothing yet")
        socket = await self._datagrams.open_socket(Endpoint("0.0.0.0", 0))
        number = next(self._numbers)
        self._extra[number] = socket
        self._nursery.start_soon(self._receive_extra, number, socket)
        return number

    def close_extra(self, number: int) -> None:
        """Close one of those; a number that is closed already is nothing."""
        socket = self._extra.pop(number, None)
        if socket is not None:
            socket.close()

    async def receive_all(self) -> None:
        """Receive on every socket, for ever."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            for number, socket in enumerate(self.sockets):
                nursery.start_soon(self._receive, number, socket)

    def close(self) -> None:
        """Close the sockets."""
        for number in list(self._extra):
            self.close_extra(number)
        for socket in self.sockets:
            socket.close()

    def dispatch_untrusted(self, datagram: bytes, way: Way) -> None:
        """One datagram from anywhere. Whatever it holds, it costs a count at most."""
        if len(datagram) < HEADER_BYTES:
            self.counts.malformed += 1
            return
        if datagram[0] < 2 and way.is_direct and way.remote is not None and is_stun(datagram):
            self._on_stun(way.socket, datagram, way.remote)
            return
        kind_byte, _, _, index, _ = HEADER.unpack_from(datagram)
        kind = _KINDS.get(kind_byte)
        if kind is None:
            if kind_byte == Kind.RELAYED and way.is_direct and way.remote is not None and self._on_relayed is not None:
                self._on_relayed(datagram, way.remote)
            else:
                self.counts.malformed += 1
            return
        owners = self._indices.owners(kind_byte, index)
        if not owners:
            self.counts.unknown_index += 1
        for owner in owners:
            try:
                owner.handle_untrusted(kind, datagram, way)
                return
            except NotAuthentic:
                self.counts.not_authentic += 1
            except MalformedFrame as error:
                self.counts.malformed += 1
                log.debug("malformed kind=%s error=%s", kind.name, error)
            except Exception as error:  # a bug of ours costs one peer, never the node
                self.counts.failed += 1
                owner.fail(error)
                return

    async def _receive(self, number: int, socket: DatagramSocket) -> None:
        while True:
            for datagram, remote in await socket.receive_batch():
                self.dispatch_untrusted(datagram, Way(number, remote))

    async def _receive_extra(self, number: int, socket: DatagramSocket) -> None:
        with contextlib.suppress(trio.ClosedResourceError):
            await self._receive(number, socket)
