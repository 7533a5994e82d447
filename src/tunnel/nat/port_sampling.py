"""New mappings, made on purpose: fresh sockets ask one server each once, and their outer ports stand in order.

A socket whose first question got no answer is left out: when its port was allocated is not known.
"""

from __future__ import annotations

from dataclasses import dataclass

import trio

from tunnel.model.endpoint import Endpoint
from tunnel.nat.allocation import PortSample
from tunnel.nat.stun_client import Asker, Question, StunClient

GAP = 0.012
"""Seconds between two sockets: within the hundred a second that a punch may open."""


@dataclass(frozen=True, slots=True)
class Sampled:
    """A socket and its mapping."""

    asker: Asker
    sample: PortSample
    other: Endpoint | None
    """What the server calls its OTHER-ADDRESS."""


async def sample(stun_client: StunClient, server: Endpoint, count: int, patience: float) -> list[Sampled]:
    """Open `count` sockets, `GAP` apart, and wait until all were answered; at most `patience` s after the last one.

    Raises DeviceError when no socket can be had.
    """
    asked: list[tuple[float, Asker, Question]] = []
    for turn in range(count):
        if turn:
            await trio.sleep(GAP)
        asker = await stun_client.open_asker(is_ipv6=server.is_ipv6)
        question = asker.question(server)
        asked.append((trio.current_time(), asker, question))
        question.shoot()
    await stun_client.wait(lambda: all(question.reply is not None for _, _, question in asked), patience)
    found = []
    for at, asker, question in asked:
        reply = question.reply
        if reply is not None and reply.source == server and (mapped := reply.message.observed) is not None:
            other = reply.message.other
            found.append(Sampled(asker, PortSample(at, asker.socket.local.port, mapped), other))
    return found
