"""Resolves names from a mapping."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Mapping
from enum import Enum

import trio

from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import Unreachable

LOOKUP = 0.001
"""Seconds that a lookup takes."""


class Trouble(Enum):
    """How a lookup fails."""

    FAILS = "fails"
    """At once."""
    HANGS = "hangs"
    """No answer ever comes: the caller must have a timeout."""


class MemoryResolver:
    """Looks names up in a mapping that may change.

    `trouble` (with every name) and `trouble_with` (with some) may be changed at any moment; numeric addresses need no
    lookup.
    """

    def __init__(self, names: Mapping[str, tuple[str, ...]]) -> None:
        self.trouble: Trouble | None = None
        self.trouble_with: dict[str, Trouble] = {}
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
        trouble = self.trouble or self.trouble_with.get(host)
        if trouble is Trouble.HANGS:
            await trio.sleep_forever()
        addresses = () if trouble is Trouble.FAILS else self._names.get(host, ())
        if not addresses:
            unknown = socket.gaierror(socket.EAI_NONAME, "nobody knows that name")
            raise Unreachable(f"nobody knows the name {host!r}") from unknown  # as the real one does
        return tuple(Endpoint(address, port) for address in addresses)
