"""Token buckets: a rate and a burst, for one sender or in a table of bounded size.

Pure: the caller brings the time (seconds of any steady clock).
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
        """Units that were left when the bucket was last asked."""
        return self._level

    def take(self, now: float, amount: float = 1.0) -> bool:
        """Take `amount` units. False: there are fewer, and none are taken."""
        if amount > self.left(now):
            return False
        self._level -= amount
        return True

    def left(self, now: float) -> float:
        """How many units may be taken now."""
        if now > self._at:
            self._level = min(self._burst, self._level + (now - self._at) * self._rate)
            self._at = now
        return self._level


class RateTable:
    """A token bucket for each key. Beyond `size` keys the least recently used one is forgotten.

    A forgotten key starts with a full burst again, but it takes `size` other keys to make the table forget it.
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
        """How many units may be taken now from the bucket of this key."""
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
