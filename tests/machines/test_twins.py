"""Each chart and its hand-written SCXML twin move alike on the same events and facts.

A disagreement shows the whole walk that led to it.
"""

from __future__ import annotations

import itertools
import random
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from statemachine import StateChart
from statemachine.io import load

from tunnel.machines.chart import Chart, Transition
from tunnel.machines.diagrams import CHARTS, scxml_text

SCXML = "{http://www.w3.org/2005/07/scxml}"

every_name = pytest.mark.parametrize("name", CHARTS)


LONG = 40
"""Steps: a state that is never entered again must be left more than once."""


class TransitionCounter:
    """Counts the transitions of a twin, self transitions too."""

    def __init__(self) -> None:
        self.transitions = 0

    def after_transition(self) -> None:
        self.transitions += 1


@dataclass
class Walk:
    """One pair of twins, and all that it has done."""

    chart: Chart
    twin: StateChart[object]
    twin_took: TransitionCounter
    lines: list[str] = field(default_factory=list)
    states: set[str] = field(default_factory=set)
    taken: set[Transition] = field(default_factory=set)
    refused: set[tuple[str, str]] = field(default_factory=set)

    def step(self, event: str, facts: dict[str, bool]) -> bool:
        """Send one event to both. False: they disagree."""
        source, before = self.chart.here, self.twin_took.transitions
        enabled = self.chart.is_enabled(event, facts)
        if enabled:
            self.chart.take(event, facts)
        send: Callable[..., object] = self.twin.send
        send(event, **facts)
        there = [str(state.id) for state in self.twin.configuration]
        self.lines.append(f"{source} --{event} {facts}--> {self.chart.here if enabled else 'refused'}, twin: {there}")
        self.states |= {source, self.chart.here}
        if enabled:
            self.taken |= {arrow for arrow in self.chart.transitions() if matches(arrow, source, event, self.chart)}
        else:
            self.refused.add((source, event))
        return (
            there == [self.chart.here]
            and self.twin_took.transitions - before == int(enabled)
            and self.twin.is_terminated == self.chart.is_terminated
        )


def matches(arrow: Transition, source: str, event: str, after: Chart) -> bool:
    return (arrow.source, arrow.event, arrow.target) == (source, event, after.here)


def set_out(chart_class: type[Chart], twin_class: type[StateChart[object]]) -> Walk:
    trace_hook = TransitionCounter()
    return Walk(chart_class(), twin_class(listeners=[trace_hook]), trace_hook)


def wander(name: str, text: str) -> tuple[bool, Walk]:
    """Seeded random events and facts; a pair that has ended, or has walked for long, starts anew.

    First of the answer: they always agreed.
    """
    chance = random.Random(7)
    chart_class, twin_class = CHARTS[name], load(text, format="scxml")
    events = chart_class.event_names()
    whole = walk = set_out(chart_class, twin_class)
    for _ in range(80 * len(chart_class.transitions())):
        if walk.chart.is_terminated or len(walk.lines) == LONG:
            walk = set_out(chart_class, twin_class)
            walk.states, walk.taken, walk.refused = whole.states, whole.taken, whole.refused
        event = chance.choice(events)
        if event == "close" and chance.random() < 0.5:
            continue
        if not walk.step(event, {fact: chance.random() < 0.5 for fact in sorted(chart_class.facts)}):
            return False, walk
    return True, walk


@every_name
def test_the_twins_agree_at_each_step_of_a_random_walk_that_goes_everywhere(name: str) -> None:
    """Each state visited, each arrow taken, and each event refused wherever it has no arrow."""
    agree, walk = wander(name, scxml_text(name))
    assert agree, "\n".join(walk.lines)
    chart_class = CHARTS[name]
    assert walk.states == {state.id for state in chart_class.states}
    assert walk.taken == set(chart_class.transitions())
    runner = [state.id for state in chart_class.states if not state.final]
    legal = {(arrow.source, arrow.event) for arrow in chart_class.transitions()}
    assert walk.refused >= set(itertools.product(runner, chart_class.event_names())) - legal


@pytest.mark.parametrize("name", [name for name, chart in CHARTS.items() if any(state.final for state in chart.states)])
def test_the_twins_refuse_everything_once_they_have_ended(name: str) -> None:
    """Final means final, whatever still comes."""
    chart_class, twin_class = CHARTS[name], load(scxml_text(name), format="scxml")
    (initial,) = (state.id for state in chart_class.states if state.initial)
    ending = next(
        arrow.event
        for arrow in chart_class.transitions()
        if arrow.source == initial and chart_class.states_map[arrow.target].final
    )
    walk = set_out(chart_class, twin_class)
    assert walk.step(ending, {})
    for event in chart_class.event_names():
        assert walk.step(event, dict.fromkeys(chart_class.facts, True)), "\n".join(walk.lines)
    assert len(walk.taken) == 1


@every_name
def test_the_twins_have_the_same_states_and_arrows(name: str) -> None:
    """As written, beside how they move: names, initial and final states, and nothing else."""
    root = ElementTree.fromstring(scxml_text(name))
    chart_class = CHARTS[name]
    states = list(root)
    assert root.get("name") == name
    assert [root.get("initial")] == [state.id for state in chart_class.states if state.initial]
    assert [state.get("id") for state in states] == [state.id for state in chart_class.states]
    assert [state.get("id") for state in states if state.tag == f"{SCXML}final"] == [
        state.id for state in chart_class.states if state.final
    ]
    written = sorted(
        (str(state.get("id")), str(arrow.get("event")), str(arrow.get("target")), bool(arrow.get("cond")))
        for state in states
        for arrow in state
    )
    assert written == sorted(
        (arrow.source, arrow.event, arrow.target, bool(arrow.guards)) for arrow in chart_class.transitions()
    )


@every_name
def test_the_walk_finds_a_twin_that_is_wrong_in_one_place(name: str) -> None:
    """It must be able to fail: each arrow is removed, and each guard negated, in turn."""
    whole = ElementTree.fromstring(scxml_text(name))
    arrows = sum(len(state) for state in whole)
    undetected = []
    for index, damage in itertools.product(range(arrows), (remove, negate)):
        root = ElementTree.fromstring(scxml_text(name))
        state, arrow = [(state, arrow) for state in root for arrow in state][index]
        if damage(state, arrow) and wander(name, ElementTree.tostring(root, "unicode"))[0]:
            undetected.append((damage.__name__, state.get("id"), arrow.attrib))
    assert not undetected


def remove(state: ElementTree.Element, arrow: ElementTree.Element) -> bool:
    state.remove(arrow)
    return True


def negate(_state: ElementTree.Element, arrow: ElementTree.Element) -> bool:
    condition = arrow.get("cond")
    arrow.set("cond", f"({condition}) == false")
    return condition is not None
