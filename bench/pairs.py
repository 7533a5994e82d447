"""Which path each pair of hosts behind real kernel NATs gets, and how soon. Needs root; takes about ten minutes.

    python bench/pairs.py                                   # all kinds; prints the page
    python bench/pairs.py --kinds symmetric,upnp_symmetric  # only these, each with each
    python bench/pairs.py --write                           # also writes docs/reach.md

One lab with two sites of each kind and one server. Each pair has freshly started nodes. They ping each other through
the tunnel, and then both are asked for their path, again and again if a promised direct path is missing. Some pairs run
at once, on sites of their own. Exits with 1 if a pair that is promised a direct path (tunnel.verify.netlab.promises)
has none, or if one has no path at all; times are reported, but not judged.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from pathlib import Path
from typing import Any

from tunnel.model.errors import Unreachable
from tunnel.verify.netlab import Kind, Lab, SiteSpec
from tunnel.verify.netlab.programs import LabPrograms
from tunnel.verify.netlab.promises import is_direct_promised

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reach.md"
ONE_WAY = 10.0
"""Milliseconds between a site and the internet."""
PINGS = 10
INTERVAL = 0.2
SETTLING = 40.0
"""Seconds that a pair gets to settle."""
INSISTING = 60.0
"""Seconds that a pair gets that is promised a direct path: retries come after 5, 10 and 30 s."""
TOGETHER = 3
"""Pairs that run at the same time."""
UNDECIDED = ("detecting", "announced", "requested", "punching")

KINDS = (
    Kind.PUBLIC,
    Kind.FIREWALL,
    Kind.FULL_CONE,
    Kind.ADDR_RESTRICTED,
    Kind.PORT_PRESERVING,
    Kind.SYMMETRIC,
    Kind.SYMMETRIC_SEQUENTIAL,
    Kind.DOUBLE,
    Kind.CGNAT,
    Kind.UPNP_SYMMETRIC,
    Kind.PCP_SYMMETRIC,
    Kind.IPV6_ONLY,
    Kind.UDP_BLOCKED,
    Kind.SLOPPY,
    Kind.WEB_ONLY,
)
"""The kinds that are measured by default. The gateways are on symmetric NATs, where only they help."""
SEVEN = (
    Kind.PUBLIC,
    Kind.FULL_CONE,
    Kind.PORT_PRESERVING,
    Kind.SYMMETRIC,
    Kind.DOUBLE,
    Kind.UDP_BLOCKED,
    Kind.UPNP_SYMMETRIC,
)
"""Other tools were measured on these, each with each (49 cells)."""
ONE_NAT = (Kind.PORT_PRESERVING, Kind.SYMMETRIC)
"""The kinds with a second host at the first site."""

HEAD = """\
# What reaches what

The real program, a server and two nodes, on hosts behind real kernel NATs ([the lab](netlab.md) says what each kind
is), {round_trip:g} ms round trip between any two sites. Made as root by `python bench/pairs.py --write`.

{count} pairs: {direct} direct, {relayed} relayed, {failed} failed; {lost} of {pings} pings lost.
By what each side is alone, {promised} are promised to be direct{missing}.
"""
SUMMARY = """
The seven kinds {kinds}, each with
each, make 49 cells: {direct} direct ({promised} promised), {relayed} relayed, {failed} failed. In the same cells other
tools came to 24 (n2n, ICE with a TURN server), 23 (tinc) and 20 (nebula) direct ones.
"""
LEGEND = """
*First answer* and *direct after* are seconds from the first ping on, *direct after* at the later of both ends. The
relay carries the first packets of every pair; data moves to a direct path as soon as one is proved both ways. The nodes
of a pair were started just before. [Why a pair is relayed](howto-relayed.md) explains the reasons.
"""

_telling = threading.Lock()


@dataclass(frozen=True, slots=True)
class Meeting:
    """Two nodes, named after their hosts, and the kinds of their sites."""

    specs: tuple[SiteSpec, SiteSpec]
    one: str
    other: str

    @property
    def kinds(self) -> tuple[Kind, Kind]:
        return self.specs[0].kind, self.specs[1].kind

    @property
    def is_within(self) -> bool:
        """Whether both are behind one NAT."""
        return self.specs[0] is self.specs[1]

    @property
    def is_direct_promised(self) -> bool:
        return self.is_within or is_direct_promised(*self.specs)

    @property
    def title(self) -> str:
        """For people."""
        first, second = (kind.value for kind in self.kinds)
        return f"two hosts behind one {first}" if self.is_within else f"{first} x {second}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one meeting. Times are seconds since the first ping."""

    meeting: Meeting
    path_kind: str
    """The kind of path at both ends, `none` without one; two kinds if they differ."""
    reason: str
    evidence: str
    first_answer: float | None
    direct_after: float | None
    """Seconds until both ends were on a direct path."""
    lost: int

    @property
    def is_missed(self) -> bool:
        """Whether it got less than promised."""
        return self.path_kind != "direct" if self.meeting.is_direct_promised else not self.path_kind.startswith("relay")

    @property
    def cell(self) -> str:
        """The verdict in a word."""
        verdict = self.path_kind.partition("-")[0]
        return f"**{verdict}**" if self.is_missed else verdict


def main() -> int:
    """Measure, print, and write if asked to; 1 if something promised is missing."""
    parser = argparse.ArgumentParser(description="What every pair of hosts reaches behind real kernel NATs.")
    parser.add_argument("--kinds", type=_kinds, default=KINDS, help=f"some of {','.join(kind.value for kind in Kind)}")
    parser.add_argument("--seven", action="store_const", const=SEVEN, dest="kinds", help="the seven of the summary")
    parser.add_argument("--together", type=int, default=TOGETHER, help="pairs at the same time")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.name} too")
    arguments = parser.parse_args()
    outcomes = measure(arguments.kinds, arguments.together)
    page = describe(arguments.kinds, outcomes)
    print(page)
    if arguments.write:
        PAGE.write_text(page)
    missed = [outcome for outcome in outcomes if outcome.is_missed]
    for outcome in missed:
        print(
            f"missed: {outcome.meeting.title}: {outcome.path_kind} {outcome.reason}: {outcome.evidence}",
            file=sys.stderr,
        )
    return 1 if missed else 0


def measure(kinds: Sequence[Kind], together: int) -> list[Outcome]:
    """All pairs of these kinds."""
    specs = {
        (kind, number): SiteSpec(
            f"s{position}{'ab'[number - 1]}", kind, hosts=2 if number == 1 and kind in ONE_NAT else 1, delay=ONE_WAY
        )
        for position, kind in enumerate(kinds)
        for number in (1, 2)
    }
    meetings = [_meeting(specs[one, 1], specs[other, 2]) for one, other in combinations_with_replacement(kinds, 2)]
    meetings += [_meeting(specs[kind, 1], specs[kind, 1]) for kind in kinds if kind in ONE_NAT]
    with (
        tempfile.TemporaryDirectory() as folder,
        Lab(*specs.values()) as lab,
        LabPrograms(lab, Path(folder)) as lab_programs,
    ):
        lab_programs.start_server()
        lab_programs.make_invite(ipv6=lab.server.address_v6 is not None)
        done = 0

        def meet(meeting: Meeting) -> Outcome:
            nonlocal done
            outcome = _meet(lab, lab_programs, meeting)
            with _telling:
                done += 1
                print(f"{done}/{len(meetings)}", *_row(outcome), sep="  ", file=sys.stderr, flush=True)
            return outcome

        return _in_turns(meetings, meet, together)


def describe(kinds: Sequence[Kind], outcomes: Sequence[Outcome]) -> str:
    """The page docs/reach.md."""
    direct = sum(outcome.path_kind == "direct" for outcome in outcomes)
    relayed = sum(outcome.path_kind.startswith("relay") for outcome in outcomes)
    missed = sum(outcome.is_missed for outcome in outcomes)
    page = [
        HEAD.format(
            round_trip=4 * ONE_WAY,
            count=len(outcomes),
            direct=direct,
            relayed=relayed,
            failed=len(outcomes) - direct - relayed,
            lost=sum(outcome.lost for outcome in outcomes),
            pings=PINGS * len(outcomes),
            promised=sum(outcome.meeting.is_direct_promised for outcome in outcomes),
            missing=f"; {missed} missing, in bold" if missed else "",
        ),
        *_matrix(kinds, outcomes),
    ]
    if set(SEVEN) <= set(kinds):
        page.append(_summary(outcomes))
    return "\n".join([*page, LEGEND, *_table(outcomes)]) + "\n"


def _kinds(text: str) -> tuple[Kind, ...]:
    return tuple(Kind(word) for word in text.split(","))


def _meeting(one: SiteSpec, other: SiteSpec) -> Meeting:
    return Meeting((one, other), one.name, f"{one.name}-2" if one is other else other.name)


def _in_turns(meetings: Sequence[Meeting], meet: Callable[[Meeting], Outcome], together: int) -> list[Outcome]:
    """Run so many at a time, none of which share a site; the first failure ends all."""
    waiting = list(meetings)
    busy: set[str] = set()
    outcomes: dict[str, Outcome] = {}
    failures: list[BaseException] = []
    turn = threading.Condition()

    def next_meeting() -> Meeting | None:
        """The first meeting whose sites are free; None if none is left."""
        while waiting and not failures:
            for meeting in waiting:
                sites = {spec.name for spec in meeting.specs}
                if not sites & busy:
                    busy.update(sites)
                    waiting.remove(meeting)
                    return meeting
            turn.wait()
        return None

    def work() -> None:
        while True:
            with turn:
                meeting = next_meeting()
            if meeting is None:
                return
            try:
                outcome = meet(meeting)
            except BaseException as failure:
                failures.append(failure)
            with turn:
                if not failures:
                    outcomes[meeting.title] = outcome
                busy.difference_update(spec.name for spec in meeting.specs)
                turn.notify_all()

    workers = [threading.Thread(target=work) for _ in range(together)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if failures:
        raise failures[0]
    return [outcomes[meeting.title] for meeting in meetings]


def _meet(lab: Lab, lab_programs: LabPrograms, meeting: Meeting) -> Outcome:
    names = (meeting.one, meeting.other)
    hosts = {host.name: host for spec in meeting.specs for host in lab.sites[spec.name].hosts}
    for name in names:
        lab_programs.start_node(hosts[name], name)
    try:
        return _outcome(lab_programs, meeting, names)
    except Unreachable as error:
        return Outcome(meeting, "none", "", str(error), None, None, PINGS)
    finally:
        for name in names:
            lab_programs.stop_node(name)


def _outcome(lab_programs: LabPrograms, meeting: Meeting, names: tuple[str, str]) -> Outcome:
    lab_programs.wait_ready(*names)
    pings = lab_programs.start_ping(*names, count=PINGS, interval=INTERVAL).finish()
    first = pings.first
    asked = time.time() - PINGS * INTERVAL if first is None else first.asked
    entries = _settle(lab_programs, names, meeting.is_direct_promised)
    kinds = ("none" if entry["path"] is None else str(entry["path"]["kind"]) for entry in entries)
    moments = [moment for entry in entries if (moment := _connected_at(entry)) is not None]
    reason = entries[0]["reason"] or entries[1]["reason"]
    return Outcome(
        meeting,
        " and ".join(dict.fromkeys(kinds)),
        "" if reason is None else reason["code"],
        "" if reason is None else reason["evidence"],
        None if first is None else first.rtt,
        max(moments) - asked if len(moments) == 2 else None,
        PINGS - len(pings.answers),
    )


def _settle(lab_programs: LabPrograms, names: tuple[str, str], insist: bool) -> list[dict[str, Any]]:
    """What both say of each other once they have settled, or, with `insist`, once both are direct."""
    try:
        if insist:
            return list(lab_programs.wait_direct(*names, INSISTING))
    except Unreachable:
        pass
    return [lab_programs.wait_peer(name, peer, _is_decided, "decided", SETTLING) for name, peer in (names, names[::-1])]


def _is_decided(entry: dict[str, Any]) -> bool:
    return entry["state"] not in UNDECIDED


def _connected_at(entry: dict[str, Any]) -> float | None:
    return next((move["at"] for move in entry["history"] if move["to"] == "connected"), None)


def _summary(outcomes: Sequence[Outcome]) -> str:
    cells = [
        outcome for outcome in outcomes if set(outcome.meeting.kinds) <= set(SEVEN) and not outcome.meeting.is_within
    ]
    weights = [len(set(outcome.meeting.kinds)) for outcome in cells]  # a x b stands for b x a too

    def count(holds: Callable[[Outcome], bool]) -> int:
        return sum(weight for outcome, weight in zip(cells, weights, strict=True) if holds(outcome))

    return SUMMARY.format(
        kinds=", ".join(kind.value for kind in SEVEN),
        direct=count(lambda outcome: outcome.path_kind == "direct"),
        promised=count(lambda outcome: outcome.meeting.is_direct_promised),
        relayed=count(lambda outcome: outcome.path_kind.startswith("relay")),
        failed=count(lambda outcome: outcome.path_kind != "direct" and not outcome.path_kind.startswith("relay")),
    )


def _matrix(kinds: Sequence[Kind], outcomes: Sequence[Outcome]) -> list[str]:
    cells = {frozenset(outcome.meeting.kinds): outcome.cell for outcome in outcomes[::-1]}
    header = ["", *(kind.value for kind in kinds)]
    return _rows([header, *([row.value, *(cells[frozenset((row, column))] for column in kinds)] for row in kinds)])


def _table(outcomes: Sequence[Outcome]) -> list[str]:
    header = ["pair", "carried by", "reason", "first answer, s", "direct after, s", "lost"]
    return _rows([header, *map(_row, outcomes)])


def _row(outcome: Outcome) -> list[str]:
    return [
        outcome.meeting.title,
        f"**{outcome.path_kind}**" if outcome.is_missed else outcome.path_kind,
        f"`{outcome.reason}`" if outcome.reason else "",
        _seconds(outcome.first_answer),
        _seconds(outcome.direct_after),
        str(outcome.lost),
    ]


def _rows(cells: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table; the first row is the header."""
    rows = [f"| {' | '.join(row)} |" for row in cells]
    return [rows[0], "|" + "---|" * len(cells[0]), *rows[1:]]


def _seconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.2f}"


if __name__ == "__main__":
    sys.exit(main())
