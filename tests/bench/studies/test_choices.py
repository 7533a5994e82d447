from __future__ import annotations

import random
from collections import Counter

import pytest
from bench.studies.choices import Chooser, Dice, evenly, every_draw, whether


def draw(choose: Chooser) -> str:
    if choose.pick(*whether(0.25)):
        return "left " + choose.pick(*evenly(["a", "b", "c"])) + choose.vary(*evenly(["", "!"]))
    return "right"


def test_all_ways_come_once_with_their_probability() -> None:
    shares = {value: share for share, value in every_draw(draw)}
    assert shares == pytest.approx({"left a": 1 / 12, "left b": 1 / 12, "left c": 1 / 12, "right": 0.75})


def test_what_cannot_happen_is_not_drawn() -> None:
    assert list(every_draw(lambda choose: choose.pick(*whether(0.0)))) == [(1.0, False)]
    dice = Dice(random.Random(1))
    assert not any(dice.pick(*whether(0.0)) for _ in range(200))


def test_dice_fall_by_the_weights() -> None:
    dice = Dice(random.Random(4))
    seen = Counter(draw(dice).rstrip("!") for _ in range(6000))
    for share, value in every_draw(draw):
        assert seen[value] / 6000 == pytest.approx(share, abs=0.02)


def test_the_same_chance_falls_the_same() -> None:
    first, second = ([draw(dice) for _ in range(50)] for dice in (Dice(random.Random(3)), Dice(random.Random(3))))
    assert first == second


def test_rounding_never_takes_what_cannot_be() -> None:
    class Late(random.Random):
        def random(self) -> float:
            return 1.0 - 2**-53

    assert Dice(Late()).pick(("a", 0.1), ("b", 0.9 - 1e-12), ("c", 0.0)) == "b"
