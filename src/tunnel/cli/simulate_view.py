"""What `simulate` shows: a table of scenarios for people, one document for machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from tunnel.cli.text import printable
from tunnel.simulation.runs.conformance import Arrow, all_arrows
from tunnel.simulation.runs.rehearsal import Outcome

VERSION = 1
MOST_FAILURES = 8
"""Of one run that are shown."""


def outcomes_table(outcomes: Sequence[Outcome], titles: Mapping[str, str], *, is_whole: bool) -> Group:
    """One row a scenario; with the whole library also which transitions nobody took. A storm is one row."""
    table = Table("scenario", "runs", "passed", "virtual s", "packets", "what it shows", box=None, header_style="bold")
    for column in table.columns[1:5]:
        column.justify = "right"
    rows: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        rows.setdefault(outcome.scenario if outcome.scenario in titles else "storm", []).append(outcome)
    for name, runs in sorted(rows.items()):
        passed = sum(run.has_passed for run in runs)
        table.add_row(
            Text(printable(name)),
            str(len(runs)),
            Text(str(passed), style="green" if passed == len(runs) else "bold red"),
            f"{sum(run.seconds for run in runs):.0f}",
            str(sum(run.packets for run in runs)),
            Text(printable(titles.get(name, "random networks, faults and timings")), style="dim"),
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


def failure_lines(outcome: Outcome, rerun: str) -> list[str]:
    """A run that failed: seed, what did not hold, and the line that runs it again."""
    shown = [f"  {printable(failure)}" for failure in outcome.failures[:MOST_FAILURES]]
    more = len(outcome.failures) - len(shown)
    if more:
        shown.append(f"  and {more} more")
    return [f"\nFAILED {printable(outcome.scenario)}, seed {outcome.seed}", *shown, f"  again: {printable(rerun)}"]


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
    """A transition in a line."""
    return f"{arrow.chart}: {arrow.source} --{arrow.event}--> {arrow.target}"
