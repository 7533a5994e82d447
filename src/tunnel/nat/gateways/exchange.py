"""One request to a gateway over UDP, and its answer (RFC 6886 section 3.1, RFC 6887 section 8.1.1).

It is sent again after 250 ms, then after twice as long each time, for some two seconds in all. Datagrams that do not
come from the gateway's own port, or do not answer this request, are ignored. After a few dozen useless ones
the request is given up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import trio

from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import DeviceError, MalformedFrame, Unreachable
from tunnel.model.routes import Gateway
from tunnel.network.datagrams import Datagrams, DatagramSocket
from tunnel.wire.port_control import PORT, PortAnswer, PortRequest, decode_port_answer, encode_port_request

MAX_NOISE = 64
"""Useless datagrams after which a request is given up."""

Answer = TypeVar("Answer")


async def ask_gateway(
    datagrams: Datagrams,
    gateway: Gateway,
    request: PortRequest,
    pick: Callable[[PortAnswer], Answer | None],
    *,
    waits: Sequence[float],
) -> Answer:
    """The result of `pick` for the first answer to this request; it may raise Refused. Raises Unreachable.

    The request leaves from the address by which the gateway knows us, as PCP demands.
    """
    try:
        socket = await datagrams.open_socket(Endpoint(gateway.own, 0))
    except DeviceError as error:
        raise Unreachable(str(error)) from error
    answers = _AnswerReader(socket, Endpoint(gateway.address, PORT))
    datagram = encode_port_request(request)
    try:
        for wait in waits:
            socket.send_nowait(datagram, answers.remote)
            with trio.move_on_after(wait):
                return await answers.read(pick)
    except trio.ClosedResourceError as error:
        raise Unreachable("this machine took our socket away") from error
    finally:
        socket.close()
    raise Unreachable(f"{gateway.address} {'talks nonsense' if answers.noise else 'does not answer'}")


class _AnswerReader:
    """Waits for the answer of one gateway."""

    def __init__(self, socket: DatagramSocket, remote: Endpoint) -> None:
        self.remote = remote
        self.noise = 0
        self._socket = socket

    async def read(self, pick: Callable[[PortAnswer], Answer | None]) -> Answer:
        while True:
            for datagram, source in await self._socket.receive_batch():
                if source == self.remote:
                    try:
                        answer = pick(decode_port_answer(datagram))
                    except MalformedFrame:
                        answer = None
                    if answer is not None:
                        return answer
                self.noise += 1
                if self.noise > MAX_NOISE:
                    raise Unreachable(f"{self.remote.host} talks nonsense")
