"""What must happen when faults have ended: channels deliver, activities return, patience ends.

Fair means: a step that is possible again and again is taken. Then a run ends up among states that it cannot leave, and
visits all of them for ever. So a goal is reached, whatever the order of the steps, exactly if it can be reached from
every state. This finds deadlocks and fair cycles that avoid the goal alike.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable

from tunnel.verify.proof.explorer import PACE_BITS, Space
from tunnel.verify.proof.model import MIRRORING
from tunnel.verify.proof.steps import Pace


class Graph:
    """Places by number, and for each of them those from which one step leads there."""

    def __init__(self, count: int) -> None:
        self.before: list[list[int]] = [[] for _ in range(count)]

    def leading_to(self, goals: Iterable[int]) -> bytearray:
        """For each place: 1 if one of these places can be reached from it."""
        before = self.before
        reached = bytearray(len(before))
        waiting = list(goals)
        for place in waiting:
            reached[place] = 1
        while waiting:
            for source in before[waiting.pop()]:
                if not reached[source]:
                    reached[source] = 1
                    waiting.append(source)
        return reached


class Backward(Graph):
    """The steps of some paces, backwards."""

    def __init__(self, space: Space, paces: Container[int]) -> None:
        super().__init__(len(space.states))
        counted = [kind & PACE_BITS in paces for kind in range(2 * MIRRORING)]
        before, leaves = self.before, bytearray(len(space.states))
        for source, target, kind in zip(space.sources, space.targets, space.paces, strict=True):
            if counted[kind]:
                before[target].append(source)
                if source != target:
                    leaves[source] = 1
        self._leaves = leaves

    def is_dead_end(self, place: int) -> bool:
        """Whether no step leads from here to another place."""
        return not self._leaves[place]

    def most(self, count: Callable[[int, int], int], bound: int) -> tuple[int, int]:
        """The greatest sum of `count(source, target)` along these steps, and the place where it begins.

        Stops at the first sum above `bound`: there may be no greatest one.
        """
        before = self.before
        sums = bytearray(len(before))
        waiting = list(range(len(before)))
        while waiting:
            place = waiting.pop()
            here = sums[place]
            for source in before[place]:
                if here < sums[source]:
                    continue
                found = here + count(source, place)
                if found > sums[source]:
                    if found > bound:
                        return found, source
                    sums[source] = found
                    waiting.append(source)
        best = max(sums)
        return best, sums.index(best)


class OneWants(Graph):
    """The steps of the programs where one side alone wants the peer, backwards.

    An entry is `2 * place + who`, with 0 for A. Where a step exchanges the nodes' names the side is followed.
    """

    def __init__(self, space: Space) -> None:
        super().__init__(2 * len(space.states))
        counted = [
            [kind & PACE_BITS in (Pace.PROMPT, Pace.SLOW, *own) for kind in range(2 * MIRRORING)]
            for own in ((Pace.WANTED_A, Pace.BLIND_A), (Pace.WANTED_B, Pace.BLIND_B))
        ]
        before = self.before
        for source, target, kind in zip(space.sources, space.targets, space.paces, strict=True):
            exchanged = kind >= MIRRORING
            if counted[0][kind]:
                before[2 * target + exchanged].append(2 * source)
            if counted[1][kind]:
                before[2 * target + 1 - exchanged].append(2 * source + 1)
