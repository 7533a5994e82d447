"""A chart as the proof reads it says what the chart says."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tunnel.machines.chart import Chart
from tunnel.machines.diagrams import CHARTS
from tunnel.machines.peer_connection import PeerConnectionChart
from tunnel.machines.table import Ambiguous, ChartTable, read_table

every_chart = pytest.mark.parametrize("name", CHARTS)


@every_chart
def test_the_table_moves_as_the_chart_does(name: str) -> None:
    """In every state, for every event and valuation: the chart itself is the oracle."""
    table = read_table(name, CHARTS[name])
    for valuation in table.valuations:
        facts = {fact: fact in valuation for fact in CHARTS[name].facts}
        for state in table.states:
            for event in CHARTS[name].event_names():
                chart = in_state(CHARTS[name], state)
                if table.target(state, event, valuation) is None:
                    assert not chart.is_enabled(event, facts)
                else:
                    chart.take(event, facts)
                    assert chart.here == table.target(state, event, valuation)


def in_state(chart: type[Chart], state: str) -> Chart:
    return chart(start_value=state)


@every_chart
def test_no_chart_is_ambiguous(name: str) -> None:
    read_table(name, CHARTS[name]).check_guards()


def test_two_arrows_for_one_event_are_an_error() -> None:
    """`StateRunner` would take the first that stands in the class, which no reader can see."""
    table = read_table("peer_connection", PeerConnectionChart)
    open_arrows = tuple(replace(arrow, guards=()) if arrow.event == "introduced" else arrow for arrow in table.arrows)
    with pytest.raises(Ambiguous, match="peer_connection: introduced has 2 ways out of announced"):
        table.having(arrows=open_arrows).check_guards()


def test_guards_are_known_for_every_valuation() -> None:
    table = read_table("peer_connection", PeerConnectionChart)
    both = {frozenset(), frozenset({"relay"}), frozenset({"direct_allowed"}), frozenset({"relay", "direct_allowed"})}
    assert set(table.valuations) == both
    assert table.guards["relay_carries"] == {valuation for valuation in both if "relay" in valuation}
    assert table.guards["may_go_direct"] == {valuation for valuation in both if "direct_allowed" in valuation}


def test_a_changed_table_forgets_what_it_knew() -> None:
    """Targets are kept once they are looked up: a copy must not inherit them."""
    table = read_table("peer_connection", PeerConnectionChart)
    assert table.target("connected", "path_lost", frozenset()) == "punching"
    changed: ChartTable = table.having(arrows=())
    assert changed.target("connected", "path_lost", frozenset()) is None
    assert changed.events_of == table.events_of
