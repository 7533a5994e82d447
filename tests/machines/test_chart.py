"""Every chart as data: its arrows are all taken, everything else is refused, its tables name what exists."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Iterator

import pytest
from statemachine.exceptions import TransitionNotAllowed

from tunnel.machines.chart import PATIENCE_ENDED, Chart, Transition
from tunnel.machines.diagrams import CHARTS
from tunnel.machines.peer_connection import PeerConnectionChart
from tunnel.wire import signals

GATEWAY_WORDS = {"map", "look"}
"""What a node sends to its gateway, in any protocol."""
TCP_SEGMENTS = {"syn", "syn_ack", "ack", "data", "fin"}
"""A segment by its flags and payload."""
every_chart = pytest.mark.parametrize("chart_class", CHARTS.values(), ids=CHARTS.keys())

HOOK_PREFIXES = ("on_", "before_", "after_", "enter_", "exit_", "prepare_")


def all_facts(chart_class: type[Chart]) -> Iterator[dict[str, bool]]:
    names = sorted(chart_class.facts)
    for truths in itertools.product((False, True), repeat=len(names)):
        yield dict(zip(names, truths, strict=True))


def holds(chart: Chart, transition: Transition, facts: dict[str, bool]) -> bool:
    """The guards of one arrow, asked one by one."""
    return all(
        getattr(chart, guard.removeprefix("!"))(**only_asked(chart, guard, facts)) != guard.startswith("!")
        for guard in transition.guards
    )


def only_asked(chart: Chart, guard: str, facts: dict[str, bool]) -> dict[str, bool]:
    asked = inspect.signature(getattr(chart, guard.removeprefix("!"))).parameters
    return {name: truth for name, truth in facts.items() if name in asked}


@every_chart
def test_each_arrow_is_taken_where_its_guards_hold_and_everything_else_is_refused(chart_class: type[Chart]) -> None:
    """All states, all events, all facts: the whole chart, not a sample of it."""
    taken: set[Transition] = set()
    for state, facts in itertools.product(chart_class.states, all_facts(chart_class)):
        if state.final:
            continue
        for event in chart_class.event_names():
            chart = chart_class(start_value=state.id)
            open_arrows = [
                arrow
                for arrow in chart_class.transitions()
                if (arrow.source, arrow.event) == (state.id, event) and holds(chart, arrow, facts)
            ]
            assert len(open_arrows) <= 1, "guards of one event exclude each other"
            assert chart.is_enabled(event, facts) == bool(open_arrows)
            if open_arrows:
                for again in (chart, chart_class(start_value=state.id)):  # the library's move, and the remembered one
                    again.take(event, facts)
                    assert again.here == open_arrows[0].target
                    assert again.is_terminated == chart_class.states_map[again.here].final
                taken.add(open_arrows[0])
            else:
                with pytest.raises(TransitionNotAllowed):
                    chart.take(event, facts)
                assert chart.here == state.id
    assert taken == set(chart_class.transitions())


@every_chart
def test_each_state_can_be_reached_and_can_still_end(chart_class: type[Chart]) -> None:
    """A state that nothing enters is dead text; one that cannot end would keep its peer or its pair for ever.

    A chart without a final state lives as long as its program; there no state may be a dead end.
    """
    states = {state.id for state in chart_class.states}
    finals = {state.id for state in chart_class.states if state.final}
    initial = {state.id for state in chart_class.states if state.initial}
    arrows = {(arrow.source, arrow.target) for arrow in chart_class.transitions()}
    assert reachable(initial, arrows) == states
    if finals:
        assert reachable(finals, {(target, source) for source, target in arrows}) == states
    else:
        assert {source for source, target in arrows if source != target} == states


def reachable(start: set[str], arrows: set[tuple[str, str]]) -> set[str]:
    found, edge = set(start), set(start)
    while edge:
        edge = {target for source, target in arrows if source in edge} - found
        found |= edge
    return found


@every_chart
def test_close_ends_every_state_of_a_chart_that_has_it(chart_class: type[Chart]) -> None:
    """Whoever owns such a chart can always end it; an introduction ends by itself, the others with their program."""
    closing = {arrow.source for arrow in chart_class.transitions() if arrow.event == "close"}
    runner = {state.id for state in chart_class.states if not state.final}
    assert closing == (runner if "closed" in chart_class.states_map else set())


@every_chart
def test_the_tables_are_total_and_name_only_what_exists(chart_class: type[Chart]) -> None:
    """The runner looks a state up without a default, and a misspelled event would never be allowed."""
    states = {state.id for state in chart_class.states}
    assert set(chart_class.events_of) == states
    assert set(chart_class.sends_of) == states
    for state in chart_class.states:
        leaving = {arrow.event for arrow in chart_class.transitions() if arrow.source == state.id}
        assert chart_class.events_of[state.id] <= leaving - {PATIENCE_ENDED, "close"}
        if state.final:
            assert not chart_class.events_of[state.id] | chart_class.sends_of[state.id]


@every_chart
def test_the_messages_are_signals_or_what_peers_and_gateways_are_told(chart_class: type[Chart]) -> None:
    """With a misspelled message every attempt to send it would be a bug at run time."""
    sent = {message for messages in chart_class.sends_of.values() for message in messages}
    assert sent <= set(signals.TAGS) | {"probe", "handshake", "control"} | GATEWAY_WORDS | TCP_SEGMENTS


@every_chart
def test_the_facts_are_exactly_what_the_guards_ask_for(chart_class: type[Chart]) -> None:
    """The library silently drops facts that no guard asks for."""
    guards = {guard.removeprefix("!") for arrow in chart_class.transitions() for guard in arrow.guards}
    asked = {
        name for guard in guards for name in inspect.signature(getattr(chart_class, guard)).parameters if name != "self"
    }
    assert asked == chart_class.facts


@every_chart
def test_a_fact_that_is_not_given_is_false(chart_class: type[Chart]) -> None:
    """Saying nothing and saying no have the same effect."""
    untold = dict.fromkeys(chart_class.facts, False)
    for state in chart_class.states:
        chart = chart_class(start_value=state.id)
        assert [chart.is_enabled(event, {}) for event in chart_class.event_names()] == [
            chart.is_enabled(event, untold) for event in chart_class.event_names()
        ]


@every_chart
def test_a_chart_has_no_hooks(chart_class: type[Chart]) -> None:
    """A misspelled hook is never called, and each one costs every construction: what a state does is its activity."""
    own = {name for kind in chart_class.__mro__[: chart_class.__mro__.index(Chart) + 1] for name in vars(kind)}
    assert not [name for name in own if name.startswith(HOOK_PREFIXES)]
    assert not chart_class._class_listeners


@every_chart
def test_states_events_facts_and_guards_have_names_of_their_own(chart_class: type[Chart]) -> None:
    """They all become attributes or keyword arguments of one object."""
    states = [state.id for state in chart_class.states]
    events = chart_class.event_names()
    guards = sorted({guard.removeprefix("!") for arrow in chart_class.transitions() for guard in arrow.guards})
    names = [*states, *events, *guards, *chart_class.facts]
    assert len(names) == len(set(names))
    assert not set(names) & {"send", "delay", "internal", "send_id", "event", "source", "target", "state", "model"}


def test_a_condition_is_readable_text() -> None:
    """Diagrams and tables show it."""
    arrow = next(a for a in PeerConnectionChart.transitions() if (a.source, a.target) == ("announced", "relayed"))
    assert arrow.condition == "relay_carries and not may_go_direct"
