"""The keys of one session: next, current, previous. A new set replaces the old one when its first packet has opened."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from tunnel.crypto.noise import SessionKeys
from tunnel.crypto.sealing import Opener, Sealer


@dataclass(slots=True, eq=False)
class Keys:
    """One agreed set of keys in both directions. Times are Trio's."""

    sealer: Sealer
    opener: Opener
    own_index: int
    peer_index: int
    born: float
    used: float = -math.inf
    """When we last sealed with them."""
    owed: float = math.inf
    """When we sent the first packet since one last came in, so that an answer is due; infinity: nothing was sent."""


class KeySlots:
    """The sets of keys of one session, by data index. `release(index)` is called when an index is free again."""

    __slots__ = ("_by_index", "_release", "current", "next", "previous")

    def __init__(self, release: Callable[[int], None]) -> None:
        self._release = release
        self._by_index: dict[int, Keys] = {}
        self.next: Keys | None = None
        """Agreed, but the peer has not yet shown that it has them."""
        self.current: Keys | None = None
        """The keys with which we seal."""
        self.previous: Keys | None = None
        """Keys with which the peer may still seal."""

    def make(self, agreed: SessionKeys, own_index: int, peer_index: int, now: float) -> Keys:
        """A set that opens packets from now on, but is in no slot yet."""
        keys = Keys(Sealer(agreed.send), Opener(agreed.receive), own_index, peer_index, now)
        self._by_index[own_index] = keys
        return keys

    def find(self, index: int) -> Keys | None:
        """The set with this data index."""
        return self._by_index.get(index)

    def offer(self, keys: Keys) -> None:
        """Put a set into the next slot."""
        if self.next is not None:
            self._forget(self.next)
        self.next = keys

    def install(self, keys: Keys) -> None:
        """Seal with this set from now on."""
        if self.previous is not None:
            self._forget(self.previous)
        self.previous, self.current, self.next = self.current, keys, None

    def drop(self) -> None:
        """Forget every set."""
        for keys in list(self._by_index.values()):
            self._forget(keys)
        self.next = self.current = self.previous = None

    def _forget(self, keys: Keys) -> None:
        if self._by_index.pop(keys.own_index, None) is not None:
            self._release(keys.own_index)
