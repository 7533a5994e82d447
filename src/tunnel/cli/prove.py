"""`prove`: explores the composition of the charts, then breaks the charts one by one to see the proof fail."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tunnel.cli.layout import Trimmed
from tunnel.cli.options import ConfigOption
from tunnel.cli.output_files import check_output_file, write_output_file
from tunnel.cli.progress import Progress
from tunnel.model.errors import SettingsError
from tunnel.verify.proof.equivalent_mutants import reason_of
from tunnel.verify.proof.mutants import Verdict
from tunnel.verify.proof.prover import Explored, Proof, count_jobs
from tunnel.verify.proof.prover import prove as prove_all


def prove(
    *,
    mutants: Annotated[
        bool, Parameter(negative="--no-mutants", help="Also break the charts one by one: the proof must notice.")
    ] = True,
    json_: Annotated[bool, Parameter(name="--json", help="Print one JSON document.")] = False,
    diagram: Annotated[
        Path | None, Parameter(help="Write a shortest way to a violation, as a Mermaid sequence diagram.")
    ] = None,
    processes: Annotated[int | None, Parameter(help="How many cores to use; all if left out.")] = None,
    config: ConfigOption = None,
) -> int:
    """Explore every state that two nodes and their server can reach together. Exit code 1 if a property is broken."""
    if processes is not None and processes < 1:
        raise SettingsError(f"--processes {processes}: at least one")
    check_output_file("--diagram", diagram, [] if config is None else [config])
    with Progress("explorations", count_jobs(with_mutants=mutants), is_shown=not json_) as progress:
        proof = prove_all(
            with_mutants=mutants, processes=processes, on_done=lambda is_good: progress.step(is_bad=not is_good)
        )
    if json_:
        print(json.dumps(proof_json(proof), indent=2))
    else:
        Console(highlight=False, soft_wrap=True).print(Trimmed(fault_models_table(proof)))
        print("\n".join(verdict_lines(proof)))
    shown = next((found.diagram for found in proof.explored if found.diagram), "")
    if diagram is not None and shown:
        write_output_file(diagram, shown)
    elif shown and not json_:
        print(f"\n{shown}", end="")
    return 0 if proof.holds else 1


def fault_models_table(proof: Proof) -> Table:
    """One row for each fault model."""
    table = Table(
        "fault model", "states", "steps", "punches", "seconds", "", box=None, header_style="bold", pad_edge=False
    )
    for column in table.columns[1:5]:
        column.justify = "right"
    for found in proof.explored:
        table.add_row(
            found.fault_model,
            f"{found.states:,}",
            f"{found.steps:,}",
            str(found.punches),
            f"{found.seconds:.0f}",
            _result(found),
        )
    return table


def verdict_lines(proof: Proof) -> list[str]:
    """What became of the mutants, and of the whole proof."""
    lines = []
    if proof.verdicts:
        killed = len(proof.verdicts) - len(proof.unkilled)
        lines.append(f"\n{len(proof.verdicts)} mutants: {killed} break a property, {len(proof.unkilled)} break none")
        for name in proof.unkilled:
            lines += [f"  {name}", f"      {reason_of(name) or 'NOT EXPLAINED'}"]
        lines += [f"  {name}\n      EXPLAINED FOR NOTHING" for name in proof.outdated]
    return [*lines, "\nproved" if proof.holds else "\nNOT proved"]


def proof_json(proof: Proof) -> dict[str, object]:
    """The documented JSON form (docs/proof.md). Its keys stay, whatever the fields are called."""
    return {
        "version": 1,
        "holds": proof.holds,
        "weathers": [_explored_json(found) for found in proof.explored],
        "mutants": {
            "all": len(proof.verdicts),
            "survivors": {name: reason_of(name) or None for name in proof.unkilled},
            "unexplained": list(proof.unexplained),
            "outdated": list(proof.outdated),
            "killed": [_verdict_json(verdict) for verdict in proof.verdicts if verdict.killed_by],
        },
    }


def _explored_json(found: Explored) -> dict[str, object]:
    return {
        "weather": found.fault_model,
        "states": found.states,
        "steps": found.steps,
        "punches": found.punches,
        "seconds": found.seconds,
        "violation": found.violation,
        "what": found.what,
        "diagram": found.diagram,
    }


def _verdict_json(verdict: Verdict) -> dict[str, object]:
    return {
        "mutant": verdict.mutant,
        "killed_by": verdict.killed_by,
        "weather": verdict.fault_model,
        "states": verdict.states,
        "seconds": verdict.seconds,
    }


def _result(found: Explored) -> Text:
    if not found.violation:
        return Text("holds", style="green")
    return Text(f"{found.violation}: {found.what}", style="red")
