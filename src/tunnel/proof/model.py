"""The composition: pairs of sides with a path between them, as numbers, so that a million of them fit.

A state is `number of the pair * SIZE + path`. The two nodes run one program, so a state and its mirror image are one:
one pair of the two stands for both.
"""

from __future__ import annotations

from typing import NamedTuple

from tunnel.proof import node
from tunnel.proof.path import BOTH_WAYS, SIZE, View, kept, mirrored, shifts, view_of
from tunnel.proof.rules import Rules
from tunnel.proof.side import Pair, Seen
from tunnel.proof.steps import Deed, Pace, Step, Stepper

_MIRRORED = tuple(mirrored(path) for path in range(SIZE))
_BROKEN = tuple(path & BOTH_WAYS != BOTH_WAYS for path in range(SIZE))


class Arrow(NamedTuple):
    """One step out of a state. `target` -1: it must not be, and `fault` says why."""

    pace: int
    target: int
    is_mirrored: bool
    """In the target the nodes' names are exchanged."""
    deed: Deed
    fault: str


class _Move(NamedTuple):
    """One step of a pair, whatever the path."""

    pace: int
    pair: int
    is_mirrored: bool
    kept: int
    """Which bits of the path outlive it."""
    on_broken_path: bool
    deed: Deed
    fault: str


class Model:
    """`start`, then `arrows(state)` for each state that is met."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.pairs: list[Pair] = []
        self._views: list[tuple[View, View]] = []
        self._moves: list[tuple[list[_Move], bool] | None] = []
        self._proofs: dict[tuple[int, int], _Move] = {}
        self._numbers: dict[Pair, tuple[int, bool]] = {}
        self._stepper = Stepper(rules)
        self.start = self._number(Pair(node.begin(rules), node.begin(rules)))[0] * SIZE + BOTH_WAYS

    def arrows(self, state: int) -> list[Arrow]:
        """Every step out of this state."""
        pair, path = divmod(state, SIZE)
        known = self._moves[pair]
        if known is None:
            steps, is_urgent = self._stepper.steps(self.pairs[pair])
            known = self._moves[pair] = [self._move(step) for step in steps], is_urgent
        moves, is_urgent = known
        is_whole = not _BROKEN[path]
        found = []
        for pace, target, is_mirrored, keeps, on_broken_path, deed, fault in moves:
            if on_broken_path and is_whole:
                continue
            after = _MIRRORED[path & keeps] if is_mirrored else path & keeps
            found.append(Arrow(pace, -1 if fault else target * SIZE + after, is_mirrored, deed, fault))
        if is_urgent or not self.rules.is_direct_allowed:
            return found
        first = pair * SIZE
        for pace, deed, shifted, proves in shifts(path, *self._views[pair], self.rules.world.is_path_changing):
            if proves < 0:
                found.append(Arrow(pace, first + shifted, False, deed, ""))
                continue
            _, target, is_mirrored, keeps, _, _, fault = self._proof(pair, proves)
            after = _MIRRORED[shifted & keeps] if is_mirrored else shifted & keeps
            found.append(Arrow(pace, -1 if fault else target * SIZE + after, is_mirrored, deed, fault))
        return found

    def pair_of(self, state: int) -> Pair:
        """The two sides of a state."""
        return self.pairs[state // SIZE]

    def _number(self, pair: Pair) -> tuple[int, bool]:
        """The number of a pair, and whether it stands for the mirror image of this one."""
        found = self._numbers.get(pair)
        if found is None:
            number = len(self.pairs)
            self._numbers[pair.swapped] = number, True
            found = self._numbers[pair] = number, False
            self.pairs.append(pair)
            self._moves.append(None)
            self._views.append(self._views_of(pair))
        return found

    def _views_of(self, pair: Pair) -> tuple[View, View]:
        allowed = self.rules.is_direct_allowed
        return view_of(pair.a, is_direct_allowed=allowed), view_of(pair.b, is_direct_allowed=allowed)

    def _move(self, step: Step) -> _Move:
        if step.pair is None:
            return _Move(step.pace, -1, False, 0, step.on_broken_path, step.deed, step.fault)
        fault = fault_of(step.pair)
        number, is_mirrored = self._number(step.pair)
        keeps = BOTH_WAYS if step.forgets_probes else kept(*self._views_of(step.pair))
        return _Move(step.pace, number, is_mirrored, keeps, step.on_broken_path, step.deed, fault)

    def _proof(self, pair: int, who: int) -> _Move:
        """A side learns that the path is proved."""
        known = self._proofs.get((pair, who))
        if known is None:
            sides = self.pairs[pair]
            proved = sides.changed(who, sides.side(who)._replace(is_proven=True), sides.side(1 - who), sides.askers)
            known = self._proofs[pair, who] = self._move(Step(Pace.PROMPT, Deed("", "", ""), proved))
        return known


def fault_of(pair: Pair) -> str:
    """What is wrong with this pair as it stands; empty where nothing is."""
    for side in (pair.a, pair.b):
        if side.peer == "connected" and not side.is_proven:
            return "connected although the proof of the path is void"
        if side.announcement == "acknowledged" and not (side.is_linked and side.seen == Seen.ANNOUNCED):
            return "acknowledged although the server holds no announcement"
    return ""
