"""The port to UDP sockets: datagrams, one or many at once. Those of the kernel are in network/os/."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

from tunnel.model.buffers import Buffer
from tunnel.model.endpoint import Endpoint
from tunnel.model.offload import Offload
from tunnel.model.way import Way

BATCH = 256
"""Reads that one call makes at most; then other tasks get their turn."""
BATCH_BYTES = 512 * 1024
"""Bytes after which it makes no more: about a millisecond's work. A node that sends must also hear what is answered."""
LEAST_COST = 1024
"""Bytes that a datagram counts as, at least: a stranger's tiny ones come in rows too."""
MAX_SEGMENTS = 64
"""Datagrams of one `Transmit` with a segment size: what every kernel accepts (UDP_MAX_SEGMENTS)."""
MAX_RECEIVED = 65535
"""Bytes of one read."""


class Transmit(NamedTuple):
    """Datagrams that leave by one way."""

    way: Way
    buffers: Sequence[Buffer]
    parts: int = 1
    """How many of the buffers make up one datagram."""
    segment_size: int = 0
    """Bytes of each datagram but the last, which is no longer, so that a socket may hand them over at once
    (UDP_SEGMENT): at most MAX_SEGMENTS and MAX_RECEIVED bytes. 0: they are sent one by one."""
    handle: bytes = b""
    """Of the receiver, for the link to the server."""

    def datagrams(self) -> Iterator[Sequence[Buffer]]:
        """The parts of each."""
        buffers, parts = self.buffers, self.parts
        return (buffers[at : at + parts] for at in range(0, len(buffers), parts))


class Segments(NamedTuple):
    """What one read of a UDP socket brought: one datagram, or several in a row from one sender (UDP_GRO)."""

    data: Buffer
    """A view of a bytearray begins where that begins."""
    remote: Endpoint
    segment_size: int = 0
    """Bytes of each datagram but the last, which is no longer; 0: it is one datagram."""
    own: str = ""
    """The address of ours that they came to, if the socket tells it."""
    is_behind_gap: bool = False
    """The socket's buffer was full just before: what is missing was lost here, not on the path."""

    @property
    def cost(self) -> int:
        """Bytes that it counts as, of BATCH_BYTES."""
        size = len(self.data)
        if not self.segment_size or self.segment_size >= LEAST_COST:
            return size
        return -(-size // self.segment_size) * LEAST_COST

    def datagrams(self) -> list[bytes]:
        """A copy of each."""
        if not self.segment_size:
            return [bytes(self.data)]
        size = self.segment_size
        return [bytes(self.data[at : at + size]) for at in range(0, len(self.data), size)]


class DatagramSocket(Protocol):
    """One UDP socket."""

    @property
    def local(self) -> Endpoint:
        """The bound endpoint; its host may be the wildcard address."""
        ...

    @property
    def offloads(self) -> frozenset[Offload]:
        """What the kernel does for it."""
        ...

    def send_nowait(self, datagram: bytes, remote: Endpoint, ttl: int | None = None) -> bool:
        """Send at once or not at all. False: the kernel did not take it (full buffer, no route, too big)."""
        ...

    def send_batch(self, transmit: Transmit) -> int:
        """The same for each of a batch; how many datagrams the kernel took."""
        ...

    def unsent_bytes(self) -> int:
        """Bytes, with what the kernel keeps beside them, that it took and has not sent yet."""
        ...

    async def receive_batch(self) -> list[tuple[bytes, Endpoint]]:
        """Wait for at least one datagram; at most BATCH. A remote's host is in its shortest numeric form.

        Other tasks always get a turn first, even if datagrams are waiting already.
        """
        ...

    async def receive_segments(self) -> Iterable[Segments]:
        """The same without copies: what was read is valid until the next is taken, and all must be taken at once."""
        ...

    def close(self) -> None:
        """Close; a waiting `receive_batch` raises trio.ClosedResourceError."""
        ...


class ServiceSocket(Protocol):
    """One UDP socket of a server: it tells which address of this machine a datagram came to, and answers from there.

    Clients, NATs and firewalls on the way reject an answer from another address. A plain socket on the wildcard address
    answers from whichever address the route prefers.
    """

    @property
    def local(self) -> Endpoint:
        """The bound endpoint; its host may be the wildcard address."""
        ...

    def send_nowait(self, datagram: bytes, remote: Endpoint, source: str) -> bool:
        """Send from `source`, one of our addresses, at once or not at all. False: the kernel did not take it."""
        ...

    async def receive_batch(self) -> list[tuple[bytes, Endpoint, str]]:
        """Wait for at least one: datagram, remote, and the address of ours that it came to. See `DatagramSocket`."""
        ...

    def send_segments(self, segments: Segments, remote: Endpoint, source: str) -> int:
        """Send what was received on, unchanged, from `source`; how many datagrams the kernel took."""
        ...

    async def receive_segments(self) -> Iterable[Segments]:
        """See `DatagramSocket`; each tells the address of ours that it came to."""
        ...

    def close(self) -> None:
        """Close; a waiting `receive_batch` raises trio.ClosedResourceError."""
        ...


class Datagrams(Protocol):
    """Opens UDP sockets."""

    async def open_socket(self, local: Endpoint) -> DatagramSocket:
        """Bind. Port 0 picks one. IPv6 sockets are IPv6 only. Raises DeviceError with the remedy (port taken, ...)."""
        ...


class ServiceSockets(Protocol):
    """Opens UDP sockets of servers."""

    async def open_service_socket(self, local: Endpoint) -> ServiceSocket:
        """Bind, as `Datagrams.open_socket` does."""
        ...
