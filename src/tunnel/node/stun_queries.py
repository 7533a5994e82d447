"""Asks where one of our sockets comes out just now: a question, an act, a question, at once one after the other.

socket --question--> STUN 1      a NAT that counts gives these three ports in this order, with no time between for
       --act-------> peer        others: what the two answers say encloses what the act got, whatever the load
       --question--> STUN 2
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import trio

from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import MalformedFrame
from tunnel.wire.stun import BINDING, TRANSACTION_BYTES, StunClass, binding_request, decode_stun, encode_stun

MAX_OPEN = 64


@dataclass(slots=True, eq=False)
class _Question:
    socket: int
    remote: Endpoint
    answered: trio.Event = field(default_factory=trio.Event)
    mapped: Endpoint | None = None


class StunQueries:
    """One a node. `send(socket, datagram, remote)` sends a datagram, `token(size)` draws unguessable bytes."""

    def __init__(self, send: Callable[[int, bytes, Endpoint], bool], token: Callable[[int], bytes]) -> None:
        self._send = send
        self._token = token
        self._open: dict[bytes, _Question] = {}

    async def enclose(
        self, socket: int, servers: Sequence[Endpoint], act: Callable[[], None], patience: float
    ) -> tuple[Endpoint | None, Endpoint | None]:
        """Where the first server saw the socket just before `act`, and the last one just after; None: no answer.

        `act` is called once, before this first waits, also where there is no server to ask.
        """
        before = self._ask(socket, servers[0]) if servers else None
        act()
        after = self._ask(socket, servers[-1]) if len(servers) > 1 else None
        questions = [question for question in (before, after) if question is not None]
        try:
            with trio.move_on_after(patience):
                for question in questions:
                    await question.answered.wait()
        finally:
            for transaction in [key for key, question in self._open.items() if question in questions]:
                del self._open[transaction]
        return (None if before is None else before.mapped, None if after is None else after.mapped)

    def handle_untrusted(self, socket: int, datagram: bytes, remote: Endpoint) -> None:
        """A STUN datagram. What does not answer a question of ours changes nothing."""
        if not self._open:
            return
        try:
            message = decode_stun(datagram)
        except MalformedFrame:
            return
        question = self._open.get(message.transaction)
        if question is None or (question.socket, question.remote) != (socket, remote):
            return
        if message.kind is StunClass.SUCCESS and message.method == BINDING and message.observed is not None:
            question.mapped = message.observed
            question.answered.set()

    def _ask(self, socket: int, server: Endpoint) -> _Question | None:
        if len(self._open) >= MAX_OPEN:
            return None
        transaction = self._token(TRANSACTION_BYTES)
        question = _Question(socket, server)
        if not self._send(socket, encode_stun(binding_request(transaction)), server):
            return None
        self._open[transaction] = question
        return question
