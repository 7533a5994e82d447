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
    """When the first packet that is owed an answer went out since one last came in; infinity: none did."""


class KeySlots:
    """Who holds which keys under which data index. `release(index)` is called when nobody listens there any more."""

    __slots__ = ("_by_index", "_release", "current", "next", "previous")

    def __init__(self, release: Callable[[int], None]) -> None:
        self._release = release
        self._by_index: dict[int, Keys] = {}
        self.next: Keys | None = None
        """Agreed, but the peer has not shown yet that it has them."""
        self.current: Keys | None = None
        """What we seal with."""
        self.previous: Keys | None = None
        """What the peer may still seal with."""

    def make(self, agreed: SessionKeys, own_index: int, peer_index: int, now: float) -> Keys:
        """A set that we listen for from now on, in no slot yet."""
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
