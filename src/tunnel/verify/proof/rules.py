"""What a model is made from: the tables of the charts, and a fault model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from tunnel.machines.announcement import AnnouncementChart
from tunnel.machines.introduction import IntroductionChart
from tunnel.machines.peer_connection import PeerConnectionChart
from tunnel.machines.table import ChartTable, Valuation, read_table


class Fault(Exception):
    """A forbidden step. Its text says which rule it breaks."""


class Charts(NamedTuple):
    """The tables of the composition, about which everything is proved."""

    peer: ChartTable
    announcement: ChartTable
    introduction: ChartTable


def read_charts() -> Charts:
    """The charts of the program."""
    return Charts(
        read_table("peer_connection", PeerConnectionChart),
        read_table("announcement", AnnouncementChart),
        read_table("introduction", IntroductionChart),
    )


@dataclass(frozen=True)
class FaultModel:
    """Which faults may happen around the two nodes, again and again, in any order."""

    name: str
    is_direct_allowed: bool = True
    """Whether the policy of both allows direct paths."""
    room: int = 1
    """Messages of the server in flight to a node. To the server there is room for an announcement and a request;
    between the nodes for a probe and an answer of each side."""
    is_restarting: bool = False
    """Processes end, with or without a farewell, and start again."""
    is_moving: bool = False
    """Addresses change."""
    has_path: bool = True
    """The direct path carries at the start."""
    is_path_changing: bool = False
    """The path dies and opens again, in each direction by itself."""
    is_link_breaking: bool = False
    """Links to the server break."""
    is_server_stopping: bool = False
    """The server stops and starts."""


@dataclass(frozen=True, eq=False)
class Rules:
    """The charts and the fault model of one model."""

    charts: Charts
    fault_model: FaultModel

    @property
    def peer(self) -> ChartTable:
        """The chart of a peer connection."""
        return self.charts.peer

    @property
    def announcement(self) -> ChartTable:
        """The chart of an announcement."""
        return self.charts.announcement

    @property
    def introduction(self) -> ChartTable:
        """The chart of an introduction."""
        return self.charts.introduction

    @property
    def is_direct_allowed(self) -> bool:
        """Whether the policy of both allows direct paths."""
        return self.fault_model.is_direct_allowed

    def valuation(self, has_relay: bool) -> Valuation:
        """The facts of a peer connection."""
        return frozenset(
            fact for fact, holds in (("relay", has_relay), ("direct_allowed", self.is_direct_allowed)) if holds
        )


NO_FACTS: Valuation = frozenset()
