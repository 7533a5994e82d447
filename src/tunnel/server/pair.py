"""Two nodes of one network: the key under which their introduction and their circuits are kept."""

from __future__ import annotations

from typing import NamedTuple

from tunnel.model.identity import NetworkId, NodeId


class Pair(NamedTuple):
    """Equal whichever of the two asks: the lower id is first."""

    network: NetworkId
    low: NodeId
    high: NodeId

    @classmethod
    def of(cls, network: NetworkId, one: NodeId, other: NodeId) -> Pair:
        """These two, in whatever order they are given."""
        return cls(network, min(one, other), max(one, other))
