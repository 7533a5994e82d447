"""Names to addresses, from a dict."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping

import trio

from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import Unreachable

LOOKUP = 0.001
"""Seconds that a look-up takes."""


class MemoryResolver:
    """Looks names up in a mapping that may change."""

    def __init__(self, names: Mapping[str, tuple[str, ...]]) -> None:
        self._names = names

    async def resolve(self, host: str, port: int) -> tuple[Endpoint, ...]:
        """The endpoints of a name or of a numeric address."""
        try:
            numeric = ipaddress.ip_address(host)
        except ValueError:
            await trio.sleep(LOOKUP)
        else:
            await trio.lowlevel.checkpoint()
            return (Endpoint(str(numeric), port),)
        addresses = self._names.get(host, ())
        if not addresses:
            raise Unreachable(f"nobody knows the name {host!r}")
        return tuple(Endpoint(address, port) for address in addresses)
