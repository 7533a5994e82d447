"""Byte streams in memory: a simplified TCP, over packets that may be lost, delayed or reordered.

Each host knows a stream by its two endpoints as that host sees them, so a NAT may be in between. Segments are numbered;
a lost one is sent again after a growing delay; a reader that does not read stops the writer (a window). There are no
acknowledgements as packets (the internet tells the sender of a loss), and there is no congestion control.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol

import trio

from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import Unreachable
from tunnel.verify.memory.packet import Ether, Fate, MemoryPacket, Segment, SegmentKind, StreamEnd

WINDOW = 256 * 1024
"""The most bytes that are sent and not yet read."""
PIECE = 16 * 1024
BACKLOG = 128
FIRST_RETRANSMIT = 0.2
LONGEST_RETRANSMIT = 10.0
GIVE_UP = 900.0
"""Seconds after which a sender whose packets are all lost breaks the stream; Linux takes about as long."""
CONNECT_PATIENCE = 30.0


class StreamHost(Protocol):
    """The host of streams and listeners, as they see it."""

    @property
    def ether(self) -> Ether:
        """The virtual time."""
        ...

    def send(self, packet: MemoryPacket) -> None:
        """Put a packet on its way."""
        ...

    def adopt_stream(self, stream: MemoryStream) -> None:
        """Packets between its two endpoints are for this stream from now on."""
        ...

    def forget_stream(self, stream: MemoryStream) -> None:
        """Deliver no more packets to this stream."""
        ...

    def forget_listener(self, listener: MemoryListener) -> None:
        """Its port is free."""
        ...


class MemoryStream(trio.abc.HalfCloseableStream):
    """One end of a stream."""

    def __init__(self, host: StreamHost, local: Endpoint, remote: Endpoint) -> None:
        self.local = local
        self.remote = remote
        self._host = host
        self._peer: StreamEnd | None = None
        self._established = trio.Event()
        self._next_sequence = 0
        self._outstanding = 0
        self._losing_since: float | None = None
        self._expected = 0
        self._early: dict[int, MemoryPacket] = {}
        self._unread = bytearray()
        self._peer_ended = False
        self._ended = False
        self._closed = False
        self._broken: str | None = None
        self._arrivals = trio.lowlevel.ParkingLot()
        self._credits = trio.lowlevel.ParkingLot()
        self._sending = trio.StrictFIFOLock()

    async def connect(self) -> None:
        """Connect to the other side. Raises Unreachable."""
        self._transmit(SegmentKind.CONNECT)
        with trio.move_on_after(CONNECT_PATIENCE):
            await self._established.wait()
        if self._broken is not None:
            raise Unreachable(f"{self.remote}: {self._broken}")
        if not self._established.is_set():
            raise Unreachable(f"{self.remote} did not answer in {CONNECT_PATIENCE:.0f} s")

    def accepted_from(self, peer: StreamEnd) -> None:
        """Become the accepting end of `peer`'s connection, and tell it."""
        self._peer = peer
        self._established.set()
        self._transmit(SegmentKind.ACCEPT)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send everything; waits while the window is full."""
        async with self._sending:
            view = memoryview(data)
            while True:
                self._check_sendable()
                room = min(WINDOW - self._outstanding, PIECE)
                if view and room > 0:
                    piece, view = bytes(view[:room]), view[room:]
                    self._outstanding += len(piece)
                    self._transmit(SegmentKind.DATA, piece)
                if not view:
                    return
                if self._outstanding >= WINDOW:
                    await self._credits.park()

    async def wait_send_all_might_not_block(self) -> None:
        """Wait for room in the window."""
        await trio.lowlevel.checkpoint()
        self._check_sendable()
        while self._outstanding >= WINDOW:
            await self._credits.park()
            self._check_sendable()

    async def send_eof(self) -> None:
        """End this direction."""
        async with self._sending:
            if not self._ended:
                self._check_sendable()
                self._ended = True
                self._transmit(SegmentKind.END)

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Some bytes; none at the other side's end. What arrived before a reset can still be read."""
        if self._unread or self._closed or self._peer_ended or self._broken is not None:
            await trio.lowlevel.checkpoint()
        while not self._unread:
            if self._closed:
                raise trio.ClosedResourceError
            if self._peer_ended:
                return b""
            if self._broken is not None:
                raise trio.BrokenResourceError(self._broken)
            await self._arrivals.park()
        if self._closed:
            raise trio.ClosedResourceError
        data = bytes(self._unread[:max_bytes])
        del self._unread[: len(data)]
        if self._peer is not None:
            self._peer.credit(len(data))
        return data

    async def aclose(self) -> None:
        """Close both ways. Bytes that nobody read make it a reset, as with TCP."""
        if not self._closed:
            self._closed = True
            if self._unread or not self._established.is_set():
                self.reset()
            elif not self._ended and self._broken is None:
                self._ended = True
                self._transmit(SegmentKind.END)
            self._host.forget_stream(self)
            self._wake_all()
        await trio.lowlevel.checkpoint()

    def reset(self) -> None:
        """Break the stream from this side and tell the other: what a kernel does for a killed process."""
        if self._broken is None:
            self._transmit(SegmentKind.RESET)
            self._break("reset by this side")

    def arrive(self, packet: MemoryPacket) -> None:
        """A packet of this stream came in."""
        segment = packet.segment
        assert segment is not None
        match segment.kind:
            case SegmentKind.CONNECT:
                pass  # a duplicate: the answer is on its way
            case SegmentKind.ACCEPT:
                self._peer = segment.sender
                self._established.set()
            case SegmentKind.RESET:
                self._break("reset by the other side" if self._established.is_set() else "refused")
            case SegmentKind.DATA | SegmentKind.END:
                if segment.sequence >= self._expected:
                    self._early[segment.sequence] = packet
                while (due := self._early.pop(self._expected, None)) is not None:
                    self._expected += 1
                    self._unread += due.payload
                    self._peer_ended = due.segment is not None and due.segment.kind is SegmentKind.END
        if segment.sender is not None:
            segment.sender.came_through()
        self._arrivals.unpark_all()

    def came_through(self) -> None:
        """One of its packets arrived."""
        self._losing_since = None

    def credit(self, count: int) -> None:
        """The other side has read so many bytes: there is room for more."""
        self._outstanding -= count
        self._credits.unpark_all()

    def retransmit(self, lost: MemoryPacket) -> None:
        """Send a lost packet again, after as long as packets have been lost by now, or give up."""
        if lost.segment is not None and lost.segment.kind is SegmentKind.RESET:
            return
        if self._losing_since is None:
            self._losing_since = trio.current_time()
        losing = trio.current_time() - self._losing_since
        if losing > GIVE_UP:
            self._break("the other side does not answer")
            return
        delay = min(max(losing, FIRST_RETRANSMIT), LONGEST_RETRANSMIT)
        self._host.ether.schedule(delay, lambda: self._send_again(lost))

    def _send_again(self, lost: MemoryPacket) -> None:
        if self._broken is None:
            self._host.send(MemoryPacket(self.local, self.remote, lost.payload, segment=lost.segment))

    def _transmit(self, kind: SegmentKind, payload: bytes = b"") -> None:
        segment = Segment(kind, self._next_sequence, self)
        if kind in (SegmentKind.DATA, SegmentKind.END):
            self._next_sequence += 1
        self._host.send(MemoryPacket(self.local, self.remote, payload, segment=segment))

    def _wake_all(self) -> None:
        self._arrivals.unpark_all()
        self._credits.unpark_all()

    def _check_sendable(self) -> None:
        if self._closed or self._ended:
            raise trio.ClosedResourceError
        if self._broken is not None:
            raise trio.BrokenResourceError(self._broken)

    def _break(self, why: str) -> None:
        if self._broken is None:
            self._broken = why
            self._early.clear()
            self._established.set()
            self._host.forget_stream(self)
            self._wake_all()


class MemoryListener:
    """Accepts streams at one endpoint of one host."""

    def __init__(self, host: StreamHost, local: Endpoint) -> None:
        self._host = host
        self._local = local
        self._backlog: deque[MemoryStream] = deque()
        self._acceptors = trio.lowlevel.ParkingLot()
        self._closed = False

    @property
    def local(self) -> Endpoint:
        """The bound endpoint."""
        return self._local

    @property
    def is_closed(self) -> bool:
        """Whether it was closed."""
        return self._closed

    async def accept(self) -> tuple[trio.abc.Stream, Endpoint]:
        """The next stream and where it comes from."""
        await trio.lowlevel.checkpoint()
        while not self._backlog:
            if self._closed:
                raise trio.ClosedResourceError
            await self._acceptors.park()
        stream = self._backlog.popleft()
        return stream, stream.remote

    async def aclose(self) -> None:
        """Stop listening; streams that nobody accepted are reset."""
        self.close()
        await trio.lowlevel.checkpoint()

    def close(self) -> None:
        """`aclose` without the checkpoint."""
        if not self._closed:
            self._closed = True
            while self._backlog:
                self._backlog.popleft().reset()
            self._host.forget_listener(self)
            self._acceptors.unpark_all()

    def arrive(self, packet: MemoryPacket) -> Fate:
        """Accept a connection request."""
        assert packet.segment is not None
        assert packet.segment.sender is not None
        packet.segment.sender.came_through()
        if len(self._backlog) >= BACKLOG:
            return Fate.OVERFLOW
        stream = MemoryStream(self._host, packet.destination, packet.source)
        self._host.adopt_stream(stream)
        stream.accepted_from(packet.segment.sender)
        self._backlog.append(stream)
        self._acceptors.unpark()
        return Fate.DELIVERED
