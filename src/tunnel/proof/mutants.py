"""Charts with one thing broken: a proof that cannot tell them from the true ones proves little.

Of each chart in the composition each arrow is removed and led to each other state, each guard is dropped and turned
round, each event that an activity may return and each message that may be sent is struck out. Every mutant must break
a property in one of the small worlds, or stand in `EXPLAINED` with the reason why nothing is lost by it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from tunnel.machines.chart import Transition
from tunnel.proof.explorer import explore
from tunnel.proof.model import Model
from tunnel.proof.properties import check
from tunnel.proof.rules import Charts, Rules
from tunnel.proof.table import Ambiguous, ChartTable
from tunnel.proof.worlds import SMALL_WORLDS


@dataclass(frozen=True)
class Mutant:
    """One broken composition."""

    name: str
    charts: Charts


@dataclass(frozen=True)
class Verdict:
    """What became of a mutant."""

    mutant: str
    killed_by: str
    """The property that it broke; empty for a survivor."""
    world: str
    states: int
    """Explored in all worlds together."""


def mutants_of(charts: Charts) -> Iterator[Mutant]:
    """Every mutant, in the order of the charts and their arrows."""
    for name, table in _mutated(charts.peer):
        yield Mutant(name, charts._replace(peer=table))
    for name, table in _mutated(charts.announcement):
        yield Mutant(name, charts._replace(announcement=table))
    for name, table in _mutated(charts.introduction):
        yield Mutant(name, charts._replace(introduction=table))


def judge(mutant: Mutant) -> Verdict:
    """Look at a mutant in one small world after the other, until a property breaks."""
    states = 0
    for table in mutant.charts:
        try:
            table.check_guards()
        except Ambiguous as ambiguity:
            return Verdict(mutant.name, "never", str(ambiguity), 0)
    for world in SMALL_WORLDS:
        space = explore(Model(Rules(mutant.charts, world)))
        states += len(space.states)
        violation, _ = check(space)
        if violation is not None:
            return Verdict(mutant.name, violation.name, world.name, states)
    return Verdict(mutant.name, "", "", states)


def _mutated(table: ChartTable) -> Iterator[tuple[str, ChartTable]]:
    """The table with one thing changed, and in words what."""
    for place, arrow in enumerate(table.arrows):
        said = f"{table.name}: {_said(arrow)}"
        for what, to in _broken(arrow, table.states):
            yield f"{said} {what}", table.having(arrows=(*table.arrows[:place], *to, *table.arrows[place + 1 :]))
    for state in table.states:
        for event in sorted(table.events_of[state]):
            left = {**table.events_of, state: table.events_of[state] - {event}}
            yield f"{table.name}: {state} may not return {event}", table.having(events_of=left)
        for message in sorted(table.sends_of[state]):
            left = {**table.sends_of, state: table.sends_of[state] - {message}}
            yield f"{table.name}: {state} may not send {message}", table.having(sends_of=left)


def _broken(arrow: Transition, states: Iterable[str]) -> Iterator[tuple[str, tuple[Transition, ...]]]:
    """What takes the place of one arrow."""
    yield "is removed", ()
    for state in states:
        if state != arrow.target:
            yield f"leads to {state}", (replace(arrow, target=state),)
    for guard in arrow.guards:
        rest = tuple(other for other in arrow.guards if other != guard)
        shown = guard.replace("!", "not ")
        turned = guard.removeprefix("!") if guard.startswith("!") else f"!{guard}"
        yield f"forgets {shown}", (replace(arrow, guards=rest),)
        yield f"turns {shown} round", (replace(arrow, guards=(*rest, turned)),)


def _said(arrow: Transition) -> str:
    guards = f" [{arrow.condition}]" if arrow.guards else ""
    return f"{arrow.source} --{arrow.event}{guards}--> {arrow.target}"


EXPLAINED: dict[str, str] = {}
