"""The gateway's UPnP service, by miniupnpc: a blocking library, so each attempt has a worker thread and a fresh object.

Discovering takes a second at least and eight at most, only plain `Exception`s come out of it, and an object that was
left in mid-call must not be used again. So one attempt at a time, in a thread that is abandoned on cancellation.
The one file that names miniupnpc.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any, TypeVar

import trio

from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import Refused, Unreachable

DISCOVER_MILLISECONDS = 1000
TRIES = 4
"""External ports that are tried, from the internal one upwards, when the gateway says that one is taken."""
LABEL = "p2ptunnel-trio"

Outcome = TypeVar("Outcome")


class RealPortMapper:
    """Asks the first gateway that answers."""

    def __init__(self) -> None:
        self._limiter = trio.CapacityLimiter(1)

    async def map_port(self, internal_port: int, lease: float) -> Endpoint:
        """Map a UDP port towards this machine for `lease` seconds. Raises Unreachable or Refused."""
        return await self._in_thread(lambda: _map(internal_port, round(lease)))

    async def unmap_port(self, external_port: int) -> None:
        """Take a mapping back. Raises Unreachable or Refused."""
        await self._in_thread(lambda: _unmap(external_port))

    async def _in_thread(self, attempt: Callable[[], Outcome]) -> Outcome:
        return await trio.to_thread.run_sync(attempt, abandon_on_cancel=True, limiter=self._limiter)


def _map(internal_port: int, lease: int) -> Endpoint:
    gateway = _find_gateway()
    try:
        outside = ipaddress.ip_address(gateway.externalipaddress())
    except Exception as error:
        raise Refused("no_external_address", str(error)) from error
    refusal = ""
    for external_port in range(internal_port, min(internal_port + TRIES, 65536)):
        arguments = (external_port, "UDP", gateway.lanaddr, internal_port, LABEL, "", lease)
        try:
            if gateway.addportmapping(*arguments):
                return Endpoint(str(outside), external_port)
        except Exception as error:
            refusal = str(error)
    raise Refused("not_mapped", refusal)


def _unmap(external_port: int) -> None:
    gateway = _find_gateway()
    try:
        gateway.deleteportmapping(external_port, "UDP")
    except Exception as error:
        raise Refused("not_unmapped", str(error)) from error


def _find_gateway() -> Any:
    import miniupnpc

    gateway = miniupnpc.UPnP()
    gateway.discoverdelay = DISCOVER_MILLISECONDS
    try:
        if gateway.discover() > 0:
            gateway.selectigd()
            return gateway
    except Exception as error:
        raise Unreachable(f"no UPnP gateway answers ({error})") from error
    raise Unreachable("no UPnP gateway answers")
