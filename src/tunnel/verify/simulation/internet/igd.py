"""The UPnP service of the router that a host stands behind, as the host's program sees it through its `PortMapper`.

It takes no less time than the real one (which searches for up to a second, and for three where nobody answers) and ends
in the same errors. UPnP itself, which is HTTP, is not spoken.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import trio

from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import Refused, Unreachable
from tunnel.model.transport import Transport
from tunnel.network.os.upnp_call import TRIES
from tunnel.network.ports import MappedPort
from tunnel.verify.reachability.topology import Lie
from tunnel.verify.simulation.internet.gateway import GatewayServer

DISCOVERED_SECONDS = 1.05
"""Until the search has found a gateway: it always listens for all the time that it gave them."""
KNOWN_SECONDS = 0.02
"""Until a gateway that was found before has answered."""
NOBODY_SECONDS = 4.0
"""Until it gives up."""
BLACK_HOLE_SECONDS = 6.1
"""Until it gives up a gateway that was found and does not answer."""
ERRAND_SECONDS = 10.0
"""Until an errand is ended that a gateway took and never answers. One that nobody waits for lasts as long."""
PERMANENT = 604_800.0
"""Seconds that a lease of 0, which asks for ever, gets at most (IGD:2)."""


class NearestGateway(NamedTuple):
    """Where a host stands: the one who keeps the router's ports, and the host's address there."""

    gateway_server: GatewayServer
    host: str


class VirtualIgd:
    """The `PortMapper` of one host. `find` says where it stands at this moment; None: behind no router."""

    is_installed = True

    def __init__(self, find: Callable[[], NearestGateway | None]) -> None:
        self._find = find
        self._known: NearestGateway | None = None
        self._busy_until = 0.0

    async def map_port(self, internal_port: int, lease: float, external_port: int = 0) -> MappedPort:
        """Map a UDP port, the same outside or one of the next three. Raises Unreachable or Refused."""
        server, host = await self._discover()
        lie = server.spec.lie
        if lie is Lie.GARBAGE:
            raise Refused("no_external_address", "'!' does not appear to be an IPv4 or IPv6 address")
        if lie is Lie.REFUSED:
            raise Refused("not_mapped", "Action not authorized")
        inner = Endpoint(host, internal_port)
        held = server.leases.find(Transport.UDP, inner)
        first = (external_port or internal_port) if held is None else held.external_port
        seconds = PERMANENT if server.spec.permanent_only else round(lease) or PERMANENT
        for port in range(first, min(first + TRIES, 65536)):
            granted = server.grant(Transport.UDP, inner, seconds, wanted=port, exact=True)
            if granted is not None:
                told = math.inf if server.spec.permanent_only or not round(lease) else lease
                return MappedPort(Endpoint(server.external_address, granted.external_port), told)
        raise Refused("not_mapped", "ConflictInMappingEntry")

    async def unmap_port(self, external_port: int) -> None:
        """Take back a mapping of this host. Raises Unreachable or Refused."""
        server, host = await self._discover()
        lease = server.leases.holder(Transport.UDP, external_port)
        if server.spec.lie is Lie.REFUSED or (lease is not None and lease.inner.host != host):
            raise Refused("not_unmapped", "Action not authorized")
        if lease is not None:
            server.leases.end(lease)

    async def holds_port(self, external: Endpoint, internal_port: int) -> bool:
        """Whether the router still leads that endpoint to this host. Raises Unreachable."""
        server, host = await self._discover()
        lease = server.leases.holder(Transport.UDP, external.port)
        is_ours = lease is not None and lease.inner == Endpoint(host, internal_port)
        return (is_ours or server.spec.lie is Lie.NOT_MAPPED) and server.external_address == external.host

    def forget(self) -> None:
        """Search again the next time."""
        self._known = None

    async def _discover(self) -> NearestGateway:
        found = self._find()
        if found is not None and found == self._known:
            if found.gateway_server.spec.upnp and found.gateway_server.spec.lie is Lie.HANGS:
                await self._hang()
            await trio.sleep(KNOWN_SECONDS)
            if found.gateway_server.spec.upnp and found.gateway_server.spec.lie not in (Lie.SILENT, Lie.HANGS):
                return found
        self._known = None
        await trio.sleep(DISCOVERED_SECONDS)
        found = self._find()
        if found is None or not found.gateway_server.spec.upnp:
            await trio.sleep(NOBODY_SECONDS - DISCOVERED_SECONDS)
            raise Unreachable("no UPnP gateway answers")
        if found.gateway_server.spec.lie is Lie.SILENT:
            await trio.sleep(BLACK_HOLE_SECONDS)
            raise Unreachable("no UPnP gateway answers")
        if found.gateway_server.spec.lie is Lie.HANGS:
            await self._hang()
            raise Unreachable("the gateway's UPnP service takes too long, or too much memory")
        self._known = found
        return found

    async def _hang(self) -> None:
        """One errand at a time: the one before must have ended, and then this one gets no answer either."""
        await trio.sleep_until(self._busy_until)
        self._busy_until = trio.current_time() + ERRAND_SECONDS
        await trio.sleep_until(self._busy_until)
