"""What is broken, one thing at a time, and how it shows."""

from __future__ import annotations

from collections import Counter

import pytest

from tunnel.machines.chart import Transition
from tunnel.verify.proof.mutants import judge, mutants_of
from tunnel.verify.proof.rules import Charts


def test_everything_is_broken_once(charts: Charts) -> None:
    """Each arrow removed and led astray, each guard forgotten and turned round, each duty struck out; none twice."""
    names = Counter(mutant.name for mutant in mutants_of(charts))
    assert set(names.values()) == {1}
    expected = 0
    for table in charts:
        expected += len(table.arrows) * len(table.states)
        expected += 2 * sum(len(arrow.guards) for arrow in table.arrows)
        expected += sum(len(events) for events in table.events_of.values())
        expected += sum(len(messages) for messages in table.sends_of.values())
    assert len(names) == expected > 300


def test_a_mutant_differs_from_the_charts(charts: Charts) -> None:
    assert all(mutant.charts != charts for mutant in mutants_of(charts))


@pytest.mark.parametrize(
    ("name", "killed_by"),
    [
        ("peer_connection: punching --path_verified--> connected is removed", "never"),
        ("peer_connection: punching --path_verified--> connected leads to relayed", "never"),
        ("peer_connection: connected --peer_left--> announced is removed", "never"),
        ("peer_connection: relayed may not return introduced", "never"),
        ("announcement: acknowledged --changed--> stale is removed", "deadlock"),
        ("introduction: waiting --refuse--> refused leads to timed_out", "never"),
        ("introduction: waiting may not send pending", "never"),
    ],
)
def test_a_mutant_is_noticed_by_what_it_breaks(charts: Charts, name: str, killed_by: str) -> None:
    mutant = next(mutant for mutant in mutants_of(charts) if mutant.name == name)
    verdict = judge(mutant)
    assert verdict.killed_by == killed_by, verdict


def test_a_move_that_nobody_makes_is_not_explored_for(charts: Charts) -> None:
    """It cannot differ, whatever becomes of its arrow."""
    idle = Transition("stale", "registered", (), "announcing")
    announcement = charts.announcement.having(arrows=(*charts.announcement.arrows, idle))
    name = "announcement: stale --registered--> announcing is removed"
    altered = mutants_of(charts._replace(announcement=announcement))
    verdict = judge(next(mutant for mutant in altered if mutant.name == name))
    assert (verdict.killed_by, verdict.states) == ("", 0)
