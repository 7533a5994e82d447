"""The table of a NAT, one for UDP and one for TCP: inner endpoint (and remote) -> external port.

    out: inner -> remote   key by `mapping`: inner | inner, remote address | inner, remote endpoint
    in:  port <- remote    the mapping at that port, if it admits the remote

Times are passed in; nothing here schedules. Expired mappings are swept when new ones are made, once a second at most.
"""

from __future__ import annotations

from collections.abc import Hashable

from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import SettingsError
from tunnel.model.nat import Mapping
from tunnel.verify.memory.packet import SegmentKind
from tunnel.verify.simulation.internet.allocation import Allocator
from tunnel.verify.simulation.internet.openings import Opening, Policy

SWEEP_INTERVAL = 1.0
_KNOWN = (Mapping.ENDPOINT_INDEPENDENT, Mapping.ADDRESS_DEPENDENT, Mapping.ADDRESS_AND_PORT_DEPENDENT)


class PortMapping(Opening):
    """An opening with an external port."""

    __slots__ = ("ends", "key", "port")

    def __init__(self, inner: Endpoint, policy: Policy, now: float, key: Hashable, port: int) -> None:
        super().__init__(inner, policy, now)
        self.key = key
        self.port = port
        self.ends: dict[Endpoint, int] = {}
        """TCP: the remotes of its streams, and which directions (1 | 2) of each stream have ended."""


class MappingTable:
    """The dynamic mappings of one transport."""

    def __init__(
        self, mapping: Mapping, policy: Policy, allocator: Allocator, *, max_mappings: int | None = None
    ) -> None:
        if mapping not in _KNOWN:
            raise SettingsError(f"a simulated NAT must know how it maps: {mapping.value!r} does not say it")
        self._mapping = mapping
        self._policy = policy
        self._allocator = allocator
        self._max = max_mappings
        self._by_key: dict[Hashable, PortMapping] = {}
        self._by_port: dict[int, PortMapping] = {}
        self._of_host: dict[str, dict[Hashable, PortMapping]] = {}
        self._reserved: dict[int, Endpoint] = {}
        self._strangers: dict[tuple[Endpoint, int], float] = {}
        self._has_diverted = False
        self._next_sweep = 0.0

    def __len__(self) -> int:
        """How many mappings and strangers it holds, including expired ones that are not swept yet."""
        return max(len(self._by_key), len(self._by_port), len(self._strangers))

    def leave(self, inner: Endpoint, remote: Endpoint, now: float) -> PortMapping | None:
        """The mapping by which a packet leaves, created if need be; None if no port is free."""
        mapping = self._mapping
        key: Hashable
        if mapping is Mapping.ENDPOINT_INDEPENDENT:
            key = inner
        elif mapping is Mapping.ADDRESS_AND_PORT_DEPENDENT:
            key = (inner, remote)
        else:
            key = (inner, remote.host)
        found = self._by_key.get(key)
        if found is None or not found.is_alive(now):
            found = self._make(key, inner, now)
        if (self._strangers or self._has_diverted) and found is not None:
            found = self._divert(found, remote, now)
        if found is not None:
            found.note_outbound(remote, now)
        return found

    def find(self, port: int, remote: Endpoint, now: float) -> PortMapping | None:
        """The mapping that lets a packet from `remote` in at `port`. Nothing changes."""
        found = self._by_port.get(port)
        if found is None or not found.is_alive(now) or not found.admits(remote, now):
            return None
        return found

    def note_stranger(self, remote: Endpoint, port: int, until: float) -> None:
        """Remember an unsolicited packet: for a while no flow to that remote leaves by that port."""
        self._strangers[remote, port] = until

    def note_segment(
        self, mapping: PortMapping, remote: Endpoint, kind: SegmentKind, *, outbound: bool, now: float
    ) -> None:
        """A segment of a byte stream passed. After the last one the mapping expires soon, or at once."""
        match kind:
            case SegmentKind.CONNECT | SegmentKind.ACCEPT | SegmentKind.DATA:
                mapping.ends.setdefault(remote, 0)
            case SegmentKind.END:
                mapping.ends[remote] = mapping.ends.get(remote, 0) | (1 if outbound else 2)
                if all(ends == 3 for ends in mapping.ends.values()):
                    mapping.retire(now)
            case SegmentKind.RESET:
                mapping.ends.pop(remote, None)
                if not mapping.ends:
                    self._remove(mapping)

    def reserve(self, port: int, inner: Endpoint, now: float) -> bool:
        """Keep a port for a static mapping; False when another inner endpoint has it."""
        holder = self._by_port.get(port)
        if holder is not None and holder.is_alive(now) and holder.inner != inner:
            return False
        self._reserved[port] = inner
        return True

    def release(self, port: int) -> None:
        """Free the port of a static mapping that has ended."""
        self._reserved.pop(port, None)

    def forget(self) -> None:
        """Remove all dynamic mappings. The allocator goes on where it was, and reserved ports stay reserved."""
        self._by_key.clear()
        self._by_port.clear()
        self._of_host.clear()
        self._strangers.clear()
        self._has_diverted = False

    def live_mappings(self, inner_host: str, now: float) -> int:
        """How many mappings an inner address has."""
        return sum(mapping.is_alive(now) for mapping in self._of_host.get(inner_host, {}).values())

    def _make(self, key: Hashable, inner: Endpoint, now: float) -> PortMapping | None:
        if now >= self._next_sweep:
            self._sweep(now)
        ended = self._by_key.get(key)
        if ended is not None:
            self._remove(ended)
        others = self._of_host.setdefault(inner.host, {})
        if self._max is not None and len(others) >= self._max:
            self._remove(next(iter(others.values())))
        port = self._allocator.take(inner, lambda port: self._is_free(port, now))
        if port is None:
            return None
        made = PortMapping(inner, self._policy, now, key, port)
        self._by_key[key] = self._by_port[port] = others[key] = made
        return made

    def _divert(self, found: PortMapping, remote: Endpoint, now: float) -> PortMapping | None:
        """Another mapping for this remote alone, because an unsolicited packet from there has taken the port."""
        key = (found.inner, remote, "diverted")
        diverted = self._by_key.get(key)
        if diverted is not None and diverted.is_alive(now):
            return diverted
        if self._strangers.get((remote, found.port), 0.0) <= now:
            return found
        self._has_diverted = True
        return self._make(key, found.inner, now)

    def _is_free(self, port: int, now: float) -> bool:
        holder = self._by_port.get(port)
        if holder is not None:
            if holder.is_alive(now):
                return False
            self._remove(holder)
        return port not in self._reserved

    def _sweep(self, now: float) -> None:
        self._next_sweep = now + SWEEP_INTERVAL
        for mapping in [mapping for mapping in self._by_port.values() if not mapping.is_alive(now)]:
            self._remove(mapping)
        for stranger in [stranger for stranger, until in self._strangers.items() if until <= now]:
            del self._strangers[stranger]

    def _remove(self, mapping: PortMapping) -> None:
        if self._by_port.get(mapping.port) is mapping:
            del self._by_port[mapping.port]
            del self._by_key[mapping.key]
            del self._of_host[mapping.inner.host][mapping.key]
