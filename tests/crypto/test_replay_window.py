from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnel.crypto.replay_window import WINDOW, ReplayWindow

COUNTERS = st.integers(0, 60) | st.integers(0, 2**64 - 1) | st.integers(2**64 - 30, 2**64 - 1)


class Model:
    """The same window as a plain set of all counters ever seen."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.seen: set[int] = set()

    @property
    def highest(self) -> int:
        return max(self.seen, default=-1)

    def is_fresh(self, counter: int) -> bool:
        return counter not in self.seen and counter > self.highest - self.size


def play(size: int, counters: list[int]) -> None:
    """Bring the counters to both, and ask both about every counter around the window's edges after each."""
    window, model = ReplayWindow(size), Model(size)
    for counter in counters:
        assert window.is_fresh(counter) == model.is_fresh(counter)
        if window.is_fresh(counter):
            window.mark(counter)
            model.seen.add(counter)
        for near in range(max(0, model.highest - 2 * size), model.highest + size + 2):
            assert window.is_fresh(near) == model.is_fresh(near)


@given(st.integers(1, 20), st.lists(COUNTERS, max_size=40))
def test_the_window_says_what_a_set_of_all_counters_says(size: int, counters: list[int]) -> None:
    play(size, counters)


@given(st.integers(1, 8), st.lists(st.integers(-4, 10), max_size=40))
def test_the_window_and_the_set_agree_along_a_jittering_stream(size: int, jumps: list[int]) -> None:
    play(size, [max(0, position) for position in itertools.accumulate(jumps)])


def test_a_counter_comes_once() -> None:
    window = ReplayWindow()
    assert window.is_fresh(0)
    window.mark(0)
    assert not window.is_fresh(0)


def test_asking_marks_nothing() -> None:
    """A forged packet is asked about and then found forged: the true one may still come."""
    window = ReplayWindow()
    assert window.is_fresh(2**64 - 1)
    assert window.is_fresh(0)


def test_the_window_is_8192_wide() -> None:
    window = ReplayWindow()
    window.mark(WINDOW)
    assert WINDOW == 8192
    assert window.is_fresh(1)
    assert not window.is_fresh(0)


def test_a_window_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        ReplayWindow(0)
