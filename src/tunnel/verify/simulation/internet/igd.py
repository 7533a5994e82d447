"""The UPnP service of the router that a host stands behind, as the host's program sees it through its `PortMapper`.

It takes as long as the real one (a search takes up to a second, and three if nobody answers) and raises the same
errors. UPnP itself, which is HTTP, is not spoken.
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
"""Seconds of a search that finds a gateway: it always listens for the whole time that gateways have to answer."""
KNOWN_SECONDS = 0.02
"""Seconds until a gateway that was found before answers."""
NOBODY_SECONDS = 4.0
"""Seconds until a search without an answer gives up."""
BLACK_HOLE_SECONDS = 6.1
"""Seconds until it gives up on a gateway that was found and does not answer."""
CALL_SECONDS = 10.0
"""Seconds until a request that a gateway accepted and never answers is ended, whether or not a caller still waits."""
PERMANENT = 604_800.0
"""The longest lease in seconds: what a lease of 0, which means permanent, gets (IGD:2)."""


class NearestGateway(NamedTuple):
    """The nearest router's gateway server, and the host's address on that router's LAN."""

    gateway_server: GatewayServer
    host: str


class VirtualIgd:
    """The `PortMapper` of one host. `find` returns its present gateway; None: it is behind no router."""

    is_installed = True

    def __init__(self, find: Callable[[], NearestGateway | None]) -> None:
        self._find = find
        self._known: NearestGateway | None = None
        self._busy_until = 0.0

    async def map_port(self, internal_port: int, lease: float, external_port: int = 0) -> MappedPort:
        """Map a UDP port to the same external port or one of the next three. Raises Unreachable or Refused."""
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
        """Delete a mapping of this host. Raises Unreachable or Refused."""
        server, host = await self._discover()
        lease = server.leases.holder(Transport.UDP, external_port)
        if server.spec.lie is Lie.REFUSED or (lease is not None and lease.inner.host != host):
            raise Refused("not_unmapped", "Action not authorized")
        if lease is not None:
            server.leases.end(lease)

    async def holds_port(self, external: Endpoint, internal_port: int) -> bool:
        """Whether the router still maps that external endpoint to this host. Raises Unreachable."""
        server, host = await self._discover()
        lease = server.leases.holder(Transport.UDP, external.port)
        is_ours = lease is not None and lease.inner == Endpoint(host, internal_port)
        return (is_ours or server.spec.lie is Lie.NOT_MAPPED) and server.external_address == external.host

    def forget(self) -> None:
        """Search again at the next request."""
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
        """One request at a time: the previous one must have ended, and then this one gets no answer either."""
        await trio.sleep_until(self._busy_until)
        self._busy_until = trio.current_time() + CALL_SECONDS
        await trio.sleep_until(self._busy_until)
