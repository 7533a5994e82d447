"""What one source may hold of the server, and who counts as one source. Rates are in model/rates.py.

Knows no connection, no signal and no trio.
"""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

from tunnel.model.rates import RateTable
from tunnel.model.settings import ServerSettings

_log = logging.getLogger(__name__)


WIDER = 4
"""What the sources of one IPv6 /48 may have together, in times of what one source may."""
SPARE_DESCRIPTORS = 160
"""File descriptors for everything but the connections of nodes: HTTP, STUN, the registry, Python's own."""


@dataclass(eq=False)
class Slot:
    """A place that one connection holds."""

    sources: tuple[str, ...]
    drop: Callable[[], None]
    """Ends the connection."""
    is_member: bool = False


class Slots:
    """How many connections are held at once: by strangers, by members, and of either kind by one source.

    A connection comes as a stranger; `admit` makes it a member's. When all places of strangers are taken, a newcomer
    takes that of the oldest of the source with most of them: who comes in great numbers drives out himself.
    A `take` that gave a slot needs its `give_back`.
    """

    def __init__(self, *, strangers: int, members: int, each: int) -> None:
        self._max_strangers = strangers
        self._max_members = members
        self._each = each
        self._held: dict[str, int] = {}
        self._strangers: dict[str, dict[Slot, None]] = {}
        self._stranger_count = 0
        self.held = 0
        self.dropped = 0
        """Strangers who had to go."""

    def take(self, sources: tuple[str, ...], drop: Callable[[], None]) -> Slot | None:
        """A place for a stranger; None if his sources (see `sources_of`) hold as many as they may."""
        if any(self._held.get(key, 0) >= self._each * wider for key, wider in _weighed(sources)):
            return None
        if self._stranger_count >= self._max_strangers:
            crowd = max(self._strangers.values(), key=len)
            oldest = next(iter(crowd))
            self._forget_stranger(oldest)
            self.dropped += 1
            oldest.drop()
        slot = Slot(sources, drop)
        self._strangers.setdefault(sources[0], {})[slot] = None
        self._stranger_count += 1
        for key in sources:
            self._held[key] = self._held.get(key, 0) + 1
        self.held += 1
        return slot

    def admit(self, slot: Slot) -> bool:
        """This stranger has become a member. False if there are as many members as there may be."""
        if self.held - self._stranger_count >= self._max_members:
            return False
        self._forget_stranger(slot)
        slot.is_member = True
        return True

    def give_back(self, slot: Slot) -> None:
        """The connection has ended."""
        self._forget_stranger(slot)
        self.held -= 1
        for key in slot.sources:
            self._held[key] -= 1
            if not self._held[key]:
                del self._held[key]

    def _forget_stranger(self, slot: Slot) -> None:
        crowd = self._strangers.get(slot.sources[0], {})
        if slot in crowd:
            del crowd[slot]
            self._stranger_count -= 1
            if not crowd:
                del self._strangers[slot.sources[0]]


class DoorRates:
    """How often one source may connect: a burst, then a rate; the sources of one IPv6 /48 together `WIDER` times it."""

    def __init__(self, rate: float, burst: float) -> None:
        self._tables = [RateTable(rate * wider, burst * wider) for wider in (1, WIDER)]

    def take(self, sources: tuple[str, ...], now: float) -> bool:
        """Whether this source (see `sources_of`) may connect once more."""
        return all(table.take(key, now) for table, key in zip(self._tables, sources, strict=False))


def fit_connections(settings: ServerSettings, descriptors: int) -> ServerSettings:
    """Settings that so many file descriptors are enough for; a warning if there are too few for those given."""
    usable = max(descriptors - SPARE_DESCRIPTORS, 2)
    if settings.max_connections + settings.max_strangers <= usable:
        return settings
    strangers = min(settings.max_strangers, usable // 4 or 1)
    members = min(settings.max_connections, usable - strangers)
    _log.warning(
        "the limit of open files is too low for the connections that the settings allow",
        extra={"limit": descriptors, "max_connections": members, "max_strangers": strangers},
    )
    return replace(settings, max_connections=members, max_strangers=strangers)


def sources_of(host: str) -> tuple[str, ...]:
    """The keys under which a connection from this host is counted: `source_of`, and an IPv6 host's /48.

    A site gets up to a /48 (RFC 6177), so even the /64s of one site are many.
    """
    narrow = source_of(host)
    if not narrow.endswith("/64"):
        return (narrow,)
    address = int(ipaddress.IPv6Address(narrow.removesuffix("/64")))
    return narrow, str(ipaddress.IPv6Address(address >> 80 << 80)) + "/48"


def _weighed(sources: tuple[str, ...]) -> zip[tuple[str, int]]:
    return zip(sources, (1, WIDER), strict=False)


def source_of(host: str) -> str:
    """The key under which a remote host is limited: an IPv4 address, or the /64 of an IPv6 one.

    One subscriber holds a whole /64 (RFC 6177), so single IPv6 addresses would limit nobody.
    """
    address = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Address(int(address) >> 64 << 64)) + "/64"
