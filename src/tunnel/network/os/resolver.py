"""Names by the operating system's resolver, in a worker thread."""

from __future__ import annotations

import ipaddress
import socket

import trio

from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import Unreachable


class RealResolver:
    """Asks getaddrinfo."""

    async def resolve(self, host: str, port: int) -> tuple[Endpoint, ...]:
        """The endpoints of a name or a numeric address, in the order in which the system would try them."""
        try:
            numeric = ipaddress.ip_address(host)
        except ValueError:
            pass
        else:
            await trio.lowlevel.checkpoint()
            return (Endpoint(str(numeric), port),)
        try:
            found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no host name"
            raise Unreachable(f"the name {host!r} cannot be resolved: {reason}") from error
        endpoints = [Endpoint(str(address[0]), port) for *_, address in found]
        return tuple(dict.fromkeys(endpoints))
