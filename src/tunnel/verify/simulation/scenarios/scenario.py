"""A scenario: a topology, programs, actions, and what must hold. Values only.

scenario_file.py reads all of it from TOML. Times are seconds since the run began.
"""

from __future__ import annotations

from dataclasses import dataclass

from tunnel.model.settings import NodeSettings
from tunnel.verify.reachability.topology import Topology
from tunnel.verify.simulation.scenarios.action import Action
from tunnel.verify.simulation.scenarios.expectation import Expectation

DEFAULT_LENGTH = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePlan:
    """How the node of a host is started."""

    settings: NodeSettings
    start: float | None = 0.0
    """None: an action starts it."""
    network: str = "home"
    clock: float = 0.0
    """Seconds by which the machine's wall clock is ahead at the beginning; negative: behind."""
    offloads: bool = False
    """Whether its TUN interface passes superpackets and leaves checksums to its reader."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerPlan:
    """How the server is started."""

    start: float | None = 0.0
    clock: float = 0.0
    introduction_wait: float | None = None
    """Seconds that the server waits for both announcements, instead of the usual 10."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A whole scenario. `name` is the file's stem."""

    name: str
    title: str
    topology: Topology
    nodes: dict[str, NodePlan]
    server: ServerPlan = ServerPlan()
    actions: tuple[Action, ...] = ()
    expectations: tuple[Expectation, ...] = ()
    length: float = DEFAULT_LENGTH
    """Seconds after which the run ends."""
    about: str = ""
