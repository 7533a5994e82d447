"""What comes to pass when the world leaves the programs alone: channels deliver, activities act, patience ends.

Fair means: a step that is possible again and again is taken. Then a run ends up in states from which it cannot leave,
and visits all of them for ever; so a goal is reached, whatever the order of the steps, exactly if it can be reached
from every state. That excludes deadlocks and fair cycles that avoid the goal at one blow.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Container, Sequence

from tunnel.proof.explorer import Space
from tunnel.proof.steps import Pace

PACE_BITS = 7
MIRRORED = 8


class Backward:
    """The steps of a space that somebody can be counted on to take, seen from where they lead."""

    def __init__(self, space: Space) -> None:
        count = len(space.states)
        self._space = space
        self._first = array("i", bytes(4 * (count + 1)))
        first = self._first
        for target in space.targets:
            first[target] += 1
        total = 0
        for place in range(count):
            total += first[place]
            first[place] = total
        first[count] = total
        self._order = array("i", bytes(4 * total))
        order = self._order
        for step in range(total):
            target = space.targets[step]
            first[target] -= 1
            order[first[target]] = step

    def reaching(self, goals: Sequence[int], paces: Container[int]) -> bytearray:
        """For each place 1 if a goal can be reached from it by steps of these paces."""
        first, order, sources, kinds = self._first, self._order, self._space.sources, self._space.paces
        counted = [(kind & PACE_BITS) in paces for kind in range(16)]
        reached = bytearray(len(self._space.states))
        for place in goals:
            reached[place] = 1
        waiting = list(goals)
        while waiting:
            place = waiting.pop()
            for at in range(first[place], first[place + 1]):
                step = order[at]
                source = sources[step]
                if not reached[source] and counted[kinds[step]]:
                    reached[source] = 1
                    waiting.append(source)
        return reached

    def is_dead_end(self, place: int, paces: Container[int]) -> bool:
        """Whether no step of these paces leads from here to another place."""
        space = self._space
        return not any(
            source == place and space.targets[step] != place and space.paces[step] & PACE_BITS in paces
            for step, source in enumerate(space.sources)
        )

    def reaching_one(self, goals: Sequence[tuple[int, int]]) -> bytearray:
        """The same for one side alone, A for 0, where nobody but this side wants the peer.

        Entry `2 * place + who`; where a step exchanges the nodes' names the side is followed.
        """
        first, order, sources, kinds = self._first, self._order, self._space.sources, self._space.paces
        everybody = (Pace.PROMPT, Pace.SLOW)
        counted = [
            [kind & PACE_BITS in (*everybody, *own) for kind in range(16)]
            for own in ((Pace.WANTED_A, Pace.BLIND_A), (Pace.WANTED_B, Pace.BLIND_B))
        ]
        reached = bytearray(2 * len(self._space.states))
        waiting = [2 * place + who for place, who in goals]
        for entry in waiting:
            reached[entry] = 1
        while waiting:
            place, who = divmod(waiting.pop(), 2)
            for at in range(first[place], first[place + 1]):
                step = order[at]
                kind = kinds[step]
                before = 1 - who if kind & MIRRORED else who
                entry = 2 * sources[step] + before
                if not reached[entry] and counted[before][kind]:
                    reached[entry] = 1
                    waiting.append(entry)
        return reached

    def most(self, count: Callable[[int, int], int], paces: Container[int], bound: int) -> tuple[int, int]:
        """The greatest sum of `count(source, target)` along steps of these paces, and where it begins.

        Stops at the first sum above `bound`: then there may be no greatest.
        """
        first, order, sources, kinds = self._first, self._order, self._space.sources, self._space.paces
        counted = [(kind & PACE_BITS) in paces for kind in range(16)]
        sums = bytearray(len(self._space.states))
        waiting = list(range(len(sums)))
        while waiting:
            place = waiting.pop()
            for at in range(first[place], first[place + 1]):
                step = order[at]
                source = sources[step]
                if not counted[kinds[step]]:
                    continue
                found = sums[place] + count(source, place)
                if found > sums[source]:
                    if found > bound:
                        return found, source
                    sums[source] = found
                    waiting.append(source)
        best = max(sums)
        return best, sums.index(best)
