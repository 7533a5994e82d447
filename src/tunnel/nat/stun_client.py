"""A STUN client with sockets of its own, so that its tests open and disturb no path of the node.

    StunClient -- StunSocket (a fresh socket at a random port) -- StunRequest -- tries, each a transaction of its own
                                                                     `-- Reply: what came, from where, at which socket

A reply may come from another endpoint than the one that was asked (CHANGE-REQUEST), at another socket of ours
(RESPONSE-PORT), or be our own request, sent back by the NAT (hairpinning): the caller judges. Nobody else knows a
transaction id.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio

from tunnel.machines.notifier import Notifier
from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import DeviceError, MalformedFrame
from tunnel.network.datagrams import Datagrams, DatagramSocket
from tunnel.network.ports import Entropy
from tunnel.wire.stun import TRANSACTION_BYTES, Change, StunMessage, binding_request, decode_stun, encode_stun

MAX_SOCKETS = 16
_PORTS = (20000, 39999)
"""Below the ephemeral ports of the machine, and drawn at random: so a sequential allocator is told from one that
preserves ports."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The first datagram that came for a request."""

    message: StunMessage
    source: Endpoint
    stun_socket: StunSocket
    """The socket that it came to."""
    rtt: float
    """Seconds since that try."""


class StunRequest:
    """One binding request to one server, sent as often as `send` is called."""

    def __init__(
        self,
        stun_client: StunClient,
        stun_socket: StunSocket,
        remote: Endpoint,
        change: Change | None,
        response_port: int | None,
    ) -> None:
        self.remote = remote
        self.reply: Reply | None = None
        self.tries = 0
        self.answered = 0
        """How many tries got a reply."""
        self.is_plain = change is None and response_port is None
        """Whether it must be answered where it was asked."""
        self._stun_client = stun_client
        self.stun_socket = stun_socket
        self._change = change
        self._response_port = response_port

    def send(self) -> None:
        """Send it (again), as a new transaction."""
        transaction = self._stun_client.register(self)
        self.tries += 1
        self.stun_socket.socket.send_nowait(
            encode_stun(binding_request(transaction, self._change, self._response_port)), self.remote
        )

    async def wait(self, waits: tuple[float, ...]) -> Reply | None:
        """Send it and wait, once for each of `waits` (seconds), until there is a reply."""
        for patience in waits:
            self.send()
            await self._stun_client.wait(lambda: self.reply is not None, patience)
            if self.reply is not None:
                break
        return self.reply


class StunSocket:
    """One socket. Make requests by `request(...)`."""

    def __init__(self, stun_client: StunClient, socket: DatagramSocket) -> None:
        self.socket = socket
        self._stun_client = stun_client

    def request(self, remote: Endpoint, change: Change | None = None, response_port: int | None = None) -> StunRequest:
        """A request that has not been sent yet."""
        return StunRequest(self._stun_client, self, remote, change, response_port)


class StunClient:
    """A few sockets for a while: see `open_stun_client`."""

    def __init__(self, datagrams: Datagrams, entropy: Entropy, nursery: trio.Nursery) -> None:
        self._datagrams = datagrams
        self._entropy = entropy
        self._nursery = nursery
        self._notifier = Notifier()
        self._tries: dict[bytes, tuple[StunRequest, float]] = {}
        self._requests: list[StunRequest] = []
        self._sockets: list[StunSocket] = []

    async def open_socket(self, *, is_ipv6: bool = False) -> StunSocket:
        """A fresh socket at a random port. Raises DeviceError when no socket can be had."""
        assert len(self._sockets) < MAX_SOCKETS, "a client opens few sockets"
        host = "::" if is_ipv6 else "0.0.0.0"
        try:
            socket = await self._datagrams.open_socket(Endpoint(host, self._entropy.chance.randint(*_PORTS)))
        except DeviceError:  # that port is taken
            socket = await self._datagrams.open_socket(Endpoint(host, 0))
        stun_socket = StunSocket(self, socket)
        self._sockets.append(stun_socket)
        self._nursery.start_soon(self._receive, stun_socket)
        return stun_socket

    async def wait(self, condition: Callable[[], bool], patience: float) -> None:
        """Return when it holds; it is checked after each reply. At most `patience` seconds."""
        with trio.move_on_after(patience):
            await self._notifier.wait_until(condition)

    def register(self, request: StunRequest) -> bytes:
        """A new transaction id for a try that begins now."""
        transaction = self._entropy.token(TRANSACTION_BYTES)
        if not request.tries:
            self._requests.append(request)
        self._tries[transaction] = request, trio.current_time()
        return transaction

    def lost(self, *hosts: str) -> int:
        """How many plain requests to these hosts have got no answer (yet)."""
        plain = [request for request in self._requests if request.is_plain and request.remote.host in hosts]
        return sum(request.tries - request.answered for request in plain)

    def flows(self, *hosts: str) -> int:
        """How many pairs of one of our sockets and an endpoint of these hosts a NAT has seen."""
        return len(
            {(request.stun_socket, request.remote) for request in self._requests if request.remote.host in hosts}
        )

    async def _receive(self, stun_socket: StunSocket) -> None:
        """Close the socket here, after the last read: a task that a datagram has just woken must not find it closed."""
        try:
            while True:
                for datagram, source in await stun_socket.socket.receive_batch():
                    self._take_untrusted(stun_socket, datagram, source)
        finally:
            stun_socket.socket.close()

    def _take_untrusted(self, stun_socket: StunSocket, datagram: bytes, source: Endpoint) -> None:
        try:
            message = decode_stun(datagram)
        except MalformedFrame:
            return
        request, sent_at = self._tries.pop(message.transaction, (None, 0.0))
        if request is None:
            return
        request.answered += 1
        if request.reply is None:
            request.reply = Reply(message, source, stun_socket, trio.current_time() - sent_at)
        self._notifier.notify()


@asynccontextmanager
async def open_stun_client(datagrams: Datagrams, entropy: Entropy) -> AsyncIterator[StunClient]:
    """A client whose sockets are closed at the end of the block."""
    async with trio.open_nursery() as nursery:
        stun_client = StunClient(datagrams, entropy, nursery)
        try:
            yield stun_client
        finally:
            nursery.cancel_scope.cancel()
