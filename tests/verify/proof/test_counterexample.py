"""A violation is shown as it came about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunnel.verify.proof.counterexample import actions, draw
from tunnel.verify.proof.properties import check
from tunnel.verify.proof.rules import Charts

if TYPE_CHECKING:
    from tests.verify.proof.conftest import Explore


def test_a_way_keeps_the_names_of_its_beginning(charts: Charts, explored: Explore) -> None:
    """Numbers stand for mirror images too: on the way to each state a node registers before it announces."""
    space = explored(charts)
    for at in range(0, len(space.states), 97):
        met: dict[str, list[str]] = {"node A": [], "node B": []}
        for action in actions(space, at):
            if action.actor in met and action.receiver == "server":
                met[action.actor].append(action.text)
        assert all(not said or said[0] == "hello" for said in met.values())
        assert all(said.count("hello") <= 1 for said in met.values())


def test_the_diagram_ends_with_what_went_wrong(charts: Charts, explored: Explore) -> None:
    events = {**charts.peer.events_of, "detecting": frozenset[str]()}
    space = explored(charts._replace(peer=charts.peer.having(events_of=events)))
    violation, _ = check(space)
    assert violation is not None
    assert draw(space, violation) == (
        "sequenceDiagram\n"
        "    participant P0 as node A\n"
        "    participant P1 as server\n"
        "    participant P2 as node B\n"
        "    P0->>P1: hello\n"
        "    P0->>P1: announce\n"
        "    P1->>P0: announced\n"
        "    Note over P0,P2: never: the activity of detecting may not return announcement_acked\n"
    )
