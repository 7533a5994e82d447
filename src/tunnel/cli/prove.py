"""`prove`: the charts composed and explored whole, and broken one by one to see the proof fail."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tunnel.cli.layout import Trimmed
from tunnel.cli.options import ConfigOption
from tunnel.cli.output_files import vet_target, write_target
from tunnel.cli.progress import Progress
from tunnel.model.errors import SettingsError
from tunnel.verify.proof.equivalent_mutants import reason_of
from tunnel.verify.proof.prover import Explored, Proof, count_jobs
from tunnel.verify.proof.prover import prove as prove_all


def prove(
    *,
    mutants: Annotated[
        bool, Parameter(negative="--no-mutants", help="Also break the charts one by one: the proof must notice.")
    ] = True,
    json_: Annotated[bool, Parameter(name="--json", help="Print one JSON document.")] = False,
    diagram: Annotated[Path | None, Parameter(help="Write a shortest way to a violation, as Mermaid.")] = None,
    processes: Annotated[int | None, Parameter(help="How many cores to use; all if left out.")] = None,
    config: ConfigOption = None,
) -> int:
    """Explore every state that two nodes and their server can reach together. Exit code 1 if a property is broken."""
    if processes is not None and processes < 1:
        raise SettingsError(f"--processes {processes}: at least one")
    vet_target("--diagram", diagram, [] if config is None else [config])
    with Progress("explorations", count_jobs(with_mutants=mutants), is_shown=not json_) as progress:
        proof = prove_all(
            with_mutants=mutants, processes=processes, on_done=lambda is_good: progress.step(is_bad=not is_good)
        )
    if json_:
        print(json.dumps(proof_json(proof), indent=2))
    else:
        Console(highlight=False, soft_wrap=True).print(Trimmed(weathers_table(proof)))
        print("\n".join(verdict_lines(proof)))
    shown = next((fault_model.diagram for fault_model in proof.explored if fault_model.diagram), "")
    if diagram is not None and shown:
        write_target(diagram, shown)
    elif shown and not json_:
        print(f"\n{shown}", end="")
    return 0 if proof.holds else 1


def weathers_table(proof: Proof) -> Table:
    """One row a weather."""
    table = Table("weather", "states", "steps", "punches", "seconds", "", box=None, header_style="bold", pad_edge=False)
    for column in table.columns[1:5]:
        column.justify = "right"
    for fault_model in proof.explored:
        table.add_row(
            fault_model.fault_model,
            f"{fault_model.states:,}",
            f"{fault_model.steps:,}",
            str(fault_model.punches),
            f"{fault_model.seconds:.0f}",
            _result(fault_model),
        )
    return table


def verdict_lines(proof: Proof) -> list[str]:
    """What became of the mutants, and of the whole."""
    lines = []
    if proof.verdicts:
        killed = len(proof.verdicts) - len(proof.survivors)
        lines.append(f"\n{len(proof.verdicts)} mutants: {killed} break a property, {len(proof.survivors)} break none")
        for name in proof.survivors:
            lines += [f"  {name}", f"      {reason_of(name) or 'NOT EXPLAINED'}"]
        lines += [f"  {name}\n      EXPLAINED FOR NOTHING" for name in proof.outdated]
    return [*lines, "\nproved" if proof.holds else "\nNOT proved"]


def proof_json(proof: Proof) -> dict[str, object]:
    """The same for machines."""
    return {
        "version": 1,
        "holds": proof.holds,
        "weathers": [asdict(fault_model) for fault_model in proof.explored],
        "mutants": {
            "all": len(proof.verdicts),
            "survivors": {name: reason_of(name) or None for name in proof.survivors},
            "unexplained": list(proof.unexplained),
            "outdated": list(proof.outdated),
            "killed": [asdict(verdict) for verdict in proof.verdicts if verdict.killed_by],
        },
    }


def _result(fault_model: Explored) -> Text:
    if not fault_model.violation:
        return Text("holds", style="green")
    return Text(f"{fault_model.violation}: {fault_model.what}", style="red")
