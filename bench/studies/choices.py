"""A draw at random, or in all possible ways: the caller asks a chooser and does not know which.

`pick` is for choices that matter, `vary` for the others: a draw in all ways takes the first option of those.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

_Value = TypeVar("_Value")


class Chooser(Protocol):
    """Takes one of several."""

    def pick(self, *options: tuple[_Value, float]) -> _Value:
        """Choose one of the values by their weights, which add up to 1."""
        ...

    def vary(self, *options: tuple[_Value, float]) -> _Value:
        """The same, for choices that do not matter."""
        ...


def evenly(values: Sequence[_Value]) -> tuple[tuple[_Value, float], ...]:
    """Options that are equally likely."""
    return tuple((value, 1.0 / len(values)) for value in values)


def whether(share: float) -> tuple[tuple[bool, float], ...]:
    """The options of something that is true in this share of all cases."""
    return (True, share), (False, 1.0 - share)


class Dice:
    """Chooses at random."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    def pick(self, *options: tuple[_Value, float]) -> _Value:
        """Choose one of the values by their weights."""
        mark = self._chance.random()
        for value, weight in options:
            mark -= weight
            if mark < 0.0:
                return value
        return [value for value, weight in options if weight > 0.0][-1]  # rounding

    def vary(self, *options: tuple[_Value, float]) -> _Value:
        """Choose one of the values by their weights."""
        return self.pick(*options)


def every_draw(draw: Callable[[Chooser], _Value]) -> Iterator[tuple[float, _Value]]:
    """Each possible result of a draw with its probability; they add up to 1. For `vary` the first option is taken.

    `draw` is called once for each, and must ask the same questions when it gets the same answers.
    """
    turns: list[int] | None = []
    while turns is not None:
        replay = _Replay(turns)
        value = draw(replay)
        yield math.prod(replay.weights), value
        turns = replay.next_turns()


class _Replay:
    """Takes the given turns, then always the first possible one."""

    def __init__(self, turns: Sequence[int]) -> None:
        self._turns = turns
        self._taken: list[tuple[int, int]] = []
        """For each pick: the index, and the number of options."""
        self.weights: list[float] = []

    def pick(self, *options: tuple[_Value, float]) -> _Value:
        possible = [(value, weight) for value, weight in options if weight > 0.0]
        place = len(self._taken)
        turn = self._turns[place] if place < len(self._turns) else 0
        self._taken.append((turn, len(possible)))
        value, weight = possible[turn]
        self.weights.append(weight)
        return value

    def vary(self, *options: tuple[_Value, float]) -> _Value:
        return options[0][0]

    def next_turns(self) -> list[int] | None:
        """The turns of the next draw; None after the last."""
        for place in range(len(self._taken) - 1, -1, -1):
            turn, possible = self._taken[place]
            if turn + 1 < possible:
                return [taken for taken, _ in self._taken[:place]] + [turn + 1]
        return None
