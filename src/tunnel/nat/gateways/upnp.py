"""The UPnP client: the machine's `PortMapper`, and a memory for mappings that would never end.

A gateway that knows only permanent mappings would keep ours for ever if this process is killed. So the port is kept in
the store until it has been taken back, by this process or the next one.
"""

from __future__ import annotations

import logging
from contextlib import suppress

import trio

from tunnel.model.errors import DeviceError, Refused, Unreachable
from tunnel.model.port_mapping import PortProtocol
from tunnel.model.routes import Gateway
from tunnel.nat.gateways.lease import PortLease, check_outside
from tunnel.network.ports import PortMapper, Store

PERMANENT_FILE = "permanent-port"

log = logging.getLogger(__name__)


class UpnpClient:
    """Maps ports at the gateway that the mapper finds."""

    def __init__(self, mapper: PortMapper, store: Store) -> None:
        self._mapper = mapper
        self._store = store

    async def map_port(
        self, gateway: Gateway, internal_port: int, lifetime: float, held: PortLease | None = None
    ) -> PortLease:
        """Map a UDP port, or renew. Raises Unreachable or Refused."""
        wish = 0 if held is None else held.external.port
        mapped = await self._mapper.map_port(internal_port, lifetime, wish)
        try:
            check_outside(mapped.external)
        except Refused:
            await self._take_back(mapped.external.port)
            raise
        now = trio.current_time()
        lease = PortLease(PortProtocol.UPNP, gateway, internal_port, mapped.external, now, mapped.lease)
        left_over = self._remembered()
        self._remember(lease.external.port if lease.is_permanent else None)
        if left_over not in (None, lease.external.port):
            await self._sweep(left_over)
        return lease

    async def unmap_port(self, lease: PortLease) -> None:
        """Delete the mapping. Raises Unreachable or Refused."""
        await self._mapper.unmap_port(lease.external.port)
        if lease.is_permanent:
            self._remember(None)

    async def holds_port(self, lease: PortLease) -> bool:
        """Look it up in the gateway's table. Raises Unreachable."""
        try:
            return await self._mapper.holds_port(lease.external, lease.internal_port)
        except Refused:
            return False

    def forget(self) -> None:
        """This machine is in another network now: search for a gateway again."""
        self._mapper.forget()

    async def _sweep(self, port: int) -> None:
        """Close what an earlier process left open when it was killed, if it still leads to this machine."""
        if await self._take_back(port):
            log.info("took back a port mapping that an earlier process left", extra={"port": port})

    async def _take_back(self, port: int) -> bool:
        with suppress(Unreachable, Refused):
            await self._mapper.unmap_port(port)
            return True
        return False

    def _remembered(self) -> int | None:
        try:
            kept = self._store.read(PERMANENT_FILE) or b""
        except DeviceError:
            return None
        return int(kept) if kept.isdigit() and len(kept) <= 5 else None

    def _remember(self, port: int | None) -> None:
        if port != self._remembered():
            with suppress(DeviceError):
                self._store.write(PERMANENT_FILE, b"" if port is None else str(port).encode())
