"""What one source may ask of the server: rates and slots, in tables that cannot grow without bound.

Pure: the caller brings the time (seconds, any steady clock). Knows no connection, no signal and no trio.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict

MAX_SOURCES = 65536


class TokenBucket:
    """Lets `rate` units a second through, and `burst` at once."""

    __slots__ = ("_at", "_burst", "_level", "_rate")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._level = burst
        self._at = now

    def take(self, now: float, amount: float = 1.0) -> bool:
        """Take `amount` units if they are there; False takes none."""
        if now > self._at:
            self._level = min(self._burst, self._level + (now - self._at) * self._rate)
            self._at = now
        if amount > self._level:
            return False
        self._level -= amount
        return True


class RateTable:
    """A token bucket for each key; of more than `size` keys the one unused for longest is forgotten.

    Forgetting favours its key (it starts with a full burst again), but who wants that for himself must come from `size`
    other sources first.
    """

    def __init__(self, rate: float, burst: float, size: int = MAX_SOURCES) -> None:
        self._rate = rate
        self._burst = burst
        self._size = size
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, key: str, now: float, amount: float = 1.0) -> bool:
        """Take from the bucket of this key; False when it holds less."""
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = TokenBucket(self._rate, self._burst, now)
            if len(self._buckets) > self._size:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(key)
        return bucket.take(now, amount)


class Slots:
    """How many of something are held at once, by all and by one key. A `take` that was True needs its `give_back`."""

    def __init__(self, total: int, each: int) -> None:
        self._total = total
        self._each = each
        self._held: dict[str, int] = {}
        self.held = 0

    def take(self, key: str) -> bool:
        """Hold one more slot, if both limits allow."""
        mine = self._held.get(key, 0)
        if self.held >= self._total or mine >= self._each:
            return False
        self._held[key] = mine + 1
        self.held += 1
        return True

    def give_back(self, key: str) -> None:
        """Free a slot that was taken under this key."""
        left = self._held[key] - 1
        self.held -= 1
        if left:
            self._held[key] = left
        else:
            del self._held[key]


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
