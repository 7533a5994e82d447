"""The direct path between the two nodes: in which directions it carries, and the probes in flight on it.

It is a number of six bits: A to B carries, B to A carries, A's probe, its answer, B's probe, its answer. Probes travel
over UDP: each may be lost, arrive twice, and overtake another.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from tunnel.verify.proof.side import Card, Side
from tunnel.verify.proof.steps import NODES, Action, Pace

A_TO_B, B_TO_A = 1, 2
BOTH_WAYS = A_TO_B | B_TO_A
SIZE = 64
_MINE = (0b001100, 0b110000)
"""The probe of each side, and its answer."""


class View(NamedTuple):
    """What matters of one side to probes."""

    asks: bool
    """It sends probes."""
    opens: bool
    """It has the keys of the peer's process, so it opens what arrives and answers it."""
    hopes: bool
    """An answer would prove the path to it."""
    asks_back: bool
    """A probe makes it send one too."""
    is_open: bool
    """It sends, so its NAT lets the peer in."""


class Shift(NamedTuple):
    """One step of the path."""

    pace: Pace
    action: Action
    path: int
    proves: int
    """The side to which it proves the path; -1: none."""


@cache
def view_of(side: Side, *, is_direct_allowed: bool) -> View:
    """What matters of this side to probes."""
    opens = side.card == Card.CURRENT
    return View(
        asks=side.peer == "punching" and opens,
        opens=opens and is_direct_allowed,
        hopes=side.peer in ("punching", "relayed"),
        asks_back=side.peer == "relayed",
        is_open=side.peer in ("punching", "connected"),
    )


@cache
def kept(a: View, b: View) -> int:
    """The bits of a path that still have a meaning: a side that would learn nothing has no probes in flight."""
    return BOTH_WAYS | (_MINE[0] if a.hopes else 0) | (_MINE[1] if b.hopes else 0)


def mirrored(path: int) -> int:
    """The same path with the two nodes' names exchanged."""
    return (path & 1) << 1 | (path & 2) >> 1 | (path & _MINE[0]) << 2 | (path & _MINE[1]) >> 2


@cache
def shifts(path: int, a: View, b: View, is_changing: bool) -> tuple[Shift, ...]:
    """Every step of the path between these two sides."""
    found: list[Shift] = []
    for who, mine, theirs in ((0, a, b), (1, b, a)):
        asked = 4 << 2 * who
        answered, asked_back = asked << 1, 4 << 2 * (1 - who)
        there, back = (A_TO_B, B_TO_A) if who == 0 else (B_TO_A, A_TO_B)
        question, answer = (
            Action(NODES[who], NODES[1 - who], "probe"),
            Action(NODES[1 - who], NODES[who], "probe answer"),
        )
        if mine.asks and not path & asked:
            found.append(Shift(Pace.PROMPT, Action(NODES[who], "", "sends a probe"), path | asked, -1))
        if path & asked:
            found.append(Shift(Pace.FAULT, question._replace(is_lost=True), path & ~asked, -1))
            if path & there and theirs.opens:
                after = path | answered | (asked_back if theirs.asks_back else 0)
                found.append(Shift(Pace.PROMPT if theirs.is_open else Pace.PERHAPS, question, after & ~asked, -1))
                found.append(Shift(Pace.FAULT, question._replace(text="probe, to come twice"), after, -1))
        if path & answered:
            found.append(Shift(Pace.FAULT, answer._replace(is_lost=True), path & ~answered, -1))
            if path & back and mine.opens:
                proves = who if mine.hopes else -1
                found.append(Shift(Pace.PROMPT if mine.is_open else Pace.PERHAPS, answer, path & ~answered, proves))
    for bit, who in ((A_TO_B, 0), (B_TO_A, 1)) if is_changing else ():
        text = f"the path to {NODES[1 - who]} {'dies' if path & bit else 'opens'}"
        found.append(Shift(Pace.FAULT, Action(NODES[who], "", text), path ^ bit, -1))
    return tuple(found)
