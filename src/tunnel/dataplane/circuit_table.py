"""The circuits of the UDP relay that lead here: written by the node, read for each datagram that comes in."""

from __future__ import annotations

from dataclasses import dataclass, field

from tunnel.model.endpoint import Endpoint
from tunnel.model.way import Way


@dataclass(slots=True)
class CircuitTable:
    """One for each node."""

    ways: dict[int, Way] = field(default_factory=dict)
    """The way of each circuit, by its number."""
    relays: tuple[Endpoint, ...] = ()
    """The endpoints from which the relay sends."""
