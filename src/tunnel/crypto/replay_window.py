"""Which counters were seen: each may come once, in any order, unless it is too old (as in RFC 6479)."""

from __future__ import annotations

WINDOW = 8192


class ReplayWindow:
    """The last `size` counters up to the highest one seen. Pure; one byte a counter, constant time a packet.

    Ask `is_fresh` before the seal is checked and call `mark` only after: a forged counter must not move the window.
    """

    __slots__ = ("_highest", "_seen", "_size")

    def __init__(self, size: int = WINDOW) -> None:
        if size < 1:
            raise ValueError("a replay window holds at least one counter")
        self._size = size
        self._seen = bytearray()  # allocated at the first mark: most known peers never send
        self._highest = -1

    def is_fresh(self, counter: int) -> bool:
        """Whether this counter (>= 0) was not marked yet and is no older than the window."""
        if counter > self._highest:
            return True
        return counter > self._highest - self._size and not self._seen[counter % self._size]

    def mark(self, counter: int) -> None:
        """Remember a counter that is fresh."""
        ahead = counter - self._highest
        if not self._seen:
            self._seen = bytearray(self._size)
        if ahead > 0:
            if ahead > 1:
                self._skip(ahead - 1)
            self._highest = counter
        self._seen[counter % self._size] = 1

    def _skip(self, count: int) -> None:
        """Clear the places of the `count` counters above the highest one: they held older ones."""
        if count >= self._size:
            self._seen = bytearray(self._size)
            return
        first = (self._highest + 1) % self._size
        until_wrap = min(count, self._size - first)
        self._seen[first : first + until_wrap] = bytes(until_wrap)
        self._seen[: count - until_wrap] = bytes(count - until_wrap)
