"""Ways: how a datagram goes out or came in."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from tunnel.model.endpoint import Endpoint


class PathKind(StrEnum):
    """The kinds of paths, by the names that `status` and scenarios know them by."""

    DIRECT = "direct"
    RELAY_UDP = "relay-udp"
    RELAY_WEBSOCKET = "relay-websocket"


class Way(NamedTuple):
    """How a datagram travels: one of our sockets (by number) and a remote endpoint, or a relay.

    Over a circuit of the UDP relay `remote` is the server's UDP endpoint and `circuit` is not 0. Over the WebSocket
    link there is no remote.
    """

    socket: int
    remote: Endpoint | None
    circuit: int = 0

    @property
    def kind(self) -> PathKind:
        """Of which kind a path on this way is."""
        if self.remote is None:
            return PathKind.RELAY_WEBSOCKET
        return PathKind.RELAY_UDP if self.circuit else PathKind.DIRECT

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
