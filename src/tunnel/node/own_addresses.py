"""Our own tunnel addresses: what the server leases us, and whether something on this machine clashes with it.

Without a TUN interface nothing can clash: the lease is all.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from tunnel.machines.notifier import Notifier
from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import ServerUnreachable
from tunnel.node.lease import Lease, unmet_wish
from tunnel.node.peer_table import PeerTable
from tunnel.node.pool_routes import PoolRoutes
from tunnel.wire.signals import Welcome


class OwnAddresses:
    """Call `look()` when something on this machine has changed. `wish` is the address that the user asked for."""

    def __init__(
        self, wish: str | None, lease: Lease, peer_table: PeerTable, pool: PoolRoutes | None, notifier: Notifier
    ) -> None:
        self._wish = wish
        self._lease = lease
        self._peer_table = peer_table
        self._pool = pool
        self._notifier = notifier

    @property
    def addresses(self) -> tuple[str, ...]:
        """IPv6 always, IPv4 once leased, unless it clashes with something on this machine."""
        return self._lease.addresses

    @property
    def wanted(self) -> str:
        """The address that we ask the server for; empty if any will do."""
        return self._wish or self._lease.host

    @property
    def notes(self) -> tuple[str, ...]:
        """Why the wish was not met, and clashes on this machine, for people."""
        holder = None if self._wish is None else self._peer_table.ipv4_names().get(self._wish)
        unmet = unmet_wish(self._wish, self._lease.address, holder)
        return (*filter(None, (unmet,)), *(() if self._pool is None else self._pool.notes))

    def note_on(self, addresses: Iterable[str]) -> str | None:
        """Why this machine does not reach the peer with these addresses by IPv4, or not safely; None if it does."""
        return None if self._pool is None else self._pool.note_on(addresses)

    def take(self, welcome: Welcome, via: Endpoint) -> None:
        """The server, reached at `via` or through a proxy there, has welcomed us: it leases us this address."""
        self._lease.take(welcome.address, welcome.leased_since)
        if self._pool is not None:
            self._pool.note_reached(via.host)
        self.look()

    def look(self) -> None:
        """See whether our address clashes with something here, and settle which addresses peers may claim."""
        if self._pool is not None:
            self._pool.look()
        self._peer_table.claim_own(self._lease.interfaces, self._lease.since)

    def choose_dialed(self, endpoints: Collection[Endpoint]) -> Collection[Endpoint]:
        """Those that may be dialed: no tunnel address is among them. Raises ServerUnreachable if none is left."""
        if self._pool is None:
            return endpoints
        chosen = self._pool.choose([endpoint.host for endpoint in endpoints])
        self.look()
        self._notifier.notify()
        if endpoints and not chosen:
            raise ServerUnreachable(self._pool.shunned or "")
        return [endpoint for endpoint in endpoints if endpoint.host in chosen]
