"""Samples of a NAT's port allocation: fresh sockets ask one server once each, one after the other.

A socket whose request got no answer is left out, since it is not known when its port was allocated.
"""

from __future__ import annotations

from dataclasses import dataclass

import trio

from tunnel.model.endpoint import Endpoint
from tunnel.nat.allocation import PortSample
from tunnel.nat.stun_client import StunClient, StunRequest, StunSocket

GAP = 0.012
"""Seconds between two sockets: within the hundred a second that a punch may open."""


@dataclass(frozen=True, slots=True)
class SampledSocket:
    """A socket and its mapping."""

    stun_socket: StunSocket
    sample: PortSample


async def sample_ports(stun_client: StunClient, server: Endpoint, count: int, patience: float) -> list[SampledSocket]:
    """Open `count` sockets, `GAP` apart, and wait until all are answered; at most `patience` s after the last one.

    Raises DeviceError when no socket can be had.
    """
    asked: list[tuple[float, StunSocket, StunRequest]] = []
    for number in range(count):
        if number:
            await trio.sleep(GAP)
        stun_socket = await stun_client.open_socket(is_ipv6=server.is_ipv6)
        request = stun_socket.request(server)
        asked.append((trio.current_time(), stun_socket, request))
        request.send()
    await stun_client.wait(lambda: all(request.reply is not None for _, _, request in asked), patience)
    found = []
    for at, stun_socket, request in asked:
        reply = request.reply
        if reply is not None and reply.source == server and (mapped := reply.message.observed) is not None:
            found.append(SampledSocket(stun_socket, PortSample(at, stun_socket.socket.local.port, mapped)))
    return found
