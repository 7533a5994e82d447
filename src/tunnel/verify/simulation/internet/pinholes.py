"""Pinholes in a firewall, requested by hosts behind it: open to every remote until their lease ends (RFC 6887)."""

from __future__ import annotations

import trio

from tunnel.model.endpoint import Endpoint
from tunnel.model.transport import Transport


class Pinholes:
    """The pinholes of one router, for addresses that it does not translate: IPv6, and public IPv4."""

    def __init__(self) -> None:
        self._until: dict[tuple[Transport, Endpoint], float] = {}

    def open(self, transport: Transport, inner: Endpoint, seconds: float) -> None:
        """Open a pinhole for so many seconds, or prolong it."""
        self._until[transport, inner] = trio.current_time() + seconds

    def shut(self, transport: Transport, inner: Endpoint) -> None:
        """Close a pinhole: from now on the firewall alone decides."""
        self._until.pop((transport, inner), None)

    def admits(self, transport: Transport, inner: Endpoint) -> bool:
        """Whether a pinhole is open there now."""
        return bool(self._until) and self._until.get((transport, inner), 0.0) > trio.current_time()

    def forget(self) -> None:
        """Close all pinholes, as a restart of the router does."""
        self._until.clear()
