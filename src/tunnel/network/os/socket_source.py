"""Where sockets come from: the network namespace of this process, or one that another process makes them in."""

from __future__ import annotations

import socket
from typing import Protocol

import trio


class SocketSource(Protocol):
    """Makes sockets in one network namespace."""

    @property
    def is_ended(self) -> bool:
        """Whether it can make no more."""
        ...

    def open_socket(self, family: int, kind: int, protocol: int) -> socket.socket:
        """A socket, as by the class `socket.socket`. Raises OSError."""
        ...

    async def wait_ended(self) -> None:
        """Return when it can make no more."""
        ...

    def rejoin(self) -> None:
        """Begin again, in the same namespace. Raises DeviceError."""
        ...


class ThisNamespace:
    """The namespace of the thread that asks."""

    is_ended = False

    def open_socket(self, family: int, kind: int, protocol: int) -> socket.socket:
        """A socket. Raises OSError."""
        return socket.socket(family, kind, protocol)

    async def wait_ended(self) -> None:
        """Never return."""
        await trio.sleep_forever()

    def rejoin(self) -> None:
        """Nothing has ended."""


HERE = ThisNamespace()
