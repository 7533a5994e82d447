"""Runs the grid and the population, and writes what came out into docs/simulation.md and its plots.

    python -m bench.studies.report --grid --population 1000 --compare 300

Each part stands between two markers of the page, `<!-- NAME begin -->` and `<!-- NAME end -->`; the rest of the page is
written by people. The same arguments write the same bytes.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.studies.grid import all_cells, run_grid
from bench.studies.page_parts import replace_part
from bench.studies.plot import draw_strips
from bench.studies.population import Job, Moment, Program, Region, run_plainly, run_population
from bench.studies.population_forecast import forecast
from bench.studies.population_mix import FILE, Mix, read_mix
from bench.studies.report_grid import grid_strips, grid_text
from bench.studies.report_population import (
    comparison_text,
    population_strips,
    population_text,
    summary_text,
)

from tunnel.verify.simulation.scenarios.library import simulations_folder
from tunnel.verify.workers import cores

PAGE = "simulation.md"
COMMAND = "python -m bench.studies.report"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is asked for, and write it."""
    options = _parse(arguments)
    page = options.docs / PAGE
    parts: dict[str, str] = {}
    if options.grid:
        parts["grid"] = _grid(options.docs, options.seeds, options.processes)
    mix = read_mix(simulations_folder() / FILE)
    if options.population:
        parts["population"] = _population(options.docs, mix, options.population, options.seed, options.processes)
    if options.compare:
        parts["comparison"] = _comparison(mix, options.compare, options.seed, options.processes)
    text = page.read_text(encoding="utf-8")
    for name, part in parts.items():
        text = replace_part(text, name, part)
    page.write_text(text, encoding="utf-8")
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=COMMAND, description="Run the simulation's studies and write their page.")
    parser.add_argument("--grid", action="store_true", help="run every cell of the grid")
    parser.add_argument("--seeds", type=int, default=1, metavar="N", help="runs of each cell of the grid")
    parser.add_argument("--population", type=int, default=0, metavar="N", help="run N pairs of the population")
    parser.add_argument("--compare", type=int, default=0, metavar="N", help="run N pairs by every program, everywhere")
    parser.add_argument("--seed", type=int, default=0, help="of the pairs that are drawn")
    parser.add_argument("--processes", type=int, default=cores(), help="runs at once")
    parser.add_argument("--docs", type=Path, default=Path("docs"), help="the folder of the page")
    options = parser.parse_args(arguments)
    page = options.docs / PAGE
    if not os.access(page, os.R_OK | os.W_OK) or not os.access(options.docs, os.W_OK):
        parser.error(f"{page} is not there or cannot be written: name the folder of a checkout's pages with --docs")
    return options


def _grid(docs: Path, seeds: int, processes: int) -> str:
    cells = all_cells()
    results = run_grid(cells, range(seeds), processes=processes, on_done=_counter("cells", len(cells) * seeds))
    plot = draw_strips("Time to direct, by pair of NATs", grid_strips(results))
    (docs / "simulation-grid.svg").write_text(plot, encoding="utf-8")
    return f"Made by `{COMMAND} --grid --seeds {seeds}`.\n\n{grid_text(results)}"


def _population(docs: Path, mix: Mix, count: int, seed: int, processes: int) -> str:
    jobs = [Job(mix, seed, number, ipv6=ipv6) for ipv6 in (True, False) for number in range(count)]
    runs = run_population(jobs, processes=processes, on_done=_counter("pairs", len(jobs)))
    plain = run_plainly(runs, processes=processes)
    rows = [
        ("IPv4 alone", runs[count:], forecast(mix, ipv6=False)),
        ("IPv4 alone, plain punching", plain[count:], forecast(mix, ipv6=False)),
        ("with IPv6", runs[:count], forecast(mix)),
        ("with IPv6, plain punching", plain[:count], forecast(mix)),
    ]
    runs = runs[:count]
    plot = draw_strips("Time to direct in the population", population_strips(runs))
    (docs / "simulation-population.svg").write_text(plot, encoding="utf-8")
    made = f"Made by `{COMMAND} --population {count} --seed {seed}`."
    return f"{made}\n\n{summary_text(rows)}\n\nWith IPv6, in detail:\n\n{population_text(runs)}"


def _comparison(mix: Mix, count: int, seed: int, processes: int) -> str:
    jobs = [
        Job(mix, seed, number, program, region, moment)
        for region in Region
        for moment in Moment
        for program in Program
        for number in range(count)
    ]
    runs = run_population(jobs, processes=processes, on_done=_counter("runs", len(jobs)))
    return f"Made by `{COMMAND} --compare {count} --seed {seed}`.\n\n{comparison_text(runs)}"


def _counter(what: str, total: int) -> Callable[[object], None]:
    """Print the progress on a terminal, at each percent."""
    done = 0
    is_seen = sys.stderr.isatty()

    def count(_: object) -> None:
        nonlocal done
        done += 1
        if is_seen and done * 100 // total != (done - 1) * 100 // total:
            print(f"\r{what}: {done} of {total}", end="\n" if done == total else "", file=sys.stderr, flush=True)

    return count


if __name__ == "__main__":
    raise SystemExit(main())
