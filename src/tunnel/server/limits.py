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


class _Counts:
    """How many of one kind each source has."""

    def __init__(self, each: int) -> None:
        self._each = each
        self._held: dict[str, int] = {}
        self.total = 0

    def has_room(self, sources: tuple[str, ...]) -> bool:
        return all(self._held.get(key, 0) < self._each * wider for key, wider in _weighed(sources))

    def add(self, sources: tuple[str, ...]) -> None:
        self.total += 1
        for key in sources:
            self._held[key] = self._held.get(key, 0) + 1

    def remove(self, sources: tuple[str, ...]) -> None:
        self.total -= 1
        for key in sources:
            self._held[key] -= 1
            if not self._held[key]:
                del self._held[key]


class Slots:
    """How many connections are held at once: by strangers and by members, of each kind in all and by one source.

    A connection comes as a stranger; `admit` makes it a member's. When all places of strangers are taken, a newcomer
    takes that of the oldest of the source with most of them: who comes in great numbers drives out himself.
    A `take` that gave a slot needs its `give_back`.
    """

    def __init__(self, *, strangers: int, members: int, each_strangers: int, each_members: int) -> None:
        """`each_...`: of one source."""
        self._max_strangers = strangers
        self._max_members = members
        self._strangers = _Counts(each_strangers)
        self._members = _Counts(each_members)
        self._crowds: dict[str, dict[Slot, None]] = {}
        """Strangers that may be dropped, by their narrow source, the oldest first."""
        self._held: set[Slot] = set()
        self.dropped = 0
        """Strangers who had to go."""

    @property
    def held(self) -> int:
        """How many places are taken."""
        return len(self._held)

    def take(self, sources: tuple[str, ...], drop: Callable[[], None]) -> Slot | None:
        """A place for a stranger; None if his sources (see `sources_of`) have as many strangers as they may."""
        if not self._strangers.has_room(sources):
            return None
        if self._strangers.total >= self._max_strangers:
            crowd = max(self._crowds.values(), key=len)
            oldest = next(iter(crowd))
            self._forget_stranger(oldest)
            self.dropped += 1
            oldest.drop()
        slot = Slot(sources, drop)
        self._crowds.setdefault(sources[0], {})[slot] = None
        self._strangers.add(sources)
        self._held.add(slot)
        return slot

    def admit(self, slot: Slot, *, returns: bool = False) -> str | None:
        """Make this stranger a member, or say by which code he is refused: `server_full` or `address_full`.

        One that `returns` takes the place of an older link of the same node, which is about to end.
        """
        if not returns:
            if self._members.total >= self._max_members:
                return "server_full"
            if not self._members.has_room(slot.sources):
                return "address_full"
        self._forget_stranger(slot)
        slot.is_member = True
        self._members.add(slot.sources)
        return None

    def give_back(self, slot: Slot) -> None:
        """The connection has ended."""
        self._held.discard(slot)
        if slot.is_member:
            self._members.remove(slot.sources)
        else:
            self._forget_stranger(slot)

    def _forget_stranger(self, slot: Slot) -> None:
        crowd = self._crowds.get(slot.sources[0], {})
        if slot in crowd:
            del crowd[slot]
            self._strangers.remove(slot.sources)
            if not crowd:
                del self._crowds[slot.sources[0]]


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
