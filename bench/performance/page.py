"""Writes the results of a run between the markers of docs/performance.md, and draws its plots."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.performance.figures.udp import BUFFER
from bench.performance.goals import markdown_goals
from bench.performance.results import Results, write_results
from bench.performance.tables import TABLES, markdown_table
from bench.studies.page_parts import replace_part
from bench.studies.plot import Scale, Strip, draw_strips

PAGE = "performance.md"
RAW = "performance.json"

PLOTS: Sequence[tuple[str, str, str, str, str, float, str]] = (
    ("tcp", "performance-tcp.svg", "One TCP stream", "tcp-1", "gbit", 1.0, "Gbit/s"),
    ("udp", "performance-udp.svg", "UDP, 64 bytes: thousands of datagrams a second", "udp-64", "delivered", 1e3, "k/s"),
    ("latency", "performance-rtt.svg", "Round trip beside a TCP stream, p99", "latency", "load_p99", 1.0, "ms"),
    ("tcp", "performance-cpu.svg", "CPU seconds of both ends for 10^9 bytes", "tcp-1", "cpu_per_gb", 1.0, "s"),
    ("loss", "performance-loss.svg", "One TCP stream, 20 ms, 1 % loss", "loss", "gbit_1", 1.0, "Gbit/s"),
)
"""The table that it stands below, file, title, figure, value, divisor, unit."""


def write_page(docs: Path, results: Results) -> None:
    """Bring the page, its plots and its raw values up to date. Raises SettingsError if the page lacks a marker."""
    page = docs / PAGE
    text = page.read_text(encoding="utf-8")
    for name, part in parts(results).items():
        text = replace_part(text, name, part)
    for file, svg in plots(results).items():
        (docs / file).write_text(svg, encoding="utf-8")
    write_results(docs / RAW, results)
    page.write_text(text, encoding="utf-8")


def parts(results: Results) -> dict[str, str]:
    """What stands between the markers of the page, by their names."""
    tables = {table.name: f"{table.title}.\n\n{markdown_table(results, table)}" for table in TABLES}
    for name, file, title, figure, *_ in PLOTS:
        if results.peers((figure,)):
            tables[name] += f"\n\n![{title}]({file})"
    return {"conditions": _conditions(results), "goals": markdown_goals(results), **tables}


def plots(results: Results) -> dict[str, str]:
    """The SVG documents, by their file names; none of a figure that was not measured."""
    drawn = {}
    for _, file, title, figure, value, divisor, unit in PLOTS:
        strips = []
        for peer in results.peers((figure,)):
            values = tuple(one / divisor for one in results.values(peer, figure, value))
            if values:
                strips.append(Strip(peer, values, f"{sorted(values)[len(values) // 2]:.3g} {unit}"))
        if strips:
            drawn[file] = draw_strips(title, strips, scale=Scale.LOGARITHMIC, unit=unit, unit_name=unit)
    return drawn


def _conditions(results: Results) -> str:
    run = results.run
    if not run:
        return "Not measured yet."
    versions = dict.fromkeys(run["versions"].values())
    fewer = [f"{figure} {rounds}" for figure, rounds in results.rounds().items() if rounds < run["rounds"]]
    but = f" ({', '.join(fewer)})" if fewer else ""
    lossy = f" ({run['loss_congestion']} in the streams under loss)" if "loss_congestion" in run else ""
    buffer = run.get("udp_buffer", BUFFER)
    short = f" UDP's receiver had a buffer of {buffer} bytes instead of {BUFFER}." if buffer < BUFFER else ""
    failed = [f"round {one.round}, {one.peer}, {one.figure}: {one.reason}" for one in results.failures]
    return (
        f"Medians of {run['rounds']} interleaved rounds{but}, {run['seconds']:g} s each,"
        f" on one machine with {run['cores']} cores; {run['kernel']}, Python {run['python']}, TCP with"
        f" {run['congestion']}{lossy}.{short} {', '.join(versions)}."
    ) + "".join(f"\n\nFailed: {one}" for one in failed)
