"""Receiver indices: which flow or peer a datagram is for, by its header (docs/design/receiver-indices.md)."""

from __future__ import annotations

from typing import Protocol

from tunnel.dataplane.flow import Flow
from tunnel.model.way import Way
from tunnel.network.ports import Entropy
from tunnel.wire.frames import Header, Kind


class Indexed(Protocol):
    """The owner of an index of probes or handshakes."""

    def handle_untrusted(self, header: Header, datagram: bytes, way: Way) -> None:
        """Take one whole datagram. Raises MalformedFrame or NotAuthentic."""
        ...

    def fail(self, error: Exception) -> None:
        """`handle_untrusted` raised something else: a bug, which ends only this owner."""
        ...


class FlowIndex:
    """Data and control packets have indices that we draw, each for one flow. Those of probes and handshakes are
    derived, so two peers may share one: both are asked, and the keys decide.
    """

    def __init__(self, entropy: Entropy) -> None:
        self._entropy = entropy
        self.flows: dict[int, Flow] = {}
        """Flows by the index of their data and control packets."""
        self._owners: dict[tuple[int, int], tuple[Indexed, ...]] = {}

    def draw(self, flow: Flow) -> int:
        """A free index. Data and control packets with it are for this flow."""
        while (index := int.from_bytes(self._entropy.token(4))) in self.flows:
            pass
        self.flows[index] = flow
        return index

    def give_back(self, index: int) -> None:
        """Free a drawn index. One that was not drawn is ignored."""
        self.flows.pop(index, None)

    def claim(self, kind: Kind, index: int, owner: Indexed) -> None:
        """Receive probes or handshakes with this index."""
        self._owners[kind, index] = (*self.owners(kind, index), owner)

    def release(self, kind: Kind, index: int, owner: Indexed) -> None:
        """End a claim. An unknown one is ignored."""
        rest = tuple(other for other in self.owners(kind, index) if other is not owner)
        if rest:
            self._owners[kind, index] = rest
        else:
            self._owners.pop((kind, index), None)

    def owners(self, kind: int, index: int) -> tuple[Indexed, ...]:
        """All owners of this index."""
        return self._owners.get((kind, index), ())

    def __len__(self) -> int:
        return len(self.flows) + len(self._owners)

    def indices(self) -> set[int]:
        """All indices in use."""
        return {*self.flows, *(index for _, index in self._owners)}
