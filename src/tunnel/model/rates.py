"""Rates: so much a second, and so much at once, in tables that cannot grow without bound.

Pure: the caller brings the time (seconds, any steady clock).
"""

from __future__ import annotations

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

    @property
    def level(self) -> float:
        """Units that were left at the last look."""
        return self._level

    def take(self, now: float, amount: float = 1.0) -> bool:
        """Take `amount` units if they are there; False takes none."""
        if amount > self.left(now):
            return False
        self._level -= amount
        return True

    def left(self, now: float) -> float:
        """What may be taken now."""
        if now > self._at:
            self._level = min(self._burst, self._level + (now - self._at) * self._rate)
            self._at = now
        return self._level


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
        return self._bucket(key, now).take(now, amount)

    def left(self, key: str, now: float) -> float:
        """What may be taken now from the bucket of this key."""
        return self._bucket(key, now).left(now)

    def _bucket(self, key: str, now: float) -> TokenBucket:
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = TokenBucket(self._rate, self._burst, now)
            if len(self._buckets) > self._size:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(key)
        return bucket
