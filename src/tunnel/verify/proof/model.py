"""The composition: pairs of sides with a path between them, as numbers, so that a million of them fit into memory.

A state is `number of the pair * SIZE + path`. The two nodes run the same program, so a state and its mirror image count
as one.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from tunnel.verify.proof import node
from tunnel.verify.proof.path import BOTH_WAYS, SIZE, View, kept, mirrored, shifts, view_of
from tunnel.verify.proof.rules import Rules
from tunnel.verify.proof.side import Pair, Seen
from tunnel.verify.proof.steps import Action, Pace, Step, Stepper

MIRRORING = 8
"""Added to the pace of a step after which the nodes' names are exchanged."""


class Arrow(NamedTuple):
    """One step out of a state, as a reader sees it."""

    action: Action
    target: int
    """-1: the step is forbidden, and `fault` says why."""
    is_mirrored: bool
    """Whether the nodes' names are exchanged in the target."""
    fault: str


class _Move(NamedTuple):
    """One step of a pair, for every path."""

    kind: int
    """The pace, and `MIRRORING`."""
    first: int
    """The state without its path; below 0 where the step is forbidden."""
    paths: bytes
    """What becomes of each path."""
    on_broken_path: bool
    action: Action
    fault: str


class Model:
    """`start`, then `successors(state)` for each state that is met."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.pairs: list[Pair] = []
        self._views: list[tuple[View, View]] = []
        self._moves: list[tuple[list[_Move], bool] | None] = []
        self._proofs: dict[tuple[int, int], _Move] = {}
        self._numbers: dict[Pair, tuple[int, bool]] = {}
        self._stepper = Stepper(rules)
        first, _ = self._number(Pair(node.begin(rules), node.begin(rules)))
        self.start = first * SIZE + (BOTH_WAYS if rules.fault_model.has_path else 0)

    def successors(self, state: int) -> list[tuple[int, int]]:
        """Every step out of this state: its pace, with `MIRRORING`, and its target; -1 where it is forbidden."""
        pair, path = divmod(state, SIZE)
        moves, is_urgent = self._moves[pair] or self._moves_of(pair)
        is_whole = path & BOTH_WAYS == BOTH_WAYS
        found = [
            (move[0], move[1] + move[2][path] if move[1] >= 0 else -1) for move in moves if not (is_whole and move[3])
        ]
        if not is_urgent and self.rules.is_direct_allowed:
            first = state - path
            for pace, _, shifted, proves in shifts(path, *self._views[pair], self.rules.fault_model.is_path_changing):
                if proves < 0:
                    found.append((pace, first + shifted))
                else:
                    move = self._proof(pair, proves)
                    found.append(
                        (pace + (move.kind & MIRRORING), move.first + move.paths[shifted] if move.first >= 0 else -1)
                    )
        return found

    def arrows(self, state: int) -> list[Arrow]:
        """The same steps as a reader sees them, in the same order."""
        pair, path = divmod(state, SIZE)
        moves, is_urgent = self._moves[pair] or self._moves_of(pair)
        shown = [
            (move.action, move.fault) for move in moves if not (path & BOTH_WAYS == BOTH_WAYS and move.on_broken_path)
        ]
        if not is_urgent and self.rules.is_direct_allowed:
            shown += [
                (shift.action, self._proof(pair, shift.proves).fault if shift.proves >= 0 else "")
                for shift in shifts(path, *self._views[pair], self.rules.fault_model.is_path_changing)
            ]
        return [
            Arrow(action, target, bool(kind & MIRRORING), fault)
            for (kind, target), (action, fault) in zip(self.successors(state), shown, strict=True)
        ]

    def fault(self, state: int) -> str:
        """Why a step out of this state is forbidden; empty where none is."""
        return next((arrow.fault for arrow in self.arrows(state) if arrow.fault), "")

    def _number(self, pair: Pair) -> tuple[int, bool]:
        """The number that stands for a pair, and whether it is that of its mirror image."""
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

    def _moves_of(self, pair: int) -> tuple[list[_Move], bool]:
        steps, is_urgent = self._stepper.steps(self.pairs[pair])
        known = self._moves[pair] = [self._move(step) for step in steps], is_urgent
        return known

    def _move(self, step: Step) -> _Move:
        fault = step.fault if step.pair is None else fault_of(step.pair)
        if step.pair is None or fault:
            return _Move(step.pace, -1, b"", step.on_broken_path, step.action, fault)
        number, is_mirrored = self._number(step.pair)
        keeps = BOTH_WAYS if step.forgets_probes else kept(*self._views_of(step.pair))
        kind = step.pace + MIRRORING if is_mirrored else step.pace
        return _Move(kind, number * SIZE, _kept_paths(keeps, is_mirrored), step.on_broken_path, step.action, "")

    def _proof(self, pair: int, who: int) -> _Move:
        """A side learns that the path is proved."""
        known = self._proofs.get((pair, who))
        if known is None:
            sides = self.pairs[pair]
            side, other = sides.side(who)._replace(is_proved=True), sides.side(1 - who)
            proved = sides.changed(who, side, other, sides.askers)
            known = self._proofs[pair, who] = self._move(Step(Pace.PROMPT, Action("", "", ""), proved))
        return known


@cache
def _kept_paths(keeps: int, is_mirrored: bool) -> bytes:
    return bytes(mirrored(path & keeps) if is_mirrored else path & keeps for path in range(SIZE))


def fault_of(pair: Pair) -> str:
    """What is wrong with this pair as it stands; empty where nothing is."""
    for side in (pair.a, pair.b):
        if side.peer == "connected" and not side.is_proved:
            return "connected although the proof of the path is void"
        if side.announcement == "acknowledged" and not (side.is_linked and side.seen == Seen.ANNOUNCED):
            return "acknowledged although the server holds no announcement"
    return ""
