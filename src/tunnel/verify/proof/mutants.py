"""Charts with one change each: a proof that cannot tell them from the true charts proves little.

In each chart of the composition each arrow is removed and led to each other state, each guard is dropped and negated,
each event that an activity may return and each message that may be sent is struck out. Each mutant must break a
property under one of the small fault models, or be named in equivalent_mutants.py with the reason why nothing is lost.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache

from tunnel.machines.chart import Transition
from tunnel.machines.table import Ambiguous, ChartTable
from tunnel.verify.proof.explorer import explore
from tunnel.verify.proof.fault_models import SMALL_FAULT_MODELS
from tunnel.verify.proof.model import Model
from tunnel.verify.proof.properties import check
from tunnel.verify.proof.rules import Charts, Rules, read_charts


@dataclass(frozen=True)
class Mutant:
    """One broken composition."""

    name: str
    charts: Charts
    broken: tuple[str, str, str] | None = None
    """Chart, state and event of the arrow that is gone or leads elsewhere; None where more is allowed than before."""


@dataclass(frozen=True)
class Verdict:
    """What became of a mutant."""

    mutant: str
    killed_by: str
    """The property that it broke; empty where it broke none."""
    fault_model: str
    states: int
    """Explored under all fault models together."""
    seconds: float = 0.0
    """Of one core."""


def mutants_of(charts: Charts) -> Iterator[Mutant]:
    """Every mutant, in the order of the charts and their arrows."""
    for place, table in enumerate(charts):
        for name, broken, mutated in mutations_of(table):
            yield Mutant(name, Charts._make((*charts[:place], mutated, *charts[place + 1 :])), broken)


def judge(mutant: Mutant) -> Verdict:
    """Explore a mutant under one small fault model after the other, until a property breaks."""
    for table in mutant.charts:
        try:
            table.check_guards()
        except Ambiguous as ambiguity:
            return Verdict(mutant.name, "never", str(ambiguity), 0)
    if mutant.broken is not None and mutant.broken not in _taken():
        return Verdict(mutant.name, "", "", 0)  # the true charts never take that arrow: nothing can differ
    began, states = time.process_time(), 0
    for fault_model in SMALL_FAULT_MODELS:
        space = explore(Model(Rules(mutant.charts, fault_model)))
        states += len(space.states)
        violation, _ = check(space)
        if violation is not None:
            return Verdict(mutant.name, violation.name, fault_model.name, states, time.process_time() - began)
    return Verdict(mutant.name, "", "", states, time.process_time() - began)


@cache
def _taken() -> frozenset[tuple[str, str, str]]:
    """Chart, state and event of each move that the true charts make under the small fault models."""
    charts = Charts._make(table.having() for table in read_charts())
    for fault_model in SMALL_FAULT_MODELS:
        explore(Model(Rules(charts, fault_model)))
    return frozenset((table.name, state, event) for table in charts for state, event in table.moves_made)


def mutations_of(table: ChartTable) -> Iterator[tuple[str, tuple[str, str, str] | None, ChartTable]]:
    """Each table with one thing changed: what that is, the arrow that it concerns, and the table."""
    for place, arrow in enumerate(table.arrows):
        said = f"{table.name}: {_said(arrow)}"
        key = table.name, arrow.source, arrow.event
        for what, to in _broken(arrow, table.states):
            mutated = table.having(arrows=(*table.arrows[:place], *to, *table.arrows[place + 1 :]))
            is_narrower = all(set(arrow.guards) <= set(other.guards) for other in to)
            yield f"{said} {what}", key if is_narrower else None, mutated
    for state in table.states:
        for event in sorted(table.events_of[state]):
            left = {**table.events_of, state: table.events_of[state] - {event}}
            yield f"{table.name}: {state} may not return {event}", None, table.having(events_of=left)
        for message in sorted(table.sends_of[state]):
            left = {**table.sends_of, state: table.sends_of[state] - {message}}
            yield f"{table.name}: {state} may not send {message}", None, table.having(sends_of=left)


def _broken(arrow: Transition, states: Iterable[str]) -> Iterator[tuple[str, tuple[Transition, ...]]]:
    """What one arrow may be replaced with, and what that is called."""
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
