"""Which addresses of the server accepted a connection and then carried nothing: they are tried last the next time.

A path may let a TCP handshake pass and nothing after it (a broken tunnel, a firewall, an MTU black hole), and happy
eyeballs (RFC 8305) alone would choose the same address again and again.
"""

from __future__ import annotations

from collections.abc import Collection

import trio

from tunnel.model.endpoint import Endpoint

FORGOTTEN_AFTER = 1800.0
"""Seconds: paths get repaired."""
MAX_REMEMBERED = 64


class AddressMemory:
    """One for each node, in memory only."""

    def __init__(self) -> None:
        self._failed_at: dict[Endpoint, float] = {}

    def ordered(self, endpoints: Collection[Endpoint]) -> tuple[Endpoint, ...]:
        """Those that are not known to fail, in their order; then the others, the one that failed last at the end."""
        long_ago = trio.current_time() - FORGOTTEN_AFTER
        self._failed_at = {endpoint: at for endpoint, at in self._failed_at.items() if at > long_ago}
        return tuple(sorted(endpoints, key=lambda endpoint: self._failed_at.get(endpoint, long_ago)))

    def note_failed(self, endpoint: Endpoint) -> None:
        """It connected, and then nothing came."""
        self._failed_at.pop(endpoint, None)
        if len(self._failed_at) >= MAX_REMEMBERED:
            del self._failed_at[next(iter(self._failed_at))]
        self._failed_at[endpoint] = trio.current_time()

    def forget(self) -> None:
        """This machine is in another network now."""
        self._failed_at.clear()
