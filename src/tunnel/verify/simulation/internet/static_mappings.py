"""Ports that hosts inside have requested of their router: open to every remote until their lease ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import trio

from tunnel.model.endpoint import Endpoint
from tunnel.model.transport import Transport
from tunnel.verify.simulation.internet.mappings import MappingTable


@dataclass(frozen=True, slots=True)
class StaticMapping:
    """An external port of one inner endpoint, until a moment of Trio's clock."""

    inner: Endpoint
    until: float


class StaticMappings:
    """The static mappings of one router. A port that another host's dynamic mapping holds cannot be had."""

    def __init__(self) -> None:
        self._tables: Mapping[Transport, MappingTable] = {}
        self._ports: dict[tuple[Transport, int], StaticMapping] = {}
        self._of_inner: dict[tuple[Transport, Endpoint], int] = {}

    def begin_anew(self, tables: Mapping[Transport, MappingTable]) -> None:
        """Forget everything, and reserve ports in these tables from now on. Without tables no port is granted."""
        self._tables = tables
        self._ports.clear()
        self._of_inner.clear()

    def add_static(self, transport: Transport, external_port: int, inner: Endpoint, lease: float) -> bool:
        """Open a port for `lease` seconds, or renew it. False: another endpoint has it."""
        if transport not in self._tables or not 0 < external_port < 65536:
            return False
        known = self.at(transport, external_port)
        if known is not None and known.inner != inner:
            return False
        now = trio.current_time()
        if not self._tables[transport].reserve(external_port, inner, now):
            return False
        self._ports[transport, external_port] = StaticMapping(inner, now + lease)
        self._of_inner[transport, inner] = external_port
        return True

    def remove_static(self, transport: Transport, external_port: int) -> bool:
        """Close a port before its time. False: it was not open."""
        known = self._ports.pop((transport, external_port), None)
        if known is None:
            return False
        self._tables[transport].release(external_port)
        if self._of_inner.get((transport, known.inner)) == external_port:
            del self._of_inner[transport, known.inner]
        return True

    def at(self, transport: Transport, external_port: int) -> StaticMapping | None:
        """The mapping at this port, if it is open now."""
        known = self._ports.get((transport, external_port))
        if known is not None and known.until <= trio.current_time():
            self.remove_static(transport, external_port)
            return None
        return known

    def port_of(self, transport: Transport, inner: Endpoint) -> int | None:
        """The newest external port that this inner endpoint has now."""
        port = self._of_inner.get((transport, inner))
        return port if port is not None and self.at(transport, port) is not None else None

    @property
    def is_empty(self) -> bool:
        """Whether no port was requested, so that packets need not be looked up."""
        return not self._ports
