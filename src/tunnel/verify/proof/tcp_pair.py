"""Two ends of a TCP connection: every pair of states that they can be in, and what must and must not happen.

Segments are lost, repeated and reordered: any that was ever sent may arrive, at any time and again. So a state is the
two ends and the sets of what each has ever sent. Where connections are also torn down, a segment is forgotten two
states after the one in which it was sent, else there would be too many sets. Once there are no more faults, only what
an end says in its present state counts, for it is sent again until it is answered.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from tunnel.machines.table import Ambiguous, ChartTable, read_table
from tunnel.machines.tcp_connection import TcpConnectionChart
from tunnel.verify.proof.fairness import Graph
from tunnel.verify.proof.rules import Fault
from tunnel.verify.proof.tcp_end import (
    FIN_ACKED,
    FIN_SENT,
    PEER_FIN,
    PEER_SYN,
    SYN_ACKED,
    SYN_SENT,
    Rules,
    Segment,
    TcpEnd,
)

_BELIEFS = ((PEER_SYN, SYN_SENT), (SYN_ACKED, PEER_SYN), (PEER_FIN, FIN_SENT), (FIN_ACKED, PEER_FIN))
"""What an end holds true, and what must then be true of the other end unless that is closed."""


@dataclass(frozen=True, slots=True)
class Opening:
    """How a connection begins, and whether it may be torn down."""

    name: str
    passive: str
    """The state of the second end at the start: `listen`, `closed`, or `syn_sent` for a simultaneous open."""
    is_aborting: bool
    """Users abort, and timeouts end connections, TIME-WAIT too early among them."""


OPENINGS = (
    Opening("client and server", "listen", is_aborting=False),
    Opening("simultaneous open", "syn_sent", is_aborting=False),
    Opening("nobody listens", "closed", is_aborting=False),
    Opening("client and server, torn down", "listen", is_aborting=True),
    Opening("simultaneous open, torn down", "syn_sent", is_aborting=True),
)


class Pair(NamedTuple):
    """One state of the composition. The first end has opened actively."""

    ends: tuple[TcpEnd, TcpEnd]
    sent: tuple[frozenset[Segment], frozenset[Segment]]


@dataclass(frozen=True, slots=True)
class Found:
    """What exploring one opening came to."""

    opening: str
    states: int
    steps: int
    pairs: frozenset[tuple[str, str]]
    """Every pair of states of the two charts."""
    violation: str = ""
    """`never` or `over`, the kind of promise that is broken; empty where everything holds."""
    what: str = ""


def read_tcp_table() -> ChartTable:
    """The chart of the program."""
    return read_table("tcp_connection", TcpConnectionChart)


def explore_opening(table: ChartTable, opening: Opening) -> Found:
    """Visit every state, and check all that is promised."""
    rules = Rules(table)
    try:
        table.check_guards()
        start = _start(rules, opening)
        places = {start: 0}
        states, fair, steps = [start], list[tuple[int, int]](), 0
        for here, pair in enumerate(states):  # it grows meanwhile
            for is_fair, target in _steps(rules, opening, pair):
                steps += 1
                if target not in places:
                    _check(opening, target)
                    places[target] = len(states)
                    states.append(target)
                if is_fair:
                    fair.append((here, places[target]))
    except (Fault, Ambiguous) as fault:
        return Found(opening.name, 0, 0, frozenset(), "never", str(fault))
    pairs = frozenset((pair.ends[0].state, pair.ends[1].state) for pair in states)
    unending = _unending(opening, states, fair)
    return Found(opening.name, len(states), steps, pairs, "over" if unending else "", unending)


def judge_tcp(table: ChartTable) -> Found | None:
    """Explore all openings, up to the first in which something does not hold; None where all does."""
    found = (explore_opening(table, opening) for opening in OPENINGS)
    return next((each for each in found if each.violation), None)


def _start(rules: Rules, opening: Opening) -> Pair:
    first = rules.move(TcpEnd("listen"), "active_open")
    second = TcpEnd("listen")
    if opening.passive == "closed":
        second = TcpEnd("closed")
    elif opening.passive == "syn_sent":
        second = rules.move(second, "active_open")
    return Pair((first, second), (frozenset(first.says), frozenset(second.says)))


def _steps(rules: Rules, opening: Opening, pair: Pair) -> Iterator[tuple[bool, Pair]]:
    """Each step, and whether it is taken sooner or later when there are no more faults."""
    for who, end in enumerate(pair.ends):
        other = pair.ends[1 - who]
        for segment in sorted(pair.sent[1 - who]):
            moved, reset = rules.receive(end, segment)
            yield segment in other.says or segment.kind == "rst", _changed(opening, pair, who, moved, reset)
        if end.state in ("established", "close_wait", "syn_sent", "syn_received") and not end.is_shutdown_wanted:
            yield True, _changed(opening, pair, who, rules.shut_down(end))
        if end.state == "time_wait" and (opening.is_aborting or other.state in ("time_wait", "closed")):
            yield True, _changed(opening, pair, who, rules.move(end, "patience_ended"))
        if opening.is_aborting and end.state != "closed":
            reset = Segment("rst", end.next_sent, end.next_received) if PEER_SYN in end.facts else None
            yield False, _changed(opening, pair, who, rules.move(end, "close"), reset)


def _changed(opening: Opening, pair: Pair, who: int, end: TcpEnd, reset: Segment | None = None) -> Pair:
    before, other = pair.ends[who], pair.ends[1 - who]
    sent = pair.sent[who].union(end.says)
    if opening.is_aborting and end.state != before.state:
        sent = frozenset(end.says).union(before.says, (old for old in sent if old.kind == "rst"))
    if reset is not None:
        sent |= {reset}
    if who == 0:
        return Pair((end, other), (sent, pair.sent[1]))
    return Pair((other, end), (pair.sent[0], sent))


def _check(opening: Opening, pair: Pair) -> None:
    """What must never be. Raises Fault."""
    for end, other in (pair.ends, pair.ends[::-1]):
        if end.state == "closed":
            continue
        for belief, truth in _BELIEFS:
            if belief in end.facts and other.state != "closed" and truth not in other.facts:
                raise Fault(f"{end.state} although the other end is {other.state}")
    for end, other in (pair.ends, pair.ends[::-1]):
        if end.is_hurt and not opening.is_aborting and opening.passive != "closed":
            raise Fault(f"closed by a RST although the other end, {other.state}, has not aborted")


def _unending(opening: Opening, states: list[Pair], fair: list[tuple[int, int]]) -> str:
    """What must happen once there are no more faults: both ends close, and where nobody aborts they close in order.

    Returns the first pair from which that cannot be reached, or nothing.
    """
    graph = Graph(len(states))
    for source, target in fair:
        graph.before[target].append(source)
    goals = [place for place, pair in enumerate(states) if _is_over(opening, pair)]
    reached = graph.leading_to(goals)
    for place, pair in enumerate(states):
        if not reached[place]:
            return f"never over: {pair.ends[0].state} and {pair.ends[1].state}"
    return ""


def _is_over(opening: Opening, pair: Pair) -> bool:
    a, b = pair.ends
    if opening.is_aborting:
        return a.state == "closed" and b.state in ("closed", "listen")
    return a.state == b.state == "closed" and (opening.passive == "closed" or not (a.is_hurt or b.is_hurt))
