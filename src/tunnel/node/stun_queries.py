"""Asks where one of our sockets comes out just now: a STUN request, an act, a STUN request, without a pause.

socket --request--> STUN 1      a NAT that counts gives these three ports in this order, and others get none between:
       --act------> peer        the two answers enclose the port that the act got, whatever the load
       --request--> STUN 2
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import trio

from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import MalformedFrame
from tunnel.model.way import Way
from tunnel.network.ports import Entropy
from tunnel.wire.stun import BINDING, TRANSACTION_BYTES, StunClass, binding_request, decode_stun, encode_stun

MAX_OPEN = 64


@dataclass(slots=True, eq=False)
class _Request:
    socket: int
    remote: Endpoint
    answered: trio.Event = field(default_factory=trio.Event)
    mapped: Endpoint | None = None


class Sockets(Protocol):
    """The node's UDP sockets."""

    def send(self, way: Way, datagram: bytes) -> bool:
        """Send now or not at all. False: dropped."""
        ...


class StunQueries:
    """One for each node. Hand what comes in to `handle_untrusted`."""

    def __init__(self, sockets: Sockets, entropy: Entropy) -> None:
        self._sockets = sockets
        self._entropy = entropy
        self._open: dict[bytes, _Request] = {}

    async def enclose(
        self, socket: int, servers: Sequence[Endpoint], act: Callable[[], None], patience: float
    ) -> tuple[Endpoint | None, Endpoint | None]:
        """Where the first server saw the socket just before `act`, and the last one just after; None: no answer.

        `act` is called once, before the first wait, also if there is no server to ask.
        """
        before = self._ask(socket, servers[0]) if servers else None
        act()
        after = self._ask(socket, servers[-1]) if len(servers) > 1 else None
        requests = [request for request in (before, after) if request is not None]
        try:
            with trio.move_on_after(patience):
                for request in requests:
                    await request.answered.wait()
        finally:
            for transaction in [key for key, request in self._open.items() if request in requests]:
                del self._open[transaction]
        return (None if before is None else before.mapped, None if after is None else after.mapped)

    def handle_untrusted(self, socket: int, datagram: bytes, remote: Endpoint) -> None:
        """A STUN datagram. What does not answer a request of ours changes nothing."""
        if not self._open:
            return
        try:
            message = decode_stun(datagram)
        except MalformedFrame:
            return
        request = self._open.get(message.transaction)
        if request is None or (request.socket, request.remote) != (socket, remote):
            return
        if message.kind is StunClass.SUCCESS and message.method == BINDING and message.observed is not None:
            request.mapped = message.observed
            request.answered.set()

    def _ask(self, socket: int, server: Endpoint) -> _Request | None:
        if len(self._open) >= MAX_OPEN:
            return None
        transaction = self._entropy.token(TRANSACTION_BYTES)
        request = _Request(socket, server)
        if not self._sockets.send(Way(socket, server), encode_stun(binding_request(transaction))):
            return None
        self._open[transaction] = request
        return request
