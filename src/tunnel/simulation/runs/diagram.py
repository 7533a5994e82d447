"""A run as a sequence diagram: deeds, moves, signals, and the packets between machines, with repetitions folded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from tunnel.machines.sequence import Arrow, SequenceDiagram
from tunnel.network.memory_packet import Fate
from tunnel.simulation.internet.picture import SERVER
from tunnel.simulation.runs.rehearsal import Outcome
from tunnel.simulation.runs.trace import Ended, Happened, Moved, Passed, Record, Signalled
from tunnel.simulation.scenarios.scenario import Scenario

LONGEST = 240
"""Entries that a person can still follow; what is beyond is left out in the middle, and said so."""
_CHARTS = {
    "PeerConnectionChart": "peer",
    "AnnouncementChart": "announcement",
    "ServerLinkChart": "link",
    "PortMappingChart": "port",
    "SessionChart": "session",
    "IntroductionChart": "introduction",
}
_UNDERLAY = frozenset({"connect", "accept", "data", "end", "reset"})
"""Pieces of byte streams: the signals in them are drawn instead."""


class _Entry(NamedTuple):
    """One line of the diagram to be; a `target` makes it a message."""

    at: float
    place: str
    target: str | None
    text: str
    arrow: Arrow = Arrow.ARRIVES


def draw(outcome: Outcome, scenario: Scenario) -> str:
    """The kept trace of an outcome as Mermaid text. The outcome must have been made with `keep_trace`."""
    assert outcome.trace is not None
    picture = scenario.picture
    places = [*picture.hosts, *picture.routers, SERVER, *(server.name for server in picture.stun_servers)]
    owners = {address: name for name, host in picture.hosts.items() for address in host.addresses}
    owners |= {router.address: name for name, router in picture.routers.items()}
    owners |= {server.address: server.name for server in picture.stun_servers}
    owners |= {endpoint.host: SERVER for endpoint in picture.server.stun} | {picture.server.address: SERVER}
    entries = list(_fold(_entries(outcome.trace.records, owners, outcome.names)))
    diagram = SequenceDiagram(places)
    for at, entry in enumerate(entries):
        if len(entries) > LONGEST and LONGEST // 2 <= at < len(entries) - LONGEST // 2:
            if at == LONGEST // 2:
                diagram.note((places[0], places[-1]), f"{len(entries) - LONGEST} entries are left out here")
            continue
        text = f"{entry.at:.3f} {entry.text}"
        if entry.target is None:
            diagram.note((places[0], places[-1]) if entry.place == "" else entry.place, text)
        else:
            diagram.message(entry.place, entry.target, text, entry.arrow)
    return diagram.render()


def _entries(records: list[Record], owners: dict[str, str], names: dict[str, str]) -> Iterator[_Entry]:
    for record in records:
        match record:
            case Happened(at, what):
                yield _Entry(at, "", None, what)
            case Ended(at, host):
                yield _Entry(at, host, None, "ends")
            case Moved(at, host, chart, about, source, event, _, target):
                whose = " ".join(names.get(part, part) for part in about.split())
                yield _Entry(at, host, None, f"{_CHARTS[chart]} {whose}: {source} -{event}-> {target}")
            case Signalled(at, host, is_sent, tag, _) if host != SERVER:
                yield _Entry(at, host if is_sent else SERVER, SERVER if is_sent else host, tag)
            case Passed(at, source, destination, length, what, _, fate) if what not in _UNDERLAY:
                one, other = (owners.get(end.rpartition(":")[0].strip("[]")) for end in (source, destination))
                if one is not None and other is not None:
                    arrow = Arrow.ARRIVES if fate == Fate.DELIVERED.value else Arrow.LOST
                    told = "" if fate == Fate.DELIVERED.value else f", {fate}"
                    yield _Entry(at, one, other, f"{what} {length} B{told}", arrow)
            case Signalled() | Passed():
                pass


def _fold(entries: Iterator[_Entry]) -> Iterator[_Entry]:
    """Each kind of message between two places once in a row of such messages."""
    seen: set[tuple[str, str | None, str]] = set()
    for entry in entries:
        if entry.target is None:
            seen.clear()
            yield entry
        elif (key := (entry.place, entry.target, entry.text)) not in seen:
            seen.add(key)
            yield entry
