"""Each property can fail: here is the smallest thing that breaks it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tunnel.machines.table import ChartTable
from tunnel.verify.proof import properties
from tunnel.verify.proof.properties import DEADLOCK, GOALS, PUNCHES, check
from tunnel.verify.proof.rules import Charts, FaultModel

if TYPE_CHECKING:
    from tests.verify.proof.conftest import Explore

NO_PATH = FaultModel("no path", has_path=False)
NO_PATH_STOPPING = FaultModel("no path, the server stops", has_path=False, is_server_stopping=True)


def without(table: ChartTable, source: str, event: str) -> ChartTable:
    kept = tuple(arrow for arrow in table.arrows if (arrow.source, arrow.event) != (source, event))
    assert len(kept) < len(table.arrows)
    return table.having(arrows=kept)


def leading(table: ChartTable, source: str, event: str, to: str) -> ChartTable:
    return table.having(
        arrows=tuple(
            replace(arrow, target=to) if (arrow.source, arrow.event) == (source, event) else arrow
            for arrow in table.arrows
        )
    )


def test_without_faults_every_promise_is_kept(charts: Charts, explored: Explore) -> None:
    violation, punches = check(explored(charts))
    assert violation is None
    assert 0 < punches <= properties.MOST_PUNCHES


def test_a_node_that_never_announces_stands_still(charts: Charts, explored: Explore) -> None:
    broken = charts._replace(announcement=without(charts.announcement, "surveying", "registered"))
    violation, _ = check(explored(broken))
    assert violation is not None
    assert violation.name == DEADLOCK


def test_a_relayed_side_that_never_tries_again_breaks_the_direct_promise(charts: Charts, explored: Explore) -> None:
    peer = without(without(charts.peer, "relayed", "patience_ended"), "relayed", "path_verified")
    violation, _ = check(explored(charts._replace(peer=peer)))
    assert violation is not None


def test_a_punch_without_an_end_is_noticed(charts: Charts, explored: Explore) -> None:
    violation, _ = check(explored(charts._replace(peer=without(charts.peer, "punching", "patience_ended")), NO_PATH))
    assert violation is not None
    assert "it does not come" in violation.what or "nothing moves" in violation.what


def test_a_budget_that_is_too_small_is_noticed(
    charts: Charts, explored: Explore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bound is what the charts really need, no more."""
    monkeypatch.setattr(properties, "MOST_PUNCHES", 2)
    violation, most = check(explored(charts))
    assert violation is not None
    assert (violation.name, most) == (PUNCHES, 3)


def test_an_introduction_without_an_end_is_noticed(charts: Charts, explored: Explore) -> None:
    fault_model = FaultModel("links break", is_direct_allowed=False, is_link_breaking=True)
    broken = charts._replace(introduction=leading(charts.introduction, "waiting", "both_announced", "refused"))
    violation, _ = check(explored(broken, fault_model))
    assert violation is not None
    assert violation.what == "an introduction ends as refused, which is not true"


def test_promises_have_names_of_their_own() -> None:
    assert len({goal.name for goal in GOALS}) == len(GOALS)
