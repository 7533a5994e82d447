"""The whole proof, of two nodes and of two ends of TCP: all explored, every mutant judged, on all cores."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from operator import itemgetter

from tunnel.machines.table import Ambiguous, ChartTable
from tunnel.verify.proof.counterexample import draw
from tunnel.verify.proof.equivalent_mutants import outdated, reason_of
from tunnel.verify.proof.explorer import explore
from tunnel.verify.proof.fault_models import FAULT_MODELS
from tunnel.verify.proof.model import Model
from tunnel.verify.proof.mutants import Mutant, Verdict, judge, mutants_of, mutations_of
from tunnel.verify.proof.properties import check
from tunnel.verify.proof.rules import Charts, FaultModel, Rules, read_charts
from tunnel.verify.proof.tcp_pair import OPENINGS, explore_opening, judge_tcp, read_tcp_table
from tunnel.verify.workers import run_all


@dataclass(frozen=True, slots=True)
class Explored:
    """What was found under one fault model, or with one opening of TCP."""

    fault_model: str
    states: int
    steps: int
    punches: int
    """The most that began, both sides together, without any patience in between."""
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
    """One for each mutant; none where mutants were left out."""

    @property
    def unkilled(self) -> tuple[str, ...]:
        """Mutants that broke no property."""
        return tuple(verdict.mutant for verdict in self.verdicts if not verdict.killed_by)

    @property
    def unexplained(self) -> tuple[str, ...]:
        """Those of them without a reason: the properties miss something."""
        return tuple(name for name in self.unkilled if not reason_of(name))

    @property
    def outdated(self) -> tuple[str, ...]:
        """Reasons that are for none of them."""
        return outdated(self.unkilled) if self.verdicts else ()

    @property
    def holds(self) -> bool:
        """Whether everything is as it should be."""
        return not (any(found.violation for found in self.explored) or self.unexplained or self.outdated)


def explore_fault_model(charts: Charts, fault_model: FaultModel) -> Explored:
    """Explore one fault model completely, and check all properties."""
    began = time.process_time()
    for table in charts:
        try:
            table.check_guards()
        except Ambiguous as ambiguity:
            return Explored(fault_model.name, 0, 0, 0, 0.0, "never", str(ambiguity))
    space = explore(Model(Rules(charts, fault_model)))
    violation, punches = check(space)
    seconds = time.process_time() - began
    found = Explored(fault_model.name, len(space.states), space.steps, punches, seconds)
    if violation is None:
        return found
    return replace(found, violation=violation.name, what=violation.what, diagram=draw(space, violation))


def count_jobs(*, with_mutants: bool) -> int:
    """How many times `prove` calls `on_done`."""
    return len(FAULT_MODELS) + len(OPENINGS) + (len(_mutants()) + len(_tcp_mutants()) if with_mutants else 0)


def prove(
    *, with_mutants: bool = True, processes: int | None = None, on_done: Callable[[bool], None] = lambda _: None
) -> Proof:
    """Explore all fault models and judge all mutants. `on_done(is_good)` is called for each as it ends."""
    jobs = range(count_jobs(with_mutants=with_mutants))
    spread = sorted(
        jobs, key=lambda job: job * len(jobs) // (2 * len(FAULT_MODELS)) if job < len(FAULT_MODELS) else job
    )
    results = run_all(_do, spread, processes=processes, on_done=lambda result: on_done(_is_good(result)))
    ordered = [result for _, result in sorted(zip(spread, results, strict=True), key=itemgetter(0))]
    return Proof(
        tuple(result for result in ordered if isinstance(result, Explored)),
        tuple(result for result in ordered if isinstance(result, Verdict)),
    )


def _is_good(result: Explored | Verdict) -> bool:
    if isinstance(result, Explored):
        return not result.violation
    return bool(result.killed_by or reason_of(result.mutant))


def _do(job: int) -> Explored | Verdict:
    """In a worker process: the number of the job is all that it needs."""
    was_collecting = gc.isenabled()
    gc.disable()  # a space has no reference cycles, and is too large to be searched for them
    try:
        if job < len(FAULT_MODELS):
            return explore_fault_model(read_charts(), FAULT_MODELS[job])
        job -= len(FAULT_MODELS)
        if job < len(OPENINGS):
            return _explore_tcp(job)
        job -= len(OPENINGS)
        return judge(_mutants()[job]) if job < len(_mutants()) else _judge_tcp(job - len(_mutants()))
    finally:
        if was_collecting:
            gc.enable()


def _explore_tcp(number: int) -> Explored:
    began = time.process_time()
    found = explore_opening(read_tcp_table(), OPENINGS[number])
    seconds = time.process_time() - began
    return Explored(found.opening, found.states, found.steps, 0, seconds, found.violation, found.what)


def _judge_tcp(number: int) -> Verdict:
    name, table = _tcp_mutants()[number]
    began = time.process_time()
    found = judge_tcp(table)
    if found is None:
        return Verdict(name, "", "", 0)
    return Verdict(name, found.violation, found.opening, found.states, time.process_time() - began)


@cache
def _tcp_mutants() -> tuple[tuple[str, ChartTable], ...]:
    return tuple((name, table) for name, _, table in mutations_of(read_tcp_table()))


@cache
def _mutants() -> tuple[Mutant, ...]:
    return tuple(mutants_of(read_charts()))
