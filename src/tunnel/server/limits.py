"""What one source address may use of the server, and what counts as one source. Rates are in model/rates.py.

Must not know connections, signals or Trio.
"""

from __future__ import annotations

import ipaddress
import logging
import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace

from tunnel.model.identity import NetworkId
from tunnel.model.rates import MAX_SOURCES, RateTable
from tunnel.model.settings import ServerSettings

_log = logging.getLogger(__name__)


WIDER = 4
"""Strangers of one IPv6 /48 may together have so many times what those of one source may."""
SILENT = 16
"""Connections that may be made for each one that may send its first bytes."""
RESERVE = 4
"""Sources from which a node registered lately may have so many times the rate in addition."""
LATELY = 3600.0
"""Seconds for which a source counts as one from which nodes register."""
SPARE_DESCRIPTORS = 160
"""File descriptors for everything but the connections of nodes: HTTP, STUN, the registry, Python's own."""


@dataclass(eq=False)
class Slot:
    """A place that one connection holds."""

    sources: tuple[str, ...]
    drop: Callable[[], None]
    """Ends the connection of a stranger."""
    network: NetworkId | None = None
    """Of a member; None for a stranger."""
    end: Callable[[str], None] | None = None
    """Ends the connection of a member, with this code."""


class _Counts:
    """How many strangers each source has."""

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


class _Members:
    """The members of one source, by their network, the newest last."""

    def __init__(self) -> None:
        self.networks: dict[NetworkId, dict[Slot, None]] = {}
        self.total = 0

    @property
    def greatest(self) -> dict[Slot, None]:
        """The members of the network that has most."""
        return max(self.networks.values(), key=len)


class Slots:
    """Limits the connections held at once: those of strangers and of members, each in all and by one source.

    A connection starts as a stranger's; `admit` makes it a member's. A source of many connections displaces its own:
    - when a source has its maximum of strangers, a new one replaces the oldest of that source; when the server has, it
      replaces the oldest of the source with most strangers;
    - when a source has its maximum of members, the network with most of them loses one to a network with fewer, but
      none is reduced below an eighth of the maximum: networks cost nothing, so many small ones must not displace a
      large one;
    - when the server has its maximum of members, the source with most of them loses one to a source with fewer.

    A `take` that gave a slot needs its `give_back`.
    """

    def __init__(self, *, strangers: int, members: int, each_strangers: int, each_members: int) -> None:
        """`each_...`: for one source; a whole IPv6 /48 may have as many members as one IPv4 address."""
        self._max_strangers = strangers
        self._max_members = members
        self._each_members = each_members
        self._strangers = _Counts(each_strangers)
        self._strangers_by_source: dict[str, dict[Slot, None]] = {}
        """Strangers that may be dropped, by their narrow source, the oldest first."""
        self._members: dict[str, _Members] = {}
        """By their wide source."""
        self._members_total = 0
        self._held: set[Slot] = set()
        self.dropped = 0
        """Strangers that were dropped for newer ones."""

    @property
    def held(self) -> int:
        """How many places are taken."""
        return len(self._held)

    def take(self, sources: tuple[str, ...], drop: Callable[[], None]) -> Slot | None:
        """A slot for a stranger; None if the /48 of its sources (see `sources_of`) has its maximum."""
        if not self._strangers.has_room(sources):
            if sources[0] not in self._strangers_by_source:
                return None
            self._drop_oldest(self._strangers_by_source[sources[0]])
        elif self._strangers.total >= self._max_strangers:
            self._drop_oldest(max(self._strangers_by_source.values(), key=len))
        slot = Slot(sources, drop)
        self._strangers_by_source.setdefault(sources[0], {})[slot] = None
        self._strangers.add(sources)
        self._held.add(slot)
        return slot

    def admit(self, slot: Slot, network: NetworkId, end: Callable[[str], None], *, returns: bool = False) -> str | None:
        """Make this stranger a member of a network, or return the code of the refusal: `server_full`, `address_full`.

        One that `returns` replaces an older link of the same node, which is about to end. `end(code)` is called when it
        has to give way later.
        """
        source = slot.sources[-1]
        here = self._members.get(source) or _Members()
        if not returns:
            if here.total >= self._each_members:
                mine, greatest = len(here.networks.get(network, ())), here.greatest
                if len(greatest) <= max(mine + 1, self._each_members // 8):
                    return "address_full"
                self._end_newest(greatest, "address_full")
            elif self._members_total >= self._max_members:
                greatest_source = max(self._members.values(), key=_total)
                if greatest_source.total <= here.total + 1:
                    return "server_full"
                self._end_newest(greatest_source.greatest, "server_full")
        self._forget_stranger(slot)
        slot.network, slot.end = network, end
        here = self._members.setdefault(source, here)
        here.networks.setdefault(network, {})[slot] = None
        here.total += 1
        self._members_total += 1
        return None

    def give_back(self, slot: Slot) -> None:
        """The connection has ended."""
        self._held.discard(slot)
        self._forget_stranger(slot)
        self._forget_member(slot)

    def _drop_oldest(self, strangers: dict[Slot, None]) -> None:
        oldest = next(iter(strangers))
        self._forget_stranger(oldest)
        self.dropped += 1
        oldest.drop()

    def _end_newest(self, members: dict[Slot, None], code: str) -> None:
        newest = next(reversed(members))
        self._forget_member(newest)
        assert newest.end is not None
        newest.end(code)

    def _forget_stranger(self, slot: Slot) -> None:
        strangers = self._strangers_by_source.get(slot.sources[0], {})
        if slot in strangers:
            del strangers[slot]
            self._strangers.remove(slot.sources)
            if not strangers:
                del self._strangers_by_source[slot.sources[0]]

    def _forget_member(self, slot: Slot) -> None:
        here = self._members.get(slot.sources[-1])
        if here is None or slot.network is None or slot not in here.networks.get(slot.network, ()):
            return
        del here.networks[slot.network][slot]
        if not here.networks[slot.network]:
            del here.networks[slot.network]
        here.total -= 1
        if not here.total:
            del self._members[slot.sources[-1]]
        self._members_total -= 1


def _total(members: _Members) -> int:
    return members.total


class ConnectRates:
    """How often one source may connect: a burst, then a rate; the sources of one IPv6 /48 together `WIDER` times that.

    A connection that sends nothing costs little and is not charged: `may_connect` limits all connections to `SILENT`
    times as many. A source from which a node registered lately has `RESERVE` times the rate in addition.
    """

    def __init__(self, rate: float, burst: float) -> None:
        self._silent = _wider_tables(rate * SILENT, burst * SILENT)
        self._speaking = _wider_tables(rate, burst)
        self._reserve = _wider_tables(rate * RESERVE, burst)
        self._registered: OrderedDict[str, float] = OrderedDict()

    def may_connect(self, sources: tuple[str, ...], now: float) -> bool:
        """Whether this source (see `sources_of`) may connect once more."""
        return _take(self._silent, sources, now)

    def may_speak(self, sources: tuple[str, ...], now: float) -> bool:
        """Whether one of its connections that sends its first bytes is served."""
        if _take(self._speaking, sources, now):
            return True
        registered = self._registered.get(sources[0], -math.inf)
        return now - registered <= LATELY and _take(self._reserve, sources, now)

    def note_registered(self, sources: tuple[str, ...], now: float) -> None:
        """A node has registered from there."""
        self._registered[sources[0]] = now
        self._registered.move_to_end(sources[0])
        if len(self._registered) > MAX_SOURCES:
            self._registered.popitem(last=False)


def _wider_tables(rate: float, burst: float) -> tuple[RateTable, ...]:
    return tuple(RateTable(rate * wider, burst * wider) for wider in (1, WIDER))


def _take(tables: tuple[RateTable, ...], sources: tuple[str, ...], now: float) -> bool:
    return all(table.take(key, now) for table, key in zip(tables, sources, strict=False))


def fit_connections(settings: ServerSettings, descriptors: int) -> ServerSettings:
    """Settings that fit this number of file descriptors; logs a warning if the given settings need more."""
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
