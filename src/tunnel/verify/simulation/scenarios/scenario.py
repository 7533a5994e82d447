"""A scenario: a picture of the network, who does what when, and what must hold. Values only.

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
    """None: a deed starts it."""
    network: str = "home"
    clock: float = 0.0
    """Seconds by which the machine's wall clock is ahead from the beginning; negative: behind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerPlan:
    """How the server is started."""

    start: float | None = 0.0
    clock: float = 0.0
    introduction_wait: float | None = None
    """Another patience for both announcements than the usual 10 s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """All of it. `name` is the file's stem."""

    name: str
    title: str
    topology: Topology
    nodes: dict[str, NodePlan]
    server: ServerPlan = ServerPlan()
    actions: tuple[Action, ...] = ()
    expectations: tuple[Expectation, ...] = ()
    length: float = DEFAULT_LENGTH
    """The run ends then."""
    about: str = ""
