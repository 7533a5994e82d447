"""The charts for readers: diagrams and tables generated from the classes, and SCXML written by hand.

`python -m tunnel.machines.diagrams` writes statecharts/NAME.md; a test says when one is out of date. The folder
`statecharts` is beside `src` in a checkout, and inside the package in an installed wheel.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from pathlib import Path

from tunnel.machines.announcement import AnnouncementChart
from tunnel.machines.chart import Chart
from tunnel.machines.introduction import IntroductionChart
from tunnel.machines.peer_connection import PeerConnectionChart
from tunnel.machines.port_mapping import PortMappingChart
from tunnel.machines.server_link import ServerLinkChart
from tunnel.machines.session import SessionChart
from tunnel.machines.tcp_connection import TcpConnectionChart

CHARTS: dict[str, type[Chart]] = {
    "peer_connection": PeerConnectionChart,
    "announcement": AnnouncementChart,
    "server_link": ServerLinkChart,
    "port_mapping": PortMappingChart,
    "session": SessionChart,
    "introduction": IntroductionChart,
    "tcp_connection": TcpConnectionChart,
}
"""Every chart by the name of its files."""

_PACKAGE = Path(__file__).parents[1]


def mermaid(chart: type[Chart]) -> str:
    """A Mermaid `stateDiagram-v2`. Arrows between the same two states share one line, with all their events."""
    labels: dict[tuple[str, str], list[str]] = {}
    for arrow in chart.transitions():
        label = f"{arrow.event} [{arrow.condition}]" if arrow.condition else arrow.event
        labels.setdefault((arrow.source, arrow.target), []).append(label)
    return _lines(
        [
            "stateDiagram-v2",
            *(f"    [*] --> {state.id}" for state in chart.states if state.initial),
            *(f"    {source} --> {target} : {', '.join(events)}" for (source, target), events in labels.items()),
            *(f"    {state.id} --> [*]" for state in chart.states if state.final),
        ]
    )


def table(chart: type[Chart]) -> str:
    """Every transition as a row of a Markdown table: state, event, guard, target."""
    return _markdown_table(
        ("State", "Event", "Guard", "Target"),
        (
            (arrow.source, arrow.event, arrow.condition, _target(arrow.source, arrow.target))
            for arrow in chart.transitions()
        ),
    )


def duties(chart: type[Chart]) -> str:
    """Every state as a row of a Markdown table: what its activity may return, and which messages it may send."""
    return _markdown_table(
        ("State", "Its activity may return", "It may send"),
        (
            (state.id, ", ".join(sorted(chart.events_of[state.id])), ", ".join(sorted(chart.sends_of[state.id])))
            for state in chart.states
        ),
    )


def page(name: str) -> str:
    """The whole of statecharts/NAME.md."""
    chart = CHARTS[name]
    return _lines(
        [
            f"# {name}",
            "",
            inspect.cleandoc(chart.__doc__ or ""),
            "",
            f"Generated from `{chart.__name__}` by `python -m tunnel.machines.diagrams`; its definition in SCXML is "
            f"[{name}.scxml]({name}.scxml).",
            "",
            "```mermaid",
            mermaid(chart).rstrip(),
            "```",
            "",
            table(chart),
            duties(chart).rstrip(),
        ]
    )


def scxml_text(name: str) -> str:
    """The hand-written SCXML twin of a chart."""
    return (statecharts_folder() / f"{name}.scxml").read_text(encoding="utf-8")


def statecharts_folder(package: Path = _PACKAGE) -> Path:
    """Where the files are: inside an installed package, beside `src` in a checkout."""
    installed = package / "statecharts"
    return installed if installed.is_dir() else package.parents[1] / "statecharts"


def write_pages(folder: Path) -> list[Path]:
    """Write NAME.md of every chart into the folder. Returns the files."""
    files = [folder / f"{name}.md" for name in CHARTS]
    for file in files:
        file.write_text(page(file.stem), encoding="utf-8")
    return files


def _target(source: str, target: str) -> str:
    return f"{target}, entered again" if source == target else target


def _markdown_table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    return _lines(f"| {' | '.join(row)} |" for row in (heads, ("---",) * len(heads), *rows))


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


if __name__ == "__main__":
    for written in write_pages(statecharts_folder()):
        print(written)
