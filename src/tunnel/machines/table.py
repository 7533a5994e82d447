"""A chart as the proof and the simulation read it: arrows, guards as truth tables, and duties, all from its class.

A guard is evaluated once for each valuation of the chart's facts; a valuation is a frozen set of the facts that hold.
So whoever changes a chart changes what is judged, and a mutant is a table with one entry changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import combinations

from tunnel.machines.chart import Chart, Transition

Valuation = frozenset[str]


class Ambiguous(Exception):
    """Two arrows of one state claim the same event: a chart's guards must exclude each other."""


@dataclass(frozen=True)
class ChartTable:
    """One chart. `arrows` are in the order of declaration."""

    name: str
    states: tuple[str, ...]
    initial: str
    finals: frozenset[str]
    arrows: tuple[Transition, ...]
    valuations: tuple[Valuation, ...]
    """Every combination of the chart's facts."""
    guards: Mapping[str, frozenset[Valuation]]
    """For each guard, the valuations in which it holds."""
    events_of: Mapping[str, frozenset[str]]
    sends_of: Mapping[str, frozenset[str]]
    _targets: dict[tuple[str, str, Valuation], str | None] = field(default_factory=dict, compare=False, repr=False)

    def target(self, state: str, event: str, valuation: Valuation) -> str | None:
        """Where the event leads. None where it is not enabled. Raises Ambiguous."""
        key = state, event, valuation
        if key not in self._targets:
            open_arrows = [
                arrow
                for arrow in self.arrows
                if (arrow.source, arrow.event) == (state, event)
                and all(self._holds(guard, valuation) for guard in arrow.guards)
            ]
            if len(open_arrows) > 1:
                raise Ambiguous(f"{self.name}: {event} has {len(open_arrows)} ways out of {state}")
            self._targets[key] = open_arrows[0].target if open_arrows else None
        return self._targets[key]

    def check_guards(self) -> None:
        """Raise Ambiguous if two arrows of a state claim the same event under some valuation."""
        events = dict.fromkeys(arrow.event for arrow in self.arrows)
        for valuation in self.valuations:
            for state in self.states:
                for event in events:
                    self.target(state, event, valuation)

    def having(
        self,
        *,
        arrows: tuple[Transition, ...] | None = None,
        events_of: Mapping[str, frozenset[str]] | None = None,
        sends_of: Mapping[str, frozenset[str]] | None = None,
    ) -> ChartTable:
        """The same chart, with what is given replaced."""
        return replace(
            self,
            arrows=self.arrows if arrows is None else arrows,
            events_of=self.events_of if events_of is None else events_of,
            sends_of=self.sends_of if sends_of is None else sends_of,
            _targets={},
        )

    @property
    def moves_made(self) -> tuple[tuple[str, str], ...]:
        """State and event of each question so far that led to a move."""
        return tuple((state, event) for (state, event, _), target in self._targets.items() if target is not None)

    def _holds(self, guard: str, valuation: Valuation) -> bool:
        return (valuation in self.guards[guard.removeprefix("!")]) is not guard.startswith("!")


@cache
def read_table(name: str, chart: type[Chart]) -> ChartTable:
    """The table of a chart's class."""
    arrows = chart.transitions()
    subject = chart()
    valuations = tuple(
        frozenset(true) for count in range(len(chart.facts) + 1) for true in combinations(sorted(chart.facts), count)
    )
    names = dict.fromkeys(guard.removeprefix("!") for arrow in arrows for guard in arrow.guards)
    return ChartTable(
        name=name,
        states=tuple(state.id for state in chart.states),
        initial=next(state.id for state in chart.states if state.initial),
        finals=frozenset(state.id for state in chart.states if state.final),
        arrows=arrows,
        valuations=valuations,
        guards={guard: frozenset(true for true in valuations if _ask(subject, guard, true)) for guard in names},
        events_of=chart.events_of,
        sends_of=chart.sends_of,
    )


def _ask(chart: Chart, guard: str, true: Valuation) -> bool:
    """One guard's answer. The method is given the facts that it names, as the library does."""
    method = getattr(chart, guard)
    wanted = method.__code__.co_varnames[: method.__code__.co_argcount]
    return bool(method(**{fact: fact in true for fact in chart.facts if fact in wanted}))
