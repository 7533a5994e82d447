"""The port leases of the hosts behind one router, whatever the protocol of the request.

    GatewayServer (NAT-PMP, PCP) --+
                                   +--> PortLeases --> the router's static mappings
    VirtualIgd (UPnP) -------------+

One inner endpoint has one lease at a time. The router's table decides: a lease that is no longer in it, because it ran
out or the router restarted, does not exist.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import trio

from tunnel.model.endpoint import Endpoint
from tunnel.model.transport import Transport
from tunnel.verify.simulation.internet.static_mappings import StaticMappings

FIRST_PORT, LAST_PORT = 1024, 65535
SEARCHED = 512
"""How many ports are tried, from the wanted one upwards; after the last port comes FIRST_PORT."""


@dataclass(frozen=True, slots=True)
class PortLease:
    """One port that leads inwards until `expires`."""

    transport: Transport
    inner: Endpoint
    external_port: int
    until: float
    nonce: bytes = b""
    """PCP requests about the lease must repeat it. Empty: the lease was made by another protocol."""


class PortLeases:
    """Grants and ends them."""

    def __init__(self, table: StaticMappings) -> None:
        self._table = table
        self._leases: dict[tuple[Transport, Endpoint], PortLease] = {}

    def find(self, transport: Transport, inner: Endpoint) -> PortLease | None:
        """The lease of an inner endpoint."""
        lease = self._leases.get((transport, inner))
        return lease if lease is not None and self._is_open(lease) else None

    def holder(self, transport: Transport, external_port: int) -> PortLease | None:
        """The lease of an external port."""
        return next((lease for lease in self._runner(transport) if lease.external_port == external_port), None)

    def of_host(self, transport: Transport, host: str) -> list[PortLease]:
        """All leases of one inner address, the oldest first."""
        return [lease for lease in self._runner(transport) if lease.inner.host == host]

    def grant(
        self, transport: Transport, inner: Endpoint, seconds: float, *, wanted: int, exact: bool = False
    ) -> PortLease | None:
        """Renew the lease of this inner endpoint, or make one at `wanted` or at the next free port above it.

        With `exact` only `wanted` will do. None: no port is free.
        """
        until = trio.current_time() + seconds
        held = self.find(transport, inner)
        if held is None:
            ports: Iterable[int] = (wanted,) if exact else _from(wanted)
            lease = PortLease(transport, inner, 0, until)
        elif exact and held.external_port != wanted:
            return None
        else:
            ports = (held.external_port,)
            lease = replace(held, until=until)
        for port in ports:
            if self._table.add_static(transport, port, inner, seconds):
                granted = self._leases[transport, inner] = replace(lease, external_port=port)
                return granted
        return None

    def seal(self, lease: PortLease, nonce: bytes) -> None:
        """From now on PCP requests about the lease must bear this nonce."""
        self._leases[lease.transport, lease.inner] = replace(lease, nonce=nonce)

    def end(self, lease: PortLease) -> None:
        """Close the port."""
        self._table.remove_static(lease.transport, lease.external_port)
        self._leases.pop((lease.transport, lease.inner), None)

    def _runner(self, transport: Transport) -> list[PortLease]:
        return [lease for lease in self._leases.values() if lease.transport is transport and self._is_open(lease)]

    def _is_open(self, lease: PortLease) -> bool:
        entry = self._table.at(lease.transport, lease.external_port)
        return entry is not None and entry.inner == lease.inner


def _from(wanted: int) -> Iterable[int]:
    for port in range(wanted, wanted + SEARCHED):
        yield port if port <= LAST_PORT else port - LAST_PORT - 1 + FIRST_PORT
