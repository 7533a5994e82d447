"""A router's static mappings without a router."""

from __future__ import annotations

from dataclasses import dataclass, field

import trio

from tunnel.model.endpoint import Endpoint
from tunnel.model.transport import Transport


@dataclass
class Entry:
    inner: Endpoint
    until: float


@dataclass
class PortTable:
    """What `PortLeases` writes to; `taken` are ports that others hold."""

    taken: frozenset[int] = frozenset()
    entries: dict[tuple[Transport, int], Entry] = field(default_factory=dict)

    def add_static(self, transport: Transport, external_port: int, inner: Endpoint, lease: float) -> bool:
        known = self.at(transport, external_port)
        if external_port in self.taken or (known is not None and known.inner != inner):
            return False
        self.entries[transport, external_port] = Entry(inner, trio.current_time() + lease)
        return True

    def remove_static(self, transport: Transport, external_port: int) -> bool:
        return self.entries.pop((transport, external_port), None) is not None

    def at(self, transport: Transport, external_port: int) -> Entry | None:
        known = self.entries.get((transport, external_port))
        return known if known is not None and known.until > trio.current_time() else None

    def open_ports(self, transport: Transport = Transport.UDP) -> dict[int, Endpoint]:
        """What is open now, and where it leads."""
        return {
            port: entry.inner
            for (of, port), entry in sorted(self.entries.items())
            if of is transport and self.at(of, port) is not None
        }
