"""The tables of a run: the medians of all rounds, a row for each peer. As text of 80 columns, and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.performance.peers import BASE
from bench.performance.results import Results
from bench.performance.summary import median_of, ratio_of

WIDTH = 80
_LABEL = 22


@dataclass(frozen=True, slots=True)
class Column:
    """One value of one figure, divided by `unit`; with `of_base` its ratio to the bare path instead."""

    head: str
    figure: str
    value: str
    unit: float = 1.0
    digits: int = 2
    of_base: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A part of the page. Its name is that of the marker."""

    name: str
    title: str
    columns: tuple[Column, ...]

    @property
    def figures(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(column.figure for column in self.columns))


MEGA = 1e6
TABLES = (
    Table(
        "tcp",
        "TCP: Gbit/s, and CPU seconds of both ends for 10^9 bytes",
        (
            Column("1 stream", "tcp-1", "gbit"),
            Column("of bare", "tcp-1", "gbit", digits=3, of_base=True),
            Column("CPU/GB", "tcp-1", "cpu_per_gb"),
            Column("4", "tcp-4", "gbit"),
            Column("of bare", "tcp-4", "gbit", digits=3, of_base=True),
            Column("2 ways", "tcp-both", "gbit"),
        ),
    ),
    Table(
        "udp",
        "UDP flood: thousands of datagrams a second that arrive",
        (
            Column("64 B", "udp-64", "delivered", 1e3, 1),
            Column("of bare", "udp-64", "delivered", digits=3, of_base=True),
            Column("offered", "udp-64", "offered", 1e3, 0),
            Column("1200 B", "udp-1200", "delivered", 1e3, 1),
            Column("of bare", "udp-1200", "delivered", digits=3, of_base=True),
            Column("offered", "udp-1200", "offered", 1e3, 0),
        ),
    ),
    Table(
        "latency",
        "Round trip in ms, idle and beside a TCP stream at full speed",
        (
            Column("idle p50", "latency", "idle_p50", digits=3),
            Column("p99", "latency", "idle_p99", digits=3),
            Column("load p50", "latency", "load_p50"),
            Column("p99", "latency", "load_p99"),
            Column("lost", "latency", "load_lost", digits=3),
        ),
    ),
    Table(
        "memory",
        "Memory in MB during one TCP stream: VmRSS, and VmHWM since the start",
        (
            Column("sender", "tcp-1", "home_rss", MEGA, 1),
            Column("peak", "tcp-1", "home_rss_peak", MEGA, 1),
            Column("receiver", "tcp-1", "office_rss", MEGA, 1),
            Column("peak", "tcp-1", "office_rss_peak", MEGA, 1),
            Column("server", "tcp-1", "server_rss", MEGA, 1),
            Column("CPU/GB", "tcp-1", "server_cpu_per_gb"),
        ),
    ),
    Table(
        "profile",
        "Where the time of one TCP stream goes: shares of all busy cores' time",
        (
            *(Column(heap, "profile", heap) for heap in ("seal", "own", "copies", "kernel", "streams", "rest")),
            Column("cores", "profile", "cores"),
        ),
    ),
    Table(
        "loss",
        "TCP, 20 ms, Gbit/s by loss in percent; seconds to full speed after it",
        (
            Column("0", "loss", "gbit_0"),
            Column("0.1", "loss", "gbit_0.1"),
            Column("1", "loss", "gbit_1"),
            Column("5", "loss", "gbit_5"),
            Column("back", "loss", "back", digits=1),
            Column("on wire", "loss", "on_wire"),
        ),
    ),
    Table(
        "loss-of-bare",
        "The same, of the bare path; then what is kept of the own speed, likewise",
        (
            *(Column(loss, "loss", f"gbit_{loss}", digits=3, of_base=True) for loss in ("0", "0.1", "1", "5")),
            *(
                Column(f"kept {loss.removeprefix('0')}", "loss", f"kept_{loss}", of_base=True)
                for loss in ("0.1", "1", "5")
            ),
        ),
    ),
    Table(
        "first-byte",
        "First answer over the relay, in ms; `more` is beyond two round trips",
        (
            Column("first", "first-byte", "first", digits=1),
            Column("rtt", "first-byte", "rtt", digits=1),
            Column("more", "first-byte", "more", digits=1),
        ),
    ),
    Table(
        "idle-peers",
        "1,000 known, silent peers: MB, and percent of a core",
        (
            Column("none", "idle-peers", "rss_without", MEGA, 1),
            Column("1,000", "idle-peers", "rss", MEGA, 1),
            Column("more", "idle-peers", "rss_more", MEGA, 1),
            Column("CPU none", "idle-peers", "cpu_without", 0.01, 3),
            Column("1,000", "idle-peers", "cpu", 0.01, 3),
        ),
    ),
    Table(
        "many-pairs",
        "Many pairs through one relay: Gbit/s of all, CPU of the server",
        (
            Column("pairs", "many-pairs", "pairs", digits=0),
            Column("Jain", "many-pairs", "jain", digits=3),
            Column("slowest", "many-pairs", "least"),
            Column("by UDP", "many-pairs", "circuits"),
            Column("Gbit/s", "many-pairs", "gbit", digits=3),
            Column("CPU/GB", "many-pairs", "server_cpu_per_gb"),
            Column("MB", "many-pairs", "server_rss", MEGA, 1),
        ),
    ),
)


def cell(results: Results, peer: str, column: Column) -> str:
    """A median or a ratio of medians as text; `-` if it was not measured."""
    if column.of_base:
        value = ratio_of(results, peer, BASE, column.figure, column.value)
    else:
        value = median_of(results, peer, column.figure, column.value)
    return "-" if value is None else f"{value / column.unit:.{column.digits}f}"


def text_table(results: Results, table: Table) -> str:
    """For a terminal; empty if nothing of it was measured."""
    rows = _rows(results, table)
    if not rows:
        return ""
    width = min(10, (WIDTH - _LABEL) // len(table.columns))
    heads = "".join(f"{column.head:>{width}}" for column in table.columns)
    lines = [table.title, f"{'':<{_LABEL}}{heads}"]
    lines += [f"{peer:<{_LABEL}}" + "".join(f"{text:>{width}}" for text in cells) for peer, cells in rows]
    return "\n".join(lines)


def markdown_table(results: Results, table: Table) -> str:
    """For the page."""
    rows = _rows(results, table)
    if not rows:
        return "Not measured yet."
    lines = ["| | " + " | ".join(column.head for column in table.columns) + " |"]
    lines.append("|---|" + "---:|" * len(table.columns))
    lines += [f"| {peer} | " + " | ".join(cells) + " |" for peer, cells in rows]
    return "\n".join(lines)


def _rows(results: Results, table: Table) -> Sequence[tuple[str, list[str]]]:
    return [(peer, [cell(results, peer, column) for column in table.columns]) for peer in results.peers(table.figures)]
