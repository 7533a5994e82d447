"""Everything that can be reached is, once, and by a shortest way."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tunnel.verify.proof.counterexample import actions
from tunnel.verify.proof.rules import Charts

if TYPE_CHECKING:
    from tests.verify.proof.conftest import Explore


def test_each_state_is_visited_once(charts: Charts, explored: Explore) -> None:
    space = explored(charts)
    assert len(set(space.states)) == len(space.states) == len(space.parents)
    assert space.steps >= len(space.sources) == len(space.targets) == len(space.paces)
    assert not space.fault


def test_parents_come_before_their_children(charts: Charts, explored: Explore) -> None:
    """So the way back ends at the start, and no way is longer than one met later."""
    space = explored(charts)
    assert space.parents[0] == -1
    assert all(parent < place for place, parent in enumerate(space.parents))
    depths = [0]
    for parent in space.parents[1:]:
        depths.append(depths[parent] + 1)
    assert depths == sorted(depths)


def test_twice_is_the_same(charts: Charts, explored: Explore) -> None:
    once, again = explored(charts), explored(charts)
    assert (once.states, once.parents, once.paces) == (again.states, again.parents, again.paces)


def test_it_stops_at_the_first_step_that_must_not_be(charts: Charts, explored: Explore) -> None:
    arrows = tuple(
        replace(arrow, target="connected") if arrow.event == "introduced" else arrow for arrow in charts.peer.arrows
    )
    space = explored(charts._replace(peer=charts.peer.having(arrows=arrows)))
    assert space.fault == "an introduction brings no punch"
    assert actions(space, space.at)[-1].text == "introduced: the server introduced us"
