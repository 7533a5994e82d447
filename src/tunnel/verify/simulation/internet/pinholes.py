"""Doors in a firewall that hosts behind it have asked for: open to everybody, until their lease ends (RFC 6887)."""

from __future__ import annotations

import trio

from tunnel.model.endpoint import Endpoint
from tunnel.model.transport import Transport


class Pinholes:
    """Of one router that does not translate these addresses: IPv6 ones, and public IPv4 ones."""

    def __init__(self) -> None:
        self._until: dict[tuple[Transport, Endpoint], float] = {}

    def open(self, transport: Transport, inner: Endpoint, seconds: float) -> None:
        """Let everybody in there for so long, or for longer."""
        self._until[transport, inner] = trio.current_time() + seconds

    def shut(self, transport: Transport, inner: Endpoint) -> None:
        """Let nobody in any more but those that the firewall knows."""
        self._until.pop((transport, inner), None)

    def admits(self, transport: Transport, inner: Endpoint) -> bool:
        """Whether everybody may come in there now."""
        return bool(self._until) and self._until.get((transport, inner), 0.0) > trio.current_time()

    def forget(self) -> None:
        """The router starts again."""
        self._until.clear()
