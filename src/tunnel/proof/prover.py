"""The whole proof: every world explored, every mutant judged, on as many cores as there are."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context

from tunnel.proof.counterexample import draw
from tunnel.proof.explorer import explore
from tunnel.proof.model import Model
from tunnel.proof.mutants import EXPLAINED, Mutant, Verdict, judge, mutants_of
from tunnel.proof.properties import check
from tunnel.proof.rules import Charts, Rules, World, read_charts
from tunnel.proof.table import Ambiguous
from tunnel.proof.worlds import WORLDS


@dataclass(frozen=True, slots=True)
class Explored:
    """What came of one world."""

    world: str
    states: int
    steps: int
    punches: int
    """So many began at most, both sides together, without any patience between."""
    seconds: float
    """Of one core."""
    violation: str = ""
    """Which property does not hold; empty where all do."""
    what: str = ""
    diagram: str = ""
    """A shortest way to it, as a Mermaid sequence diagram."""


@dataclass(frozen=True, slots=True)
class Proof:
    """Everything that was found."""

    explored: tuple[Explored, ...]
    verdicts: tuple[Verdict, ...] = ()
    """One a mutant; none where mutants were left out."""

    @property
    def survivors(self) -> tuple[str, ...]:
        """Mutants that broke no property."""
        return tuple(verdict.mutant for verdict in self.verdicts if not verdict.killed_by)

    @property
    def unexplained(self) -> tuple[str, ...]:
        """Survivors without a reason: the properties miss something."""
        return tuple(name for name in self.survivors if name not in EXPLAINED)

    @property
    def outdated(self) -> tuple[str, ...]:
        """Reasons for survivors that there are no more."""
        return tuple(name for name in EXPLAINED if self.verdicts and name not in self.survivors)

    @property
    def holds(self) -> bool:
        """Whether all of it is as it should be."""
        return not (any(world.violation for world in self.explored) or self.unexplained or self.outdated)


def explore_world(charts: Charts, world: World) -> Explored:
    """Explore one world whole and ask all properties of it."""
    began = time.process_time()
    for table in charts:
        try:
            table.check_guards()
        except Ambiguous as ambiguity:
            return Explored(world.name, 0, 0, 0, 0.0, "never", str(ambiguity))
    space = explore(Model(Rules(charts, world)))
    violation, punches = check(space)
    seconds = time.process_time() - began
    found = Explored(world.name, len(space.states), space.steps, punches, seconds)
    if violation is None:
        return found
    return Explored(
        found.world, found.states, found.steps, punches, seconds, violation.name, violation.what, draw(space, violation)
    )


def count_jobs(*, with_mutants: bool) -> int:
    """How many times `prove` calls `on_done`."""
    return len(WORLDS) + (len(_mutants()) if with_mutants else 0)


def prove(
    *, with_mutants: bool = True, processes: int | None = None, on_done: Callable[[bool], None] | None = None
) -> Proof:
    """Explore all worlds and judge all mutants. `on_done(is_good)` is called for each as it ends."""
    jobs = range(count_jobs(with_mutants=with_mutants))
    results: dict[int, Explored | Verdict] = {}
    with get_context("spawn").Pool(processes or os.cpu_count() or 1) as pool:
        for job, result in pool.imap_unordered(_do, jobs):
            results[job] = result
            if on_done is not None:
                on_done(_is_good(result))
    ordered = [results[job] for job in jobs]
    return Proof(
        tuple(result for result in ordered if isinstance(result, Explored)),
        tuple(result for result in ordered if isinstance(result, Verdict)),
    )


def _is_good(result: Explored | Verdict) -> bool:
    if isinstance(result, Explored):
        return not result.violation
    return bool(result.killed_by) is not (result.mutant in EXPLAINED)


def _do(job: int) -> tuple[int, Explored | Verdict]:
    """In a process of its own: the job's number says all."""
    if job < len(WORLDS):
        return job, explore_world(read_charts(), WORLDS[job])
    return job, judge(_mutants()[job - len(WORLDS)])


@cache
def _mutants() -> tuple[Mutant, ...]:
    return tuple(mutants_of(read_charts()))
