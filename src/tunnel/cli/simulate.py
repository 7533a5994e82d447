"""`simulate`: scenarios on a virtual internet, in virtual time. A failure says how to run it again."""

from __future__ import annotations

import json
import re
import shlex
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, NamedTuple

from cyclopts import Parameter, Token
from rich.console import Console

from tunnel.cli.options import ConfigOption
from tunnel.cli.output_files import check_output_file, check_output_folder, write_file_in, write_output_file
from tunnel.cli.progress import Progress
from tunnel.cli.simulate_view import failure_lines, fenced, outcomes_table, step_lines, summary_json
from tunnel.model.errors import SettingsError
from tunnel.model.safe_text import printable
from tunnel.model.toml_file import shown
from tunnel.verify.simulation.runs.diagram import draw
from tunnel.verify.simulation.runs.run import Outcome, broken_outcome, run_scenario
from tunnel.verify.simulation.scenarios.library import scenario_files, simulations_folder
from tunnel.verify.simulation.scenarios.random_scenario import draw_scenario
from tunnel.verify.simulation.scenarios.scenario import Scenario
from tunnel.verify.simulation.scenarios.scenario_file import read_scenario
from tunnel.verify.simulation.scenarios.scenario_text import write_scenario
from tunnel.verify.workers import run_all

_RANGE = re.compile(r"([0-9]{1,18})(?:\.\.([0-9]{1,18}))?")
MOST_SEEDS = 1_000_000
MOST_NAME = 100
"""Characters of a scenario's name in the name of a file."""
WIDEST = 120
"""Columns of lines that are to be read one by one."""


def _whole(_: object, tokens: Sequence[Token]) -> int:
    """Cyclopts would accept 1.5 as 1, and the digits of other scripts."""
    text = tokens[0].value
    if re.fullmatch("[0-9]{1,18}", text) is None:
        raise ValueError(f"{text!r} is no whole number")
    return int(text)


class _Job(NamedTuple):
    """One run. Without a file it is that of the random scenario of its seed."""

    file: Path | None
    scenario: Scenario | None
    seed: int


def simulate(
    files: Annotated[
        tuple[Path, ...],
        Parameter(help="Scenario files, folders, or names from the library; the whole library if left out."),
    ] = (),
    /,
    *,
    seed: Annotated[int | None, Parameter(converter=_whole, help="The seed of one run; 0 if left out.")] = None,
    seeds: Annotated[
        str | None, Parameter(allow_leading_hyphen=True, help="Many runs of each scenario: seeds A..B, both included.")
    ] = None,
    storm: Annotated[
        str | None,
        Parameter(
            allow_leading_hyphen=True,
            help="Random scenarios instead of files: one of each seed A..B, with random faults.",
        ),
    ] = None,
    json_: Annotated[bool, Parameter(name="--json", help="Print one JSON document.")] = False,
    trace: Annotated[
        Path | None, Parameter(help="Write the trace of the first failure, or of a single run; says of which.")
    ] = None,
    diagram: Annotated[
        Path | None, Parameter(help="The same as a Mermaid sequence diagram; fenced, if the name ends in .md.")
    ] = None,
    keep: Annotated[
        Path | None,
        Parameter(
            help="Folder for what failed: the diagram of the first failure, and the file of each random scenario."
        ),
    ] = None,
    processes: Annotated[
        int | None, Parameter(converter=_whole, help="How many runs at once; one per core if left out.")
    ] = None,
    config: ConfigOption = None,
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
    sources = [] if config is None else [config]
    if storm is not None:
        jobs = [_Job(None, None, each) for each in _range(storm, "--storm")]
    else:
        chosen = _range(seeds, "--seeds") if seeds is not None else range(seed or 0, (seed or 0) + 1)
        scenarios = _read(scenario_files(files))  # each is read once, before the first run
        sources += scenarios
        jobs = [_Job(file, scenario, each) for each in chosen for file, scenario in scenarios.items()]
    check_output_file("--trace", trace, sources)
    check_output_file("--diagram", diagram, [*sources, *([] if trace is None else [trace])])
    check_output_folder("--keep", keep)
    with Progress("runs", len(jobs), is_shown=not json_) as progress:
        outcomes = run_all(
            _run,
            jobs,
            processes=processes,
            on_done=lambda outcome: progress.step(is_bad=not outcome.has_passed),
            on_error=_broken,
        )
    _show(outcomes, jobs, is_whole=storm is None and not files, is_json=json_)
    if keep is not None and storm is not None:
        for outcome in outcomes:
            if not outcome.has_passed:
                write_file_in(keep, f"storm_{outcome.seed}.toml", write_scenario(draw_scenario(outcome.seed)))
    _explain(outcomes, jobs, trace=trace, diagram=diagram, keep=keep, is_shown=not json_)
    return 0 if all(outcome.has_passed for outcome in outcomes) else 1


def _read(files: Sequence[Path]) -> dict[Path, Scenario]:
    """Read all files. Scenarios of the same name are called by their paths. Reports those that expect nothing."""
    scenarios = {file: read_scenario(file) for file in files}
    names = [scenario.name for scenario in scenarios.values()]
    for file, scenario in scenarios.items():
        if not scenario.expectations:
            _note(f"{file}: nothing is expected: only what must hold in every run is judged")
        if names.count(scenario.name) > 1:
            scenarios[file] = replace(scenario, name=str(file.with_suffix("")))
    return scenarios


def _run(job: _Job) -> Outcome:
    """A run that raises an error has failed; the others go on."""
    try:
        return run_scenario(_scenario_of(job), job.seed)
    except Exception as error:
        return _broken(job, error)


def _broken(job: _Job, error: Exception) -> Outcome:
    return broken_outcome(_scenario_of(job).name, job.seed, error)


def _scenario_of(job: _Job) -> Scenario:
    return draw_scenario(job.seed) if job.scenario is None else job.scenario


def _range(text: str, option: str) -> range:
    match = _RANGE.fullmatch(text)
    if match is None:
        raise SettingsError(
            f"{option} {shown(text)}: a number or A..B is expected, both from 0 and of 18 digits at most"
        )
    first, last = int(match[1]), int(match[2] or match[1])
    if last < first or last - first >= MOST_SEEDS:
        raise SettingsError(f"{option} {text}: A..B needs A <= B, and at most {MOST_SEEDS:,} seeds")
    return range(first, last + 1)


def _rerun(job: _Job) -> str:
    argv = ["--storm", str(job.seed)] if job.file is None else [_called(job.file), "--seed", str(job.seed)]
    return "p2ptunnel-trio simulate " + shlex.join(argv)


def _called(file: Path) -> str:
    """A scenario of the library by its name, unless that is a file here."""
    is_ours = file.parent == simulations_folder() / "scenarios" and not Path(file.stem).exists()
    return file.stem if is_ours else str(file)


def _show(outcomes: Sequence[Outcome], jobs: Sequence[_Job], *, is_whole: bool, is_json: bool) -> None:
    if is_json:
        print(json.dumps(summary_json(outcomes, [_rerun(job) for job in jobs]), indent=1))
        return
    titles = {job.scenario.name: job.scenario.title for job in jobs if job.scenario is not None}
    console = Console(highlight=False)
    console.print(outcomes_table(outcomes, titles, is_whole=is_whole, width=console.width))
    for outcome, job in zip(outcomes, jobs, strict=True):
        if not outcome.has_passed:
            print("\n".join(failure_lines(outcome, _rerun(job), console.width if console.is_terminal else None)))


def _explain(
    outcomes: Sequence[Outcome],
    jobs: Sequence[_Job],
    *,
    trace: Path | None,
    diagram: Path | None,
    keep: Path | None,
    is_shown: bool,
) -> None:
    """Run the first failure (or a single run) again and keep its trace; write what was asked for, and show its end."""
    at = next((at for at, outcome in enumerate(outcomes) if not outcome.has_passed), None)
    has_failed = at is not None
    if at is None and len(jobs) == 1:
        at = 0
    targets = [str(target) for target in (trace, diagram) if target is not None]
    if at is None and targets:
        _note(f"no run has failed: {' and '.join(targets)} not written; name one scenario and one --seed")
    if at is None or not (targets or (has_failed and (is_shown or keep is not None))):
        return
    seed, scenario = jobs[at].seed, _scenario_of(jobs[at])
    try:
        again = run_scenario(scenario, seed, keep_trace=True)
    except Exception:
        _note(f"{scenario.name} with seed {seed} broke: it has no trace and no diagram")
        return
    if again.digest != outcomes[at].digest:
        _note(f"{scenario.name} with seed {seed} did not repeat itself: this is a bug")
    assert again.trace is not None
    if trace is not None:
        write_output_file(trace, "".join(f"{line}\n" for line in again.trace.lines()))
    drawn = draw(again, scenario)
    if diagram is not None:
        write_output_file(diagram, fenced(drawn) if diagram.suffix == ".md" else drawn)
    elif has_failed:
        diagram = _keep_diagram(keep, scenario.name, seed, fenced(drawn))
    if has_failed and is_shown:
        if again.failure is not None:
            print("\n".join(step_lines(again, scenario, min(Console().width, WIDEST))))
        print("\n" + printable(f"its sequence diagram (Mermaid): {diagram}"))
    if targets and len(jobs) > 1:
        _note(f"{' and '.join(targets)}: of {scenario.name}, seed {seed}")


def _keep_diagram(folder: Path | None, name: str, seed: int, text: str) -> Path:
    """Keep the diagram for a user who named no file: in this folder, or in a new temporary one."""
    if folder is None:
        folder = Path(tempfile.mkdtemp(prefix="p2ptunnel-trio-"))
    file = f"{re.sub(r'[^A-Za-z0-9_.-]', '_', name)[-MOST_NAME:]}-{seed}.md"
    write_file_in(folder, file, text)
    return folder / file


def _note(text: str) -> None:
    print(f"simulate: {printable(text)}", file=sys.stderr)
