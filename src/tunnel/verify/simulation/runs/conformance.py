"""Whether the charts allow a trace: each move must be a transition of its chart, from where the last one ended.

The proof explores the same charts, and the programs run them. Here they are compared with what was seen from outside:
guards are evaluated anew, and messages are looked up in `sends_of`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from tunnel.machines.diagrams import CHARTS
from tunnel.machines.table import read_table
from tunnel.verify.simulation.runs.failure import Failure
from tunnel.verify.simulation.runs.trace import Ended, Frozen, Happened, Moved, Passed, Record, Signalled

_BY_CLASS = {chart.__name__: (name, chart) for name, chart in CHARTS.items()}
_SENDERS = {
    "hello": "server_link",
    "announce": "announcement",
    "connect": "peer_connection",
}
"""The chart that says each message of a node. The link itself says `ping`, `pong` and `withdraw` while it is up."""


class Arrow(NamedTuple):
    """A transition that was taken."""

    chart: str
    source: str
    event: str
    target: str


def faults_of(records: Iterable[Record]) -> Iterator[Failure]:
    """Everything in a trace that no chart allows."""
    here: dict[tuple[str, str, str], str] = {}
    for record in records:
        match record:
            case Moved():
                yield from _judge_move(record, here)
            case Signalled(at, host, True, tag, _) if tag in _SENDERS and host != "server":
                if not _may_send(here, host, tag):
                    told = f"at {at:.3f} s {host} said {tag!r}, which no chart of it may say where it stands"
                    yield Failure(at, told, (host,))
            case Ended(_, host):
                for key in [key for key in here if key[0] == host]:
                    del here[key]
            case Signalled() | Passed() | Happened() | Frozen():
                pass


def arrows_of(records: Iterable[Record]) -> set[Arrow]:
    """Every transition that the trace takes."""
    return {
        Arrow(_BY_CLASS[record.chart][0], record.source, record.event, record.target)
        for record in records
        if isinstance(record, Moved)
    }


def all_arrows() -> set[Arrow]:
    """Every transition that the charts have."""
    return {
        Arrow(name, arrow.source, arrow.event, arrow.target)
        for name, chart in CHARTS.items()
        for arrow in chart.transitions()
    }


def _judge_move(move: Moved, here: dict[tuple[str, str, str], str]) -> Iterator[Failure]:
    name, chart = _BY_CLASS[move.chart]
    table = read_table(name, chart)
    key = (move.host, name, move.about)
    where = f"at {move.at:.3f} s {move.host}: {name}({move.about}) {move.source} --{move.event}--> {move.target}"
    stood = here.get(key, table.initial)
    if move.source not in (stood, table.initial):  # a peer that was forgotten or has failed starts a new chart
        yield Failure(move.at, f"{where}, but it stood in {stood}", (move.host,))
    if move.target != table.target(move.source, move.event, frozenset(move.facts)):
        told = f"{where} is no arrow of the chart while of its facts holds: {' '.join(move.facts) or 'nothing'}"
        yield Failure(move.at, told, (move.host,))
    here[key] = move.target


def _may_send(here: dict[tuple[str, str, str], str], host: str, tag: str) -> bool:
    """Whether a chart of the host may send the message in its state; one that has not moved is in its initial state."""
    name = _SENDERS[tag]
    table = read_table(name, CHARTS[name])
    states = [state for (owner, of, _), state in here.items() if (owner, of) == (host, name)] or [table.initial]
    return any(tag in table.sends_of[state] for state in states)
