"""A STUN server that lies: each answer names a port other than the one that it saw."""

from __future__ import annotations

from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import MalformedFrame
from tunnel.network.datagrams import DatagramSocket
from tunnel.wire.stun import StunClass, binding_success, decode_stun, encode_stun, is_stun


async def serve_lies(socket: DatagramSocket) -> None:
    """Answer each binding request with a wrong port, a new one each time, until cancelled."""
    told = 0
    while True:
        for datagram, remote in await socket.receive_batch():
            if not is_stun(datagram):
                continue
            try:
                request = decode_stun(datagram)
            except MalformedFrame:
                continue
            if request.kind is StunClass.REQUEST:
                told += 1
                lie = Endpoint(remote.host, 1024 + (remote.port + 7919 * told) % 60000)
                socket.send_nowait(encode_stun(binding_success(request, lie)), remote)
