"""How many fragments a record may have follows the loss that the peer tells: down at once, up in seconds."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnel.dataplane.record_size import (
    FORGETTING,
    LEAST_COUNTED,
    LEAST_LOST,
    LOST_BUNDLES,
    LOST_SUPERPACKETS,
    RecordSize,
)
from tunnel.network.datagrams import MAX_SEGMENTS


def told(*losses: float, sent: int = 10_000, step: float = 0.5) -> RecordSize:
    """After tallies of so many datagrams each, with these losses."""
    size, counted, came = RecordSize(), 0, 0
    for number, loss in enumerate(losses):
        counted += sent
        came += sent - round(sent * loss)
        size.note(counted, came, number * step)
    return size


def test_as_long_as_nothing_is_lost_a_record_is_as_large_as_it_may_be() -> None:
    assert RecordSize().fragments == MAX_SEGMENTS
    assert told(0.0, 0.0, 0.0).fragments == MAX_SEGMENTS


@pytest.mark.parametrize(
    ("loss", "fragments", "bundled"),
    [(0.0001, 64, 64), (0.001, 40, 10), (0.0025, 16, 4), (0.005, 8, 2), (0.01, 4, 1), (0.05, 1, 1), (1.0, 1, 1)],
)
def test_of_records_only_a_small_share_is_lost_or_they_have_one_fragment(
    loss: float, fragments: int, bundled: int
) -> None:
    size = told(loss, sent=100_000)
    assert size.loss == pytest.approx(loss)
    assert (size.fragments, size.bundled) == (fragments, bundled)
    assert fragments == 1 or fragments * loss <= LOST_SUPERPACKETS
    assert bundled == 1 or bundled * loss <= LOST_BUNDLES


def test_a_higher_loss_counts_at_once_and_a_lower_one_later() -> None:
    assert told(0.001, 0.05).fragments == 1
    assert told(0.05, 0.001).fragments == 1
    assert told(0.05, 0.001).loss == pytest.approx(0.05 * FORGETTING**0.5)


def test_within_five_seconds_after_a_loss_of_five_percent_whole_superpackets_go_again() -> None:
    assert told(0.05, *[0.0] * 10).fragments >= 52, "61,440 bytes"
    sizes = [told(0.05, *[0.0] * count).fragments for count in range(12)]
    assert all(earlier <= later for earlier, later in pairwise(sizes))


def test_a_peer_that_hears_nothing_new_for_long_says_nothing_of_loss() -> None:
    size = told(0.05)
    size.note(10_000, 9_500, 100.0)
    assert size.loss < 1e-9
    assert size.fragments == MAX_SEGMENTS


@pytest.mark.parametrize("lost", range(1, LEAST_LOST))
def test_a_few_lost_datagrams_may_be_one_accident(lost: int) -> None:
    size = RecordSize()
    size.note(LEAST_COUNTED, LEAST_COUNTED - lost, 0.0)
    assert size.fragments == MAX_SEGMENTS
    size.note(2 * LEAST_COUNTED, 2 * LEAST_COUNTED - lost - LEAST_LOST, 0.1)
    assert size.fragments == 1


def test_few_datagrams_wait_for_more_but_not_longer_than_a_second() -> None:
    size = RecordSize()
    size.note(100, 100, 0.0)
    size.note(100 + LEAST_COUNTED - 1, 100, 0.9)
    assert size.fragments == MAX_SEGMENTS
    size.note(100 + LEAST_COUNTED - 1, 100, 1.0)
    assert size.fragments == 1


def test_a_peer_that_began_anew_is_measured_from_there() -> None:
    size = told(0.0)
    size.note(50, 40, 1.0)
    assert size.fragments == MAX_SEGMENTS
    size.note(150, 90, 1.5)
    assert size.fragments == 1


def test_another_path_has_no_known_loss() -> None:
    size = told(0.05)
    size.forget()
    assert (size.loss, size.fragments) == (0.0, MAX_SEGMENTS)


def test_a_loss_is_forgotten_however_often_nothing_new_is_told() -> None:
    """After a quarter of an hour of tallies what is left of a loss is too small a number to divide by."""
    size = told(0.05, *[0.0] * 2000, step=1.0)
    assert size.fragments == MAX_SEGMENTS


@given(st.lists(st.tuples(st.integers(0, 2**64), st.integers(0, 2**64), st.floats(0.0, 1e6)), max_size=30))
def test_whatever_a_peer_tells_a_record_has_one_to_sixty_four_fragments(said: list[tuple[int, int, float]]) -> None:
    """Also a count that falls, or more that came than were counted."""
    size, now = RecordSize(), 0.0
    for counted, came, pause in said:
        now += pause
        size.note(counted, came, now)
        assert 1 <= size.fragments <= MAX_SEGMENTS
        assert 0.0 <= size.loss <= 1.0


def test_while_the_link_alone_carries_records_are_whole_and_the_loss_of_the_path_is_kept_in_mind() -> None:
    """A trial of the link takes four seconds: after it whole records would be lost for two more."""
    size = told(0.05)
    size.pause(True)
    assert size.fragments == MAX_SEGMENTS, "the link loses none"
    for at in range(1, 6):
        size.note(10_000, 9_500, at * 1.0)
    size.pause(False)
    assert size.fragments == 1
    assert size.loss == pytest.approx(0.05)


def test_what_came_well_when_the_link_took_over_makes_no_loss_forgotten() -> None:
    """It is too little: the rest of a second, in which one datagram in a hundred may well not be missing."""
    size = told(0.05)
    size.pause(True)
    size.note(10_040, 9_540, 1.0)
    size.pause(False)
    assert size.fragments == 1
    assert size.loss == pytest.approx(0.05)


def test_what_was_under_way_when_the_link_took_over_still_counts() -> None:
    size = told(0.0)
    size.pause(True)
    size.note(11_000, 10_900, 1.0)
    assert size.fragments == MAX_SEGMENTS
    assert size.loss == pytest.approx(0.1)
