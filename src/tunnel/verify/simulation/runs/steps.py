"""A kept trace for readers: actions, moves, signals and packets between machines, with repetitions folded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from tunnel.machines.sequence import Arrow
from tunnel.verify.memory.packet import Fate
from tunnel.verify.reachability.topology import SERVER, Topology
from tunnel.verify.simulation.runs.failure import Failure
from tunnel.verify.simulation.runs.trace import Ended, Frozen, Happened, Moved, Passed, Record, Signalled

_CHARTS = {
    "PeerConnectionChart": "peer",
    "AnnouncementChart": "announcement",
    "ServerLinkChart": "link",
    "PortMappingChart": "port",
    "SessionChart": "session",
    "IntroductionChart": "introduction",
}
_UNDERLAY = frozenset({"connect", "accept", "data", "end", "reset"})
"""Segments of byte streams: the signals in them are shown instead."""


class Step(NamedTuple):
    """Something that happened. With a `target` it is a message; an action on the network has no `place`."""

    at: float
    place: str
    target: str | None
    text: str
    arrow: Arrow = Arrow.ARRIVES


def steps_of(records: Iterable[Record], topology: Topology, names: dict[str, str]) -> list[Step]:
    """All steps of a run, in order; in a row of messages each kind between two places stands once.

    `names` maps node ids to hosts. Packets from addresses that are not in the topology are left out.
    """
    owners = {address: name for name, host in topology.hosts.items() for address in host.addresses}
    owners |= {router.address: name for name, router in topology.routers.items()}
    owners |= {server.address: server.name for server in topology.stun_servers}
    owners |= dict.fromkeys(topology.server.addresses, SERVER)
    return list(_fold(_each(records, owners, names)))


def last_before(failure: Failure, steps: Iterable[Step], topology: Topology, count: int) -> list[Step]:
    """At most `count` steps before the failure that concern its hosts, or all of them if it names none.

    The routers in front of them are included, what the server does by itself, and what is done to the network.
    """
    behind = {name: host.behind for name, host in topology.hosts.items()}
    behind |= {name: router.behind for name, router in topology.routers.items()}
    places: dict[str, None] = {}
    for name in failure.about:
        at: str | None = name
        while at is not None:
            places[at] = None
            at = behind.get(at)
    return [
        step
        for step in steps
        if step.at <= failure.at
        and (
            not places
            or step.place in ("", *places)
            or (step.target in places if step.target is not None else step.place == SERVER)
        )
    ][-count:]


def _each(records: Iterable[Record], owners: dict[str, str], names: dict[str, str]) -> Iterator[Step]:
    for record in records:
        match record:
            case Happened(at, what):
                yield Step(at, "", None, what)
            case Ended(at, host):
                yield Step(at, host, None, "ends")
            case Frozen(at, host, is_stopped):
                yield Step(at, host, None, "stops" if is_stopped else "goes on")
            case Moved(at, host, chart, about, source, event, _, target):
                whose = " ".join((_CHARTS[chart], *(names.get(part, part) for part in about.split())))
                yield Step(at, host, None, f"{whose}: {source} -{event}-> {target}")
            case Signalled(at, host, is_sent, tag, _) if host != SERVER:
                yield Step(at, host if is_sent else SERVER, SERVER if is_sent else host, tag)
            case Passed(at, source, destination, length, what, _, fate) if what not in _UNDERLAY:
                one, other = (owners.get(end.rpartition(":")[0].strip("[]")) for end in (source, destination))
                if one is not None and other is not None:
                    arrow = Arrow.ARRIVES if fate == Fate.DELIVERED.value else Arrow.LOST
                    told = "" if fate == Fate.DELIVERED.value else f", {fate}"
                    yield Step(at, one, other, f"{what} {length} B{told}", arrow)
            case Signalled() | Passed():
                pass


def _fold(steps: Iterator[Step]) -> Iterator[Step]:
    seen: set[tuple[str, str | None, str]] = set()
    for step in steps:
        if step.target is None:
            seen.clear()
            yield step
        elif (key := (step.place, step.target, step.text)) not in seen:
            seen.add(key)
            yield step
