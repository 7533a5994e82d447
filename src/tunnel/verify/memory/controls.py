"""Control sockets in memory: paths that stand for loopback listeners of the same host."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import trio

from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import DeviceError, Unreachable
from tunnel.network.ports import Sighting
from tunnel.verify.memory.streams import MemoryListener, MemoryStream


class ControlHost(Protocol):
    """The host of control sockets, as they see it."""

    async def open_listener(self, local: Endpoint) -> MemoryListener:
        """Listen for streams."""
        ...

    async def open_stream(self, remote: Endpoint) -> MemoryStream:
        """Connect. Raises Unreachable."""
        ...


class MemoryControls:
    """The control sockets of one host."""

    def __init__(self, host: ControlHost) -> None:
        self._host = host
        self._listeners: dict[Path, MemoryListener] = {}

    async def open_listener(self, path: Path) -> MemoryListener:
        """Listen at a path."""
        await trio.lowlevel.checkpoint()
        listener = self._listeners.get(path)
        if listener is not None and not listener.is_closed:
            raise DeviceError(f"somebody listens at {path} already: stop that process or choose another path")
        listener = self._listeners[path] = await self._host.open_listener(Endpoint("127.0.0.1", 0))
        return listener

    async def open_stream(self, path: Path) -> MemoryStream:
        """Connect to a path."""
        listener = self._listeners.get(path)
        if listener is None or listener.is_closed:
            await trio.lowlevel.checkpoint()
            raise Unreachable(f"nobody listens at {path}")
        return await self._host.open_stream(listener.local)

    def sightings(self) -> tuple[Sighting, ...]:
        """All of this host: it has one user."""
        return tuple(Sighting(path, "root", True) for path, one in sorted(self._listeners.items()) if not one.is_closed)
