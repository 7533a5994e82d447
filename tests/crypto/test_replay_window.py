from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnel.crypto.replay_window import WINDOW, ReplayWindow

STEPS = st.lists(st.one_of(st.integers(0, 60), st.integers(0, 2**64 - 1), st.integers(2**64 - 30, 2**64 - 1)))


def fresh_in(seen: set[int], size: int, counter: int) -> bool:
    """The same question, put to a plain set of all counters ever seen."""
    return counter not in seen and counter > max(seen, default=-1) - size


@given(st.integers(1, 20), STEPS)
def test_the_window_says_what_a_set_of_all_counters_says(size: int, counters: list[int]) -> None:
    window, seen = ReplayWindow(size), set[int]()
    for counter in counters:
        for asked in (counter, max(counter - 1, 0), max(counter - size, 0), counter + 1, counter + size):
            assert window.is_fresh(asked) == fresh_in(seen, size, asked)
        if window.is_fresh(counter):
            window.mark(counter)
            seen.add(counter)


@given(st.integers(1, 20), st.lists(st.integers(-25, 25), max_size=200))
def test_the_window_and_the_set_agree_along_a_jittering_stream(size: int, jumps: list[int]) -> None:
    window, seen, position = ReplayWindow(size), set[int](), 0
    for jump in jumps:
        position = max(0, position + jump)
        assert window.is_fresh(position) == fresh_in(seen, size, position)
        if window.is_fresh(position):
            window.mark(position)
            seen.add(position)


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
