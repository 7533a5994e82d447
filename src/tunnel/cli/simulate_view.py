"""What `simulate` shows: a table of scenarios for people, one document for machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import wrap
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from tunnel.machines.sequence import Arrow as Line
from tunnel.model.safe_text import printable
from tunnel.verify.simulation.runs.conformance import Arrow, all_arrows
from tunnel.verify.simulation.runs.run import Outcome
from tunnel.verify.simulation.runs.steps import Step, last_before, steps_of
from tunnel.verify.simulation.scenarios.scenario import Scenario

VERSION = 1
MOST_FAILURES = 8
"""Failures of one run that are shown."""
MOST_STEPS = 20
"""Steps before a failure that are shown."""
MOST_PLACE = 30
"""Columns for the place of a step, or for sender and receiver."""
_BESIDE_TITLE = 18
"""Columns of the table besides names, titles and figures."""
_FIGURES = 22
_LEAST_TITLE = 20
"""Columns: if fewer are left for titles, the figures are left out."""


def outcomes_table(outcomes: Sequence[Outcome], titles: Mapping[str, str], *, is_whole: bool, width: int) -> Group:
    """One row for each scenario, and one for all random ones. For the whole library also the transitions never taken.

    Names are shown in full, titles as far as they fit into `width` columns.
    """
    rows: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        rows.setdefault(outcome.scenario if outcome.scenario in titles else "storm", []).append(outcome)
    room = width - max(len(printable(name)) for name in rows) - _BESIDE_TITLE
    with_figures = room - _FIGURES >= _LEAST_TITLE
    room = max(room - _FIGURES * with_figures, 1)
    table = Table("scenario", "runs", "passed", box=None, header_style="bold")
    for heading in ("virtual s", "packets") if with_figures else ():
        table.add_column(heading)
    for column in table.columns[1:]:
        column.justify = "right"
    table.add_column("what it shows", no_wrap=True)
    for name, runs in sorted(rows.items()):
        passed = sum(run.has_passed for run in runs)
        figures = f"{sum(run.seconds for run in runs):.0f}", str(sum(run.packets for run in runs))
        table.add_row(
            Text(printable(name)),
            str(len(runs)),
            Text(str(passed), style="green" if passed == len(runs) else "bold red"),
            *(figures if with_figures else ()),
            Text(_cut(printable(titles.get(name, "random networks, faults and timings")), room), style="dim"),
        )
    passed = sum(outcome.has_passed for outcome in outcomes)
    lines = [
        Text(f"\n{passed} of {len(outcomes)} runs passed", style="green" if passed == len(outcomes) else "bold red")
    ]
    if is_whole:
        missing = missing_arrows(outcomes)
        taken = len(all_arrows()) - len(missing)
        lines.append(Text(f"{taken} of {len(all_arrows())} transitions of the charts were taken"))
        lines += [Text(f"  never: {words_of(arrow)}", style="yellow") for arrow in missing]
    return Group(table, *lines)


def failure_lines(outcome: Outcome, rerun: str, width: int | None) -> list[str]:
    """A run that failed: seed, what did not hold, and the command that runs it again.

    With a width sentences are wrapped; the command never is, so that it can be copied.
    """
    shown = [f"  {printable(failure)}" for failure in outcome.failures[:MOST_FAILURES]]
    more = len(outcome.failures) - len(shown)
    if more:
        shown.append(f"  and {more} more")
    if width is not None:
        shown = [line for each in shown for line in wrap(each, width, subsequent_indent="      ", drop_whitespace=True)]
    return [f"\nFAILED {printable(outcome.scenario)}, seed {outcome.seed}", *shown, f"  again: {printable(rerun)}"]


def step_lines(outcome: Outcome, scenario: Scenario, width: int) -> list[str]:
    """The last steps before the first failure, one line each, at most `width` wide. The outcome has kept its trace."""
    failure, trace = outcome.failure, outcome.trace
    assert failure is not None
    assert trace is not None
    steps = last_before(
        failure, steps_of(trace.records, scenario.topology, outcome.names), scenario.topology, MOST_STEPS
    )
    whose = f" of {', '.join(failure.about)}" if failure.about else ""
    places = [_place_of(step) for step in steps]
    room = min(max(map(len, places), default=0), MOST_PLACE)
    lines = [
        printable(f"{step.at:10.3f}  {_cut(place, room):{room}}  {step.text}")
        for step, place in zip(steps, places, strict=True)
    ]
    told = f"{outcome.scenario}, seed {outcome.seed}: the last steps{whose} until {failure.at:.3f} s, where it failed:"
    return ["", *wrap(printable(told), width), *(_cut(line, width) for line in lines)]


def _place_of(step: Step) -> str:
    if step.target is None:
        return step.place or "*"
    return f"{step.place} {'->' if step.arrow is Line.ARRIVES else '-x'} {step.target}"


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def fenced(diagram: str) -> str:
    """A Mermaid diagram as Markdown shows it."""
    return f"```mermaid\n{diagram}```\n"


def summary_json(outcomes: Sequence[Outcome], reruns: Sequence[str]) -> dict[str, Any]:
    """The documented JSON form (docs/simulation.md)."""
    return {
        "version": VERSION,
        "passed": sum(outcome.has_passed for outcome in outcomes),
        "failed": sum(not outcome.has_passed for outcome in outcomes),
        "transitions": {
            "all": len(all_arrows()),
            "never_taken": [arrow._asdict() for arrow in missing_arrows(outcomes)],
        },
        "runs": [
            {
                "scenario": outcome.scenario,
                "seed": outcome.seed,
                "passed": outcome.has_passed,
                "failures": list(outcome.failures),
                "digest": outcome.digest,
                "packets": outcome.packets,
                "virtual_seconds": outcome.seconds,
                "rerun": rerun,
            }
            for outcome, rerun in zip(outcomes, reruns, strict=True)
        ],
    }


def missing_arrows(outcomes: Sequence[Outcome]) -> list[Arrow]:
    """The transitions of all charts that no run took."""
    taken: set[Arrow] = set()
    for outcome in outcomes:
        taken |= outcome.arrows
    return sorted(all_arrows() - taken)


def words_of(arrow: Arrow) -> str:
    """A transition in one line."""
    return f"{arrow.chart}: {arrow.source} --{arrow.event}--> {arrow.target}"
