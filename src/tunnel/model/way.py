"""Ways: how a datagram goes out or came in."""

from __future__ import annotations

from typing import NamedTuple

from tunnel.model.endpoint import Endpoint


class Way(NamedTuple):
    """How a datagram travels: one of our sockets (by number) and a remote endpoint, or a relay.

    Over a circuit of the UDP relay `remote` is the server's UDP endpoint and `circuit` is not 0. Over the WebSocket
    link there is no remote.
    """

    socket: int
    remote: Endpoint | None
    circuit: int = 0

    @property
    def is_direct(self) -> bool:
        """Whether datagrams go to the peer without a relay."""
        return self.remote is not None and not self.circuit

    @property
    def is_relay(self) -> bool:
        """Whether the server passes datagrams on, by WebSocket or by circuit."""
        return not self.is_direct


RELAY = Way(-1, None)
"""The WebSocket link to the server."""
