"""A machine without UPnP: miniupnpc is not installed, or no gateway speaks it."""

from __future__ import annotations

from typing import NoReturn

import trio

from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import Unreachable
from tunnel.network.ports import MappedPort


class NoPortMapper:
    """No gateway speaks UPnP, or this machine cannot. Every call raises Unreachable."""

    def __init__(self, *, is_installed: bool = True) -> None:
        self.is_installed = is_installed

    async def map_port(self, internal_port: int, lease: float, external_port: int = 0) -> MappedPort:
        """Raises Unreachable."""
        del internal_port, lease, external_port
        return await self._fail()

    async def unmap_port(self, external_port: int) -> None:
        """Raises Unreachable."""
        del external_port
        await self._fail()

    async def holds_port(self, external: Endpoint, internal_port: int) -> bool:
        """Raises Unreachable."""
        del external, internal_port
        return await self._fail()

    def forget(self) -> None:
        """There is nothing to forget."""

    async def _fail(self) -> NoReturn:
        await trio.lowlevel.checkpoint()
        raise Unreachable("no UPnP gateway answers here" if self.is_installed else "miniupnpc is not installed")
