"""The way out to one peer: over the link to the server, or from one of our sockets."""

from __future__ import annotations

from tunnel.model.identity import NodeId
from tunnel.model.way import RELAY, Way
from tunnel.peer.ports import DatagramSockets, ServerPort


class Transmitter:
    """One for each peer connection."""

    def __init__(self, node: NodeId, server: ServerPort, datagrams: DatagramSockets) -> None:
        self._handle = node.handle
        self._server = server
        self._datagrams = datagrams

    def send(self, way: Way, datagram: bytes, ttl: int | None = None) -> bool:
        """Send on a way, now or not at all. False: dropped."""
        if way == RELAY:
            return self._server.send_relay(self._handle, datagram)
        return self._datagrams.send(way, datagram, ttl)
