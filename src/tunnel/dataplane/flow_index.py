"""Receiver indices: which peer a datagram of a kind with an index is for."""

from __future__ import annotations

from typing import Protocol

from tunnel.model.way import Way
from tunnel.network.ports import Entropy
from tunnel.wire.frames import Kind


class Indexed(Protocol):
    """Whoever answers to a receiver index."""

    def handle_untrusted(self, kind: Kind, datagram: bytes, way: Way) -> None:
        """Take one datagram whose header is well formed. Raises MalformedFrame or NotAuthentic."""
        ...

    def fail(self, error: Exception) -> None:
        """`handle_untrusted` raised something else: a bug, and this owner's trouble alone."""
        ...


class FlowIndex:
    """Sixteen bytes in, owners out. Two peers may share a derived index: both are asked, the keys decide."""

    def __init__(self, entropy: Entropy) -> None:
        self._entropy = entropy
        self._owners: dict[tuple[int, int], tuple[Indexed, ...]] = {}

    def claim(self, kind: Kind, index: int | None, owner: Indexed) -> int:
        """Receive `kind` under `index`; None draws one that nobody has. Control packets share the data indices."""
        while index is None:
            drawn = int.from_bytes(self._entropy.token(4))
            if (kind, drawn) not in self._owners:
                index = drawn
        for each in _kinds(kind):
            self._owners[each, index] = (*self._owners.get((each, index), ()), owner)
        return index

    def release(self, kind: Kind, index: int, owner: Indexed) -> None:
        """No longer; an unknown claim is nothing."""
        for each in _kinds(kind):
            rest = tuple(other for other in self._owners.get((each, index), ()) if other is not owner)
            if rest:
                self._owners[each, index] = rest
            else:
                self._owners.pop((each, index), None)

    def owners(self, kind: int, index: int) -> tuple[Indexed, ...]:
        """Who may be meant."""
        return self._owners.get((kind, index), ())

    def __len__(self) -> int:
        return len(self._owners)


def _kinds(kind: Kind) -> tuple[Kind, ...]:
    return (Kind.DATA, Kind.CONTROL) if kind is Kind.DATA else (kind,)
