"""What every pair of hosts reaches behind real kernel NATs, and how soon. Needs root; about three minutes.

    python bench/pairs.py            # prints the tables
    python bench/pairs.py --write    # also writes docs/reach.md

One lab, one server, two sites of each kind with a node each, all running at once. The pairs meet one after the other:
ten pings through the tunnel, then both nodes are asked what they came to.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from pathlib import Path
from typing import Any

from tunnel.netlab import Kind, Lab, SiteSpec
from tunnel.netlab.household import Household

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reach.md"
ONE_WAY = 10.0
"""Milliseconds between a site and the internet."""
PINGS = 10
INTERVAL = 0.2
SETTLING = 30.0
"""Seconds that a pair gets to make up its mind: a punch in vain takes 10, a repeated one twice that."""
UNDECIDED = ("detecting", "announced", "requested", "punching")
ONE_NAT = (Kind.PORT_PRESERVING, Kind.SYMMETRIC)
"""The kinds with a second host at the first site."""


HEAD = """\
# What reaches what

The real program, a server and two nodes, on hosts behind real kernel NATs ([the lab](netlab.md) says what each kind
is), {round_trip:g} ms round trip between any two sites. Made as root by `python bench/pairs.py --write`.

{count} pairs: {direct} direct, {relayed} relayed, {failed} failed; {lost} of {pings} pings lost.
"""
LEGEND = """
*First answer* and *direct after* are seconds from the first ping on, *direct after* at the later of both ends. The
relay carries the first packets of every pair; data moves to a direct path as soon as one is proved both ways.
"""


@dataclass(frozen=True, slots=True)
class Meeting:
    """Two nodes, named after their hosts, and the kinds of their sites."""

    kinds: tuple[Kind, Kind]
    one: str
    other: str

    @property
    def title(self) -> str:
        """For people."""
        first, second = (kind.value for kind in self.kinds)
        return f"two hosts behind one {first}" if self.other.startswith(f"{self.one}-") else f"{first} x {second}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one meeting. Times are seconds from the first ping on."""

    meeting: Meeting
    carrier: str
    """The kind of path at both ends, `none` without one; two kinds if they differ."""
    reason: str
    first_answer: float | None
    direct_after: float | None
    """Until both ends were on a direct path."""
    lost: int


def main() -> None:
    """Measure, print, and write if asked to."""
    parser = argparse.ArgumentParser(description="What every pair of hosts reaches behind real kernel NATs.")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.name} too")
    arguments = parser.parse_args()
    outcomes = measure()
    page = describe(outcomes)
    print(page)
    if arguments.write:
        PAGE.write_text(page)


def measure() -> list[Outcome]:
    """All pairs."""
    specs = [
        SiteSpec(_site(kind, number), kind, hosts=2 if number == 1 and kind in ONE_NAT else 1, delay=ONE_WAY)
        for kind in Kind
        for number in (1, 2)
    ]
    with tempfile.TemporaryDirectory() as folder, Lab(*specs) as lab, Household(lab, Path(folder)) as household:
        household.start_server()
        names = [host.name for site in lab.sites.values() for host in site.hosts]
        for site in lab.sites.values():
            for host in site.hosts:
                household.start_node(host, host.name)
        for name in names:
            household.wait_status(name, lambda status: _knows_all(status, len(names) - 1), "knowing all others", 90)
        return [_meet(household, meeting) for meeting in _meetings()]


def describe(outcomes: Sequence[Outcome]) -> str:
    """The page docs/reach.md."""
    direct = sum(outcome.carrier == "direct" for outcome in outcomes)
    relayed = sum(outcome.carrier.startswith("relay") for outcome in outcomes)
    head = HEAD.format(
        round_trip=4 * ONE_WAY,
        count=len(outcomes),
        direct=direct,
        relayed=relayed,
        failed=len(outcomes) - direct - relayed,
        lost=sum(outcome.lost for outcome in outcomes),
        pings=PINGS * len(outcomes),
    )
    return "\n".join([head, *_matrix(outcomes), LEGEND, *_table(outcomes)]) + "\n"


def _meetings() -> list[Meeting]:
    across = [Meeting(pair, _site(pair[0], 1), _site(pair[1], 2)) for pair in combinations_with_replacement(Kind, 2)]
    within = [Meeting((kind, kind), _site(kind, 1), f"{_site(kind, 1)}-2") for kind in ONE_NAT]
    return across + within


def _meet(household: Household, meeting: Meeting) -> Outcome:
    pings = household.start_ping(meeting.one, meeting.other, count=PINGS, interval=INTERVAL).finish()
    first = pings.first
    asked = time.time() - PINGS * INTERVAL if first is None else first.asked
    one = household.wait_peer(meeting.one, meeting.other, _is_decided, "decided", SETTLING)
    other = household.wait_peer(meeting.other, meeting.one, _is_decided, "decided", SETTLING)
    carriers = ("none" if entry["path"] is None else str(entry["path"]["kind"]) for entry in (one, other))
    moments = [moment for entry in (one, other) if (moment := _connected_at(entry)) is not None]
    outcome = Outcome(
        meeting,
        " and ".join(dict.fromkeys(carriers)),
        "" if one["reason"] is None else one["reason"]["code"],
        None if first is None else first.rtt,
        max(moments) - asked if len(moments) == 2 else None,
        PINGS - len(pings.answers),
    )
    print(meeting.title, outcome.carrier, outcome.reason, _seconds(outcome.direct_after), sep="  ", file=sys.stderr)
    return outcome


def _site(kind: Kind, number: int) -> str:
    return f"{kind.value.replace('_', '')[:9]}{number}"


def _knows_all(status: dict[str, Any], others: int) -> bool:
    return len(status["peers"]) == others and all(peer["state"] != "detecting" for peer in status["peers"])


def _is_decided(entry: dict[str, Any]) -> bool:
    return entry["state"] not in UNDECIDED


def _connected_at(entry: dict[str, Any]) -> float | None:
    return next((move["at"] for move in entry["history"] if move["to"] == "connected"), None)


def _matrix(outcomes: Sequence[Outcome]) -> list[str]:
    cells = {frozenset(outcome.meeting.kinds): outcome.carrier.partition("-")[0] for outcome in outcomes[::-1]}
    header = ["", *(kind.value for kind in Kind)]
    return _rows([header, *([row.value, *(cells[frozenset((row, column))] for column in Kind)] for row in Kind)])


def _table(outcomes: Sequence[Outcome]) -> list[str]:
    header = ["pair", "carried by", "reason", "first answer, s", "direct after, s", "lost"]
    return _rows(
        [
            header,
            *(
                [
                    outcome.meeting.title,
                    outcome.carrier,
                    f"`{outcome.reason}`" if outcome.reason else "",
                    _seconds(outcome.first_answer),
                    _seconds(outcome.direct_after),
                    str(outcome.lost),
                ]
                for outcome in outcomes
            ),
        ]
    )


def _rows(cells: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table; the first row is the header."""
    rows = [f"| {' | '.join(row)} |" for row in cells]
    return [rows[0], "|" + "---|" * len(cells[0]), *rows[1:]]


def _seconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.2f}"


if __name__ == "__main__":
    main()
