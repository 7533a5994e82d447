"""Receiver indices: whose a datagram is, by the index in its header (docs/design/receiver-indices.md)."""

from __future__ import annotations

from typing import Protocol

from tunnel.dataplane.flow import Flow
from tunnel.model.way import Way
from tunnel.network.ports import Entropy
from tunnel.wire.frames import Header, Kind


class Indexed(Protocol):
    """Whoever answers to the index of probes or handshakes."""

    def handle_untrusted(self, header: Header, datagram: bytes, way: Way) -> None:
        """Take one datagram, header and all. Raises MalformedFrame or NotAuthentic."""
        ...

    def fail(self, error: Exception) -> None:
        """`handle_untrusted` raised something else: a bug, and this owner's trouble alone."""
        ...


class FlowIndex:
    """Data and control packets come under indices that we draw, one flow each. Those of probes and handshakes are
    derived, so two peers may share one: both are asked, the keys decide.
    """

    def __init__(self, entropy: Entropy) -> None:
        self._entropy = entropy
        self.flows: dict[int, Flow] = {}
        """By the index of their data and control packets."""
        self._owners: dict[tuple[int, int], tuple[Indexed, ...]] = {}

    def draw(self, flow: Flow) -> int:
        """An index that nobody has: data and control packets under it are this flow's."""
        while (index := int.from_bytes(self._entropy.token(4))) in self.flows:
            pass
        self.flows[index] = flow
        return index

    def give_back(self, index: int) -> None:
        """No flow's any more; one that was not drawn is nothing."""
        self.flows.pop(index, None)

    def claim(self, kind: Kind, index: int, owner: Indexed) -> None:
        """Receive probes or handshakes under this index."""
        self._owners[kind, index] = (*self.owners(kind, index), owner)

    def release(self, kind: Kind, index: int, owner: Indexed) -> None:
        """No longer; an unknown claim is nothing."""
        rest = tuple(other for other in self.owners(kind, index) if other is not owner)
        if rest:
            self._owners[kind, index] = rest
        else:
            self._owners.pop((kind, index), None)

    def owners(self, kind: int, index: int) -> tuple[Indexed, ...]:
        """Who may be meant."""
        return self._owners.get((kind, index), ())

    def __len__(self) -> int:
        return len(self.flows) + len(self._owners)

    def indices(self) -> set[int]:
        """All that are in use."""
        return {*self.flows, *(index for _, index in self._owners)}
