"""What is proved. What must never happen is found during exploration; what must always happen again, afterward."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tunnel.verify.proof.explorer import Space
from tunnel.verify.proof.fairness import Backward, OneWants
from tunnel.verify.proof.path import BOTH_WAYS, SIZE
from tunnel.verify.proof.side import NO_SERVER, Card, Pair, Side
from tunnel.verify.proof.steps import Pace

PROGRAMS = frozenset({Pace.PROMPT, Pace.SLOW})
WANTING = PROGRAMS | {Pace.WANTED_A, Pace.WANTED_B, Pace.BLIND_A, Pace.BLIND_B}
AT_ONCE = frozenset({Pace.PROMPT, Pace.PERHAPS, Pace.WANTED_A, Pace.WANTED_B})
MOST_PUNCHES = 6
"""Punches that both sides together may begin without any patience in between: each spends a budget of flows."""


@dataclass(frozen=True)
class Goal:
    """Something that fair steps must lead to, from every reachable state where it applies."""

    name: str
    promise: str
    paces: frozenset[Pace]
    applies: Callable[[Pair, bool], bool]
    """Asked of the two sides, and of whether the direct path carries both ways."""
    holds: Callable[[Pair, bool], bool]


@dataclass(frozen=True)
class Violation:
    """A property that does not hold, and the place in the space where this shows."""

    name: str
    what: str
    at: int


def _has_server(pair: Pair, _whole: bool) -> bool:
    return pair.askers != NO_SERVER


def _reaches(side: Side) -> bool:
    return side.peer in ("connected", "relayed")


def _know_each_other(pair: Pair) -> bool:
    return pair.a.card == pair.b.card == Card.CURRENT


GOALS = (
    Goal(
        "reached again",
        "while both want each other and the server is up, both become connected or relayed",
        WANTING,
        _has_server,
        lambda pair, _: _reaches(pair.a) and _reaches(pair.b),
    ),
    Goal(
        "direct when possible",
        "while both want each other and the path carries both ways, both become connected",
        WANTING,
        lambda pair, whole: whole and _has_server(pair, whole),
        lambda pair, _: pair.a.peer == pair.b.peer == "connected",
    ),
    Goal(
        "direct without a server",
        "without a server, two who know each other and want each other become connected where the path carries",
        WANTING,
        lambda pair, whole: (
            whole
            and pair.askers == NO_SERVER
            and _know_each_other(pair)
            and "detecting" not in (pair.a.peer, pair.b.peer)
        ),
        lambda pair, _: pair.a.peer == pair.b.peer == "connected",
    ),
    Goal(
        "a way for data",
        "while the server is up, both come to have a way for data, wanted or not",
        PROGRAMS,
        _has_server,
        lambda pair, whole: all(
            side.has_relay or (side.peer == "connected" and whole and _know_each_other(pair))
            for side in (pair.a, pair.b)
        ),
    ),
    Goal(
        "an answer",
        "every request that was answered by `pending` gets its answer",
        PROGRAMS,
        lambda pair, _: pair.askers in (1, 2, 3),
        lambda pair, _: pair.askers in (0, NO_SERVER),
    ),
    Goal(
        "an end",
        "a punch ends, whatever becomes of it",
        PROGRAMS,
        lambda pair, _: _punching(pair) > 0,
        lambda pair, _: _punching(pair) == 0,
    ),
    Goal(
        "a dead path",
        "a direct path that does not carry both ways is left",
        PROGRAMS,
        lambda pair, whole: not whole and "connected" in (pair.a.peer, pair.b.peer),
        lambda pair, _: "connected" not in (pair.a.peer, pair.b.peer),
    ),
    Goal(
        "an announcement",
        "while the server is up, it comes to hold what both nodes would say of themselves now",
        PROGRAMS,
        _has_server,
        lambda pair, _: all(side.announcement == "acknowledged" and not side.is_dirty for side in (pair.a, pair.b)),
    ),
)
ALONE = "reached alone"
ALONE_PROMISE = "while the server is up, a side that wants its peer becomes connected or relayed, wanted by it or not"
PUNCHES = "punch budget"
DEADLOCK = "deadlock"


def check(space: Space) -> tuple[Violation | None, int]:
    """The first property that does not hold, and the most punches that began without any patience in between."""
    if space.fault:
        return Violation("never", space.fault, space.at), 0
    goals = [goal for goal in GOALS if space.model.rules.is_direct_allowed or not goal.name.startswith("direct")]
    for paces in (PROGRAMS, WANTING):
        backward = Backward(space, paces)
        for goal in goals:
            if goal.paces == paces and (found := _missed(space, backward, goal)) is not None:
                return found, 0
        del backward
    if (alone := _missed_alone(space)) is not None:
        return alone, 0
    punching = [_punching(pair) for pair in space.model.pairs]
    states = space.states

    def begun(source: int, target: int) -> int:
        return max(0, punching[states[target] // SIZE] - punching[states[source] // SIZE])

    most, at = Backward(space, AT_ONCE).most(begun, MOST_PUNCHES)
    if most > MOST_PUNCHES:
        return Violation(PUNCHES, f"more than {MOST_PUNCHES} punches begin without any patience between", at), most
    return None, most


def _punching(pair: Pair) -> int:
    return (pair.a.peer == "punching") + (pair.b.peer == "punching")


def _missed(space: Space, backward: Backward, goal: Goal) -> Violation | None:
    pairs, states = space.model.pairs, space.states
    holds = [(goal.holds(pair, False), goal.holds(pair, True)) for pair in pairs]
    goals = [at for at, state in enumerate(states) if holds[state // SIZE][state & BOTH_WAYS == BOTH_WAYS]]
    reached = backward.leading_to(goals)
    applies = [(goal.applies(pair, False), goal.applies(pair, True)) for pair in pairs]
    missed = [
        at
        for at, state in enumerate(states)
        if not reached[at] and applies[state // SIZE][state & BOTH_WAYS == BOTH_WAYS]
    ]
    if not missed:
        return None
    dead = next((at for at in missed if backward.is_dead_end(at)), -1)
    if dead >= 0:
        return Violation(DEADLOCK, f"nothing moves any more, and yet it was promised: {goal.promise}", dead)
    return Violation(goal.name, f"it does not come, however long one waits: {goal.promise}", missed[0])


def _missed_alone(space: Space) -> Violation | None:
    pairs, states = space.model.pairs, space.states
    goals = [
        2 * at + who for at, state in enumerate(states) for who in (0, 1) if _reaches(pairs[state // SIZE].side(who))
    ]
    reached = OneWants(space).leading_to(goals)
    for at, state in enumerate(states):
        if _has_server(pairs[state // SIZE], False) and not (reached[2 * at] and reached[2 * at + 1]):
            return Violation(ALONE, f"it does not come, however long one waits: {ALONE_PROMISE}", at)
    return None
