"""Ways: how a datagram goes out or came in."""

from __future__ import annotations

from typing import NamedTuple

from tunnel.model.endpoint import Endpoint


class Way(NamedTuple):
    """How a datagram goes or came: one of our sockets (by number) and a remote, or a relay.

    Over a relay's circuit `remote` is the server's UDP endpoint and `circuit` is not 0; over its WebSocket link there
    is no remote.
    """

    socket: int
    remote: Endpoint | None
    circuit: int = 0

    @property
    def is_direct(self) -> bool:
        """Whether nobody stands between us and the peer."""
        return self.remote is not None and not self.circuit

    @property
    def is_relay(self) -> bool:
        """Whether the server passes on what goes here, by WebSocket or by circuit."""
        return not self.is_direct


RELAY = Way(-1, None)
"""The WebSocket link to the server."""
