"""`simulate`: scenarios on a virtual internet, in virtual time; a failure says how to see it again."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console

from tunnel.cli.options import ConfigOption
from tunnel.cli.progress import Progress
from tunnel.cli.simulate_view import failure_lines, outcomes_table, summary_json
from tunnel.model.errors import DeviceError, SettingsError
from tunnel.simulation.runs.batch import run_all
from tunnel.simulation.runs.diagram import draw
from tunnel.simulation.runs.rehearsal import Outcome, rehearse
from tunnel.simulation.scenarios.library import scenario_files
from tunnel.simulation.scenarios.scenario import Scenario
from tunnel.simulation.scenarios.scenario_file import read_scenario, write_scenario
from tunnel.simulation.scenarios.storm import brew

_RANGE = re.compile(r"(\d+)(?:\.\.(\d+))?")
MOST_SEEDS = 1_000_000


def simulate(
    files: Annotated[
        tuple[Path, ...], Parameter(help="Scenario files, folders, or names of ours; all of ours if left out.")
    ] = (),
    /,
    *,
    seed: Annotated[int | None, Parameter(help="The seed of one run; 0 if nothing is said.")] = None,
    seeds: Annotated[str | None, Parameter(help="Many runs of each scenario: seeds A..B, both included.")] = None,
    storm: Annotated[
        str | None, Parameter(help="Random scenarios instead of files: one of each seed A..B, with random faults.")
    ] = None,
    json_: Annotated[bool, Parameter(name="--json", help="Print one JSON document.")] = False,
    trace: Annotated[Path | None, Parameter(help="Write the trace of the first failure, or of a single run.")] = None,
    diagram: Annotated[Path | None, Parameter(help="The same as a Mermaid sequence diagram.")] = None,
    keep: Annotated[Path | None, Parameter(help="Folder for the scenario files of a storm's failures.")] = None,
    processes: Annotated[int | None, Parameter(help="How many runs at once; one a core if left out.")] = None,
    config: ConfigOption = None,  # noqa: ARG001 - settings_file.py reads it
) -> int:
    """Run scenarios on a virtual internet, in virtual time.

    Says what did not hold, and ends with 1 if anything did not.
    """
    if seed is not None and seeds is not None:
        raise SettingsError("--seed and --seeds exclude each other")
    if storm is not None and (files or seed is not None or seeds is not None):
        raise SettingsError("--storm makes its own scenarios: it goes with no file, --seed or --seeds")
    if processes is not None and processes < 1:
        raise SettingsError(f"--processes {processes}: at least one")
    jobs: list[tuple[Path | None, int]]
    if storm is not None:
        jobs = [(None, each) for each in _range(storm, "--storm")]
    else:
        chosen = _range(seeds, "--seeds") if seeds is not None else range(seed or 0, (seed or 0) + 1)
        found = scenario_files(files)
        for file in found:
            read_scenario(file)  # every file is looked at before the first run
        jobs = [(file, each) for each in chosen for file in found]
    with Progress("runs", len(jobs), is_shown=not json_) as progress:
        outcomes = run_all(
            _run, jobs, processes=processes, on_done=lambda outcome: progress.step(is_bad=not outcome.has_passed)
        )
    _show(outcomes, jobs, is_whole=storm is None and not files, is_json=json_)
    _explain(outcomes, jobs, trace=trace, diagram=diagram, is_shown=not json_)
    if keep is not None and storm is not None:
        _keep(outcomes, keep)
    return 0 if all(outcome.has_passed for outcome in outcomes) else 1


def _run(job: tuple[Path | None, int]) -> Outcome:
    file, seed = job
    return rehearse(_scenario_of(file, seed), seed)


def _scenario_of(file: Path | None, seed: int) -> Scenario:
    return brew(seed) if file is None else read_scenario(file)


def _range(text: str, option: str) -> range:
    match = _RANGE.fullmatch(text)
    if match is None:
        raise SettingsError(f"{option} {text!r}: a number or A..B is expected")
    first, last = int(match[1]), int(match[2] or match[1])
    if last < first or last - first >= MOST_SEEDS:
        raise SettingsError(f"{option} {text}: A..B needs A <= B, and at most {MOST_SEEDS:,} seeds")
    return range(first, last + 1)


def _rerun(job: tuple[Path | None, int]) -> str:
    file, seed = job
    argv = ["--storm", str(seed)] if file is None else [str(file), "--seed", str(seed)]
    return "p2ptunnel-trio simulate " + shlex.join(argv)


def _show(
    outcomes: Sequence[Outcome], jobs: Sequence[tuple[Path | None, int]], *, is_whole: bool, is_json: bool
) -> None:
    if is_json:
        print(json.dumps(summary_json(outcomes, [_rerun(job) for job in jobs]), indent=1))
        return
    titles = {file.stem: read_scenario(file).title for file, _ in jobs if file is not None}
    Console(highlight=False).print(outcomes_table(outcomes, titles, is_whole=is_whole))
    for outcome, job in zip(outcomes, jobs, strict=True):
        if not outcome.has_passed:
            print("\n".join(failure_lines(outcome, _rerun(job))))


def _explain(
    outcomes: Sequence[Outcome],
    jobs: Sequence[tuple[Path | None, int]],
    *,
    trace: Path | None,
    diagram: Path | None,
    is_shown: bool,
) -> None:
    """Run the first failure (or a single run) again with its trace kept, and write or print what was seen."""
    at = next((at for at, outcome in enumerate(outcomes) if not outcome.has_passed), None)
    if at is None and len(jobs) == 1:
        at, is_shown = 0, False
    if at is None or not (trace or diagram or is_shown):
        return
    file, seed = jobs[at]
    scenario = _scenario_of(file, seed)
    again = rehearse(scenario, seed, keep_trace=True)
    if again.digest != outcomes[at].digest:
        print(f"simulate: {scenario.name} with seed {seed} did not repeat itself: this is a bug", file=sys.stderr)
    assert again.trace is not None
    if trace is not None:
        _write(trace, "".join(f"{line}\n" for line in again.trace.lines()))
    if diagram is not None:
        _write(diagram, draw(again, scenario))
    elif is_shown:
        print(f"\n{scenario.name}, seed {seed}, as a sequence diagram (Mermaid):\n")
        print(f"```mermaid\n{draw(again, scenario)}```")


def _keep(outcomes: Sequence[Outcome], folder: Path) -> None:
    for outcome in outcomes:
        if not outcome.has_passed:
            _write(folder / f"storm_{outcome.seed}.toml", write_scenario(brew(outcome.seed)))


def _write(file: Path, text: str) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise DeviceError(f"{file} cannot be written: {error.strerror}") from None
