"""Whoever of the two asks, it is the same pair."""

from __future__ import annotations

from tunnel.model.identity import NetworkId, NodeId
from tunnel.server.pair import Pair


def test_a_pair_is_the_same_whoever_of_the_two_asks() -> None:
    """Crossing requests get one introduction, and one circuit."""
    network, low, high = NetworkId(bytes(16)), NodeId(bytes(16)), NodeId(b"\1" + bytes(15))
    assert Pair.of(network, high, low) == Pair.of(network, low, high) == Pair(network, low, high)
