"""The NAT detection of the re-enacted tool: one STUN server after the other, three requests to the first that answers.

Each request has a socket of its own and is sent once. So it takes long, and the result, the outer endpoint of a socket
that is closed by then, is of no use.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import trio

from tunnel.model.endpoint import Endpoint, Scope, scope_of, split_host_port
from tunnel.model.errors import MalformedFrame, Unreachable
from tunnel.network.datagrams import DatagramSocket
from tunnel.network.ports import World
from tunnel.wire.stun import (
    TRANSACTION_BYTES,
    Change,
    StunClass,
    binding_request,
    binding_success,
    decode_stun,
    encode_stun,
)

QUESTION = 5.0
"""Seconds that a request waits for its answer."""


class NatKind(IntEnum):
    """The classes of RFC 3489, by the numbers under which they are announced."""

    UNKNOWN = 0
    NONE = 1
    FULL_CONE = 2
    RESTRICTED = 3
    PORT_RESTRICTED = 4
    SYMMETRIC = 5


@dataclass(frozen=True, slots=True)
class Detection:
    """The result of the detection."""

    kind: NatKind
    is_told: bool
    """Whether any STUN server answered; else the kind is guessed from the local addresses."""


async def detect(world: World, servers: Sequence[str]) -> Detection:
    """Ask the servers (HOST:PORT) in this order until one answers."""
    addresses = [host for host in world.interfaces.addresses() if ":" not in host and not host.startswith("127.")]
    for server in servers:
        host, port = split_host_port(server)
        try:
            remote = (await world.resolver.resolve(host, port))[0]
        except Unreachable:
            continue
        seen = await _ask(world, remote, None)
        if seen is None:
            continue
        if seen.host in addresses:
            return Detection(NatKind.NONE, is_told=True)
        if await _ask(world, remote, Change.PORT | Change.ADDRESS):
            return Detection(NatKind.FULL_CONE, is_told=True)
        if await _ask(world, remote, Change.PORT):
            return Detection(NatKind.RESTRICTED, is_told=True)
        # The last request, to a second address of the server, is never sent: none of its servers names one.
        return Detection(NatKind.PORT_RESTRICTED, is_told=True)
    if any(scope_of(host) in (Scope.GLOBAL, Scope.CARRIER) for host in addresses):
        return Detection(NatKind.NONE, is_told=False)  # a carrier's inner address passes for a public one
    return Detection(NatKind.SYMMETRIC, is_told=False)


async def _ask(world: World, remote: Endpoint, change: Change | None) -> Endpoint | None:
    socket = await world.datagrams.open_socket(Endpoint("0.0.0.0", 0))
    try:
        request = binding_request(world.entropy.token(TRANSACTION_BYTES), change)
        socket.send_nowait(encode_stun(request), remote)
        with trio.move_on_after(QUESTION):
            while True:
                for datagram, _ in await socket.receive_batch():
                    answer = decode_stun(datagram)
                    if answer.kind is StunClass.SUCCESS and answer.transaction == request.transaction:
                        return answer.observed
        return None
    finally:
        socket.close()


async def serve_public_stun(socket: DatagramSocket) -> None:
    """A typical public STUN server: it reports what it saw, and does not answer requests for another source."""
    while True:
        for datagram, remote in await socket.receive_batch():
            try:
                request = decode_stun(datagram)
            except MalformedFrame:
                continue
            if request.kind is StunClass.REQUEST and not request.change:
                socket.send_nowait(encode_stun(binding_success(request, remote)), remote)
