"""Traces are compared with the charts: what no chart allows is a fault."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from tests.verify.simulation.pairs import do, pair

from tunnel.machines.diagrams import CHARTS
from tunnel.machines.table import read_table
from tunnel.verify.simulation.runs.conformance import Arrow, all_arrows, arrows_of, faults_of
from tunnel.verify.simulation.runs.run import run_scenario
from tunnel.verify.simulation.runs.trace import Ended, Moved, Record, Signalled

TALK = do(1.0, "send", who="desk", to="laptop", until=3.0)


@pytest.fixture(scope="module")
def records() -> list[Record]:
    trace = run_scenario(pair(TALK), 0, keep_trace=True).trace
    assert trace is not None
    return trace.records


def told_of(records: Iterable[Record]) -> list[str]:
    return [failure.text for failure in faults_of(records)]


def moved(source: str, event: str, target: str, *facts: str, about: str = "x", host: str = "desk") -> Moved:
    return Moved(0.0, host, "PeerConnectionChart", about, source, event, facts, target)


def test_a_real_trace_is_what_the_charts_allow(records: list[Record]) -> None:
    assert list(faults_of(records)) == []
    assert Arrow("peer_connection", "punching", "path_verified", "connected") in arrows_of(records)


def test_leaving_out_any_move_is_noticed(records: list[Record]) -> None:
    """Unless it is the last one of its chart, or the chart is in its initial state before it and after it."""
    noticed = 0
    for at, record in enumerate(records):
        if isinstance(record, Moved) and record.source != record.target:
            noticed += any("but it stood in" in fault for fault in told_of(records[:at] + records[at + 1 :]))
    moves = [record for record in records if isinstance(record, Moved)]
    charts = {(move.host, move.chart, move.about) for move in moves}
    assert noticed >= len(moves) - 2 * len(charts) > 0


@pytest.mark.parametrize("name", [name for name in CHARTS if name not in ("introduction", "tcp_connection")])
def test_a_forged_target_is_noticed(records: list[Record], name: str) -> None:
    at, move = next(
        (at, record)
        for at, record in enumerate(records)
        if isinstance(record, Moved) and record.chart == CHARTS[name].__name__
    )
    other = next(
        str(state.id)
        for state in CHARTS[name].states
        if Arrow(name, move.source, move.event, str(state.id)) not in all_arrows()
    )
    forged = [*records[:at], move._replace(target=other)]
    assert [fault for fault in told_of(forged) if "is no arrow of the chart" in fault] != []


def test_a_guard_is_asked_again() -> None:
    way = [
        moved("detecting", "announcement_acked", "announced"),
        moved("announced", "peer_wanted", "requested"),
    ]
    allowed = moved("requested", "introduced", "punching", "direct_allowed")
    assert list(faults_of([*way, allowed])) == []
    forbidden = moved("requested", "introduced", "punching", "relay")
    assert [fault.partition(" is no ")[2] for fault in told_of([*way, forbidden])] == [
        "arrow of the chart while of its facts holds: relay"
    ]


def test_a_chart_goes_on_from_where_it_stood_and_each_by_itself() -> None:
    first = moved("detecting", "announcement_acked", "announced")
    jump = moved("requested", "refused", "announced")
    assert ["but it stood in announced" in fault for fault in told_of([first, jump])] == [True]
    assert ["but it stood in detecting" in fault for fault in told_of([first, jump._replace(about="y")])] == [True]
    assert ["but it stood in detecting" in fault for fault in told_of([first, Ended(1.0, "desk"), jump])] == [True]
    assert list(faults_of([first, Ended(1.0, "desk"), first])) == []


def test_a_message_that_no_state_may_send_is_noticed() -> None:
    connect = Signalled(1.0, "desk", True, "connect", "00000000")
    way = [
        moved("detecting", "announcement_acked", "announced"),
        moved("announced", "peer_wanted", "requested"),
    ]
    assert list(faults_of([*way, connect])) == []
    assert told_of([*way[:1], connect]) == [
        "at 1.000 s desk said 'connect', which no chart of it may say where it stands"
    ]
    assert [(failure.at, failure.about) for failure in faults_of([*way[:1], connect])] == [(1.0, ("desk",))]
    assert list(faults_of([connect._replace(is_sent=False), connect._replace(host="server")])) == []


def test_every_arrow_is_listed_once_and_begins_somewhere() -> None:
    arrows = all_arrows()
    assert len(arrows) > 80
    for name, chart in CHARTS.items():
        states = {str(state.id) for state in chart.states}
        assert read_table(name, chart).initial in states
        mine = [arrow for arrow in arrows if arrow.chart == name]
        assert {arrow.source for arrow in mine} | {arrow.target for arrow in mine} == states
