"""Questions to STUN servers from sockets of their own, so that what they open or teach touches no path of the node.

    client -- asker (a fresh socket at a random port) -- question -- tries, each a transaction of its own
                                                                  `-- reply: what came, from where, at which socket

A reply may come from another endpoint than the one that was asked (CHANGE-REQUEST), at another socket of ours
(RESPONSE-PORT), or be our own question come back (hairpin): whoever asks judges. Nobody else knows a transaction id.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio

from tunnel.machines.notifier import Notifier
from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import DeviceError, MalformedFrame
from tunnel.network.ports import Datagrams, DatagramSocket, Entropy
from tunnel.wire.stun import TRANSACTION_BYTES, Change, StunMessage, binding_request, decode_stun, encode_stun

MAX_ASKERS = 16
_PORTS = (20000, 39999)
"""Below those that a machine gives away itself, and drawn at random: so a NAT that counts is told from one that
preserves ports."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The first datagram that came for a question."""

    message: StunMessage
    source: Endpoint
    asker: Asker
    """Whose socket it came to."""
    rtt: float
    """Seconds since that try."""


class Question:
    """One thing that is asked of one server, as often as `shoot` is called."""

    def __init__(
        self, stun_client: StunClient, asker: Asker, remote: Endpoint, change: Change | None, response_port: int | None
    ) -> None:
        self.remote = remote
        self.reply: Reply | None = None
        self.tries = 0
        self.answered = 0
        """How many tries got a reply."""
        self.is_plain = change is None and response_port is None
        """Whether it must be answered where it was asked."""
        self._stun_client = stun_client
        self.asker = asker
        self._change = change
        self._response_port = response_port

    def shoot(self) -> None:
        """Ask (again)."""
        transaction = self._stun_client.register(self)
        self.tries += 1
        self.asker.socket.send_nowait(
            encode_stun(binding_request(transaction, self._change, self._response_port)), self.remote
        )

    async def wait(self, waits: tuple[float, ...]) -> Reply | None:
        """Shoot and wait so long, again and again, until there is a reply or no more waits."""
        for patience in waits:
            self.shoot()
            await self._stun_client.wait(lambda: self.reply is not None, patience)
            if self.reply is not None:
                break
        return self.reply


class Asker:
    """One socket. Ask by `question(...)`."""

    def __init__(self, stun_client: StunClient, socket: DatagramSocket) -> None:
        self.socket = socket
        self._stun_client = stun_client

    def question(self, remote: Endpoint, change: Change | None = None, response_port: int | None = None) -> Question:
        """A question that has not been asked yet."""
        return Question(self._stun_client, self, remote, change, response_port)


class StunClient:
    """A few sockets for a while: see `open_stun_client`."""

    def __init__(self, datagrams: Datagrams, entropy: Entropy, nursery: trio.Nursery) -> None:
        self._datagrams = datagrams
        self._entropy = entropy
        self._nursery = nursery
        self._notifier = Notifier()
        self._tries: dict[bytes, tuple[Question, float]] = {}
        self._questions: list[Question] = []
        self.askers: list[Asker] = []

    async def open_asker(self, *, is_ipv6: bool = False) -> Asker:
        """A fresh socket at a random port. Raises DeviceError when no socket can be had."""
        assert len(self.askers) < MAX_ASKERS, "a client opens few sockets"
        host = "::" if is_ipv6 else "0.0.0.0"
        try:
            socket = await self._datagrams.open_socket(Endpoint(host, self._entropy.chance.randint(*_PORTS)))
        except DeviceError:  # that port is taken
            socket = await self._datagrams.open_socket(Endpoint(host, 0))
        asker = Asker(self, socket)
        self.askers.append(asker)
        self._nursery.start_soon(self._receive, asker)
        return asker

    async def wait(self, condition: Callable[[], bool], patience: float) -> None:
        """Until it holds; it is looked at when a reply has come. At most `patience` seconds."""
        with trio.move_on_after(patience):
            await self._notifier.wait_until(condition)

    def register(self, question: Question) -> bytes:
        """A new transaction id for a try that begins now."""
        transaction = self._entropy.token(TRANSACTION_BYTES)
        if not question.tries:
            self._questions.append(question)
        self._tries[transaction] = question, trio.current_time()
        return transaction

    def lost(self, *hosts: str) -> int:
        """How many plain questions to these hosts have got no answer (yet)."""
        plain = [question for question in self._questions if question.is_plain and question.remote.host in hosts]
        return sum(question.tries - question.answered for question in plain)

    def flows(self, *hosts: str) -> int:
        """How many pairs of one of our sockets and an endpoint of these hosts a NAT has seen."""
        return len({(question.asker, question.remote) for question in self._questions if question.remote.host in hosts})

    async def _receive(self, asker: Asker) -> None:
        """Close the socket here, after the last read: a task that a datagram has just woken must not find it closed."""
        try:
            while True:
                for datagram, source in await asker.socket.receive_batch():
                    self._take_untrusted(asker, datagram, source)
        finally:
            asker.socket.close()

    def _take_untrusted(self, asker: Asker, datagram: bytes, source: Endpoint) -> None:
        try:
            message = decode_stun(datagram)
        except MalformedFrame:
            return
        question, asked_at = self._tries.pop(message.transaction, (None, 0.0))
        if question is None:
            return
        question.answered += 1
        if question.reply is None:
            question.reply = Reply(message, source, asker, trio.current_time() - asked_at)
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
