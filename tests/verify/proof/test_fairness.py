"""Which goals a fair run reaches, on graphs small enough to see it."""

from __future__ import annotations

from array import array

import pytest

from tunnel.verify.proof.explorer import Space
from tunnel.verify.proof.fairness import Backward, OneWants
from tunnel.verify.proof.model import MIRRORING, Model
from tunnel.verify.proof.rules import Rules
from tunnel.verify.proof.steps import Pace

FAIR = frozenset({Pace.PROMPT, Pace.SLOW})


def space_of(quiet: Rules, count: int, *steps: tuple[int, int, int]) -> Space:
    """Places 0 to count - 1, with these steps (source, target, pace)."""
    sources, targets, paces = zip(*steps, strict=True)
    return Space(
        Model(quiet), list(range(count)), array("i"), array("i", sources), array("i", targets), bytearray(paces)
    )


def test_a_goal_behind_a_choice_is_reached(quiet: Rules) -> None:
    """0 and 1 go round, but 1 may leave for 2: a fair run does so some day."""
    space = space_of(quiet, 3, (0, 1, Pace.PROMPT), (1, 0, Pace.PROMPT), (1, 2, Pace.SLOW))
    assert list(Backward(space, FAIR).leading_to([2])) == [1, 1, 1]


def test_a_cycle_without_a_way_out_is_not(quiet: Rules) -> None:
    space = space_of(quiet, 4, (0, 1, Pace.PROMPT), (1, 0, Pace.PROMPT), (3, 2, Pace.PROMPT), (3, 0, Pace.PROMPT))
    assert list(Backward(space, FAIR).leading_to([2])) == [0, 0, 1, 1]


def test_nobody_counts_on_luck(quiet: Rules) -> None:
    space = space_of(quiet, 2, (0, 1, Pace.PERHAPS))
    assert list(Backward(space, FAIR).leading_to([1])) == [0, 1]
    assert list(Backward(space, FAIR | {Pace.PERHAPS}).leading_to([1])) == [1, 1]


def test_a_dead_end_is_told_from_a_cycle(quiet: Rules) -> None:
    space = space_of(quiet, 3, (0, 1, Pace.PROMPT), (1, 1, Pace.SLOW), (2, 0, Pace.PROMPT))
    backward = Backward(space, FAIR)
    assert [backward.is_dead_end(place) for place in range(3)] == [False, True, False]


@pytest.mark.parametrize(("bound", "most"), [(5, 2), (1, 2)])
def test_the_greatest_sum_along_a_way_is_found(quiet: Rules, bound: int, most: int) -> None:
    """Two of the steps to an odd place count; above the bound nothing more is looked at."""
    space = space_of(quiet, 4, (0, 1, Pace.PROMPT), (1, 2, Pace.PROMPT), (2, 3, Pace.PROMPT), (0, 2, Pace.PROMPT))
    found, at = Backward(space, FAIR).most(lambda source, target: target % 2, bound)
    assert (found, at) == (most, 0)


def test_a_sum_without_end_is_noticed(quiet: Rules) -> None:
    space = space_of(quiet, 2, (0, 1, Pace.PROMPT), (1, 0, Pace.PROMPT))
    assert Backward(space, FAIR).most(lambda source, target: target % 2, 6)[0] == 7


def test_one_side_is_followed_when_names_are_exchanged(quiet: Rules) -> None:
    """Only A wants: its step leads to a place where it is called B, and there it is the one that wants."""
    steps = ((0, 1, Pace.WANTED_A | MIRRORING), (1, 2, Pace.WANTED_B))
    reached = OneWants(space_of(quiet, 3, *steps)).leading_to([2 * 2 + 1])
    assert [bool(reached[2 * place]) for place in range(3)] == [True, False, False]
    assert [bool(reached[2 * place + 1]) for place in range(3)] == [False, True, True]
