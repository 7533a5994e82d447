"""Probes on the direct path: lost, repeated, overtaken, and what they prove."""

from __future__ import annotations

import pytest

from tunnel.verify.proof.path import A_TO_B, B_TO_A, BOTH_WAYS, SIZE, View, kept, mirrored, shifts, view_of
from tunnel.verify.proof.side import Card, Side
from tunnel.verify.proof.steps import Pace

ASKS_A, ANSWERS_A, ASKS_B = 4, 8, 16
PUNCHING = view_of(Side("punching", "acknowledged", card=Card.CURRENT), is_direct_allowed=True)
RELAYED = view_of(Side("relayed", "acknowledged", card=Card.CURRENT), is_direct_allowed=True)
IDLE = view_of(Side("announced", "acknowledged", card=Card.CURRENT), is_direct_allowed=True)
STRANGER = view_of(Side("announced", "acknowledged", card=Card.OLD), is_direct_allowed=True)


def outcomes(path: int, a: View, b: View, *texts: str) -> list[tuple[Pace, int, int]]:
    return [
        (shift.pace, shift.path, shift.proves)
        for shift in shifts(path, a, b, False)
        if shift.action.text in texts and not shift.action.is_lost
    ]


def test_a_path_is_proved_by_an_answer_to_our_own_question() -> None:
    """Question there, answer back: only then, and only for who asked."""
    assert outcomes(BOTH_WAYS, PUNCHING, IDLE, "sends a probe") == [(Pace.PROMPT, BOTH_WAYS | ASKS_A, -1)]
    assert outcomes(BOTH_WAYS | ASKS_A, PUNCHING, PUNCHING, "probe") == [(Pace.PROMPT, BOTH_WAYS | ANSWERS_A, -1)]
    assert outcomes(BOTH_WAYS | ANSWERS_A, PUNCHING, PUNCHING, "probe answer") == [(Pace.PROMPT, BOTH_WAYS, 0)]


def test_nobody_counts_on_a_probe_to_a_side_that_does_not_send() -> None:
    """Its NAT may let it in, or not."""
    assert outcomes(BOTH_WAYS | ASKS_A, PUNCHING, IDLE, "probe") == [(Pace.PERHAPS, BOTH_WAYS | ANSWERS_A, -1)]


def test_a_relayed_side_asks_back() -> None:
    assert outcomes(BOTH_WAYS | ASKS_A, PUNCHING, RELAYED, "probe") == [
        (Pace.PERHAPS, BOTH_WAYS | ANSWERS_A | ASKS_B, -1)
    ]


@pytest.mark.parametrize(("path", "there"), [(A_TO_B, True), (B_TO_A, False), (0, False), (BOTH_WAYS, True)])
def test_a_direction_that_does_not_carry_delivers_nothing(path: int, there: bool) -> None:
    assert bool(outcomes(path | ASKS_A, PUNCHING, PUNCHING, "probe")) is there
    back = {B_TO_A: True, BOTH_WAYS: True}.get(path, False)
    assert bool(outcomes(path | ANSWERS_A, PUNCHING, PUNCHING, "probe answer")) is back


def test_what_an_ended_process_sealed_opens_nowhere() -> None:
    """A side that knows an older process of the peer has other keys."""
    assert outcomes(BOTH_WAYS | ASKS_A, PUNCHING, STRANGER, "probe") == []


def test_each_probe_may_be_lost_and_come_twice() -> None:
    found = shifts(BOTH_WAYS | ASKS_A | ANSWERS_A, PUNCHING, PUNCHING, False)
    lost = {shift.path for shift in found if shift.action.is_lost}
    assert lost == {BOTH_WAYS | ANSWERS_A, BOTH_WAYS | ASKS_A}
    assert all(shift.pace is Pace.FAULT for shift in found if shift.action.is_lost)
    assert [shift.path for shift in found if "twice" in shift.action.text] == [BOTH_WAYS | ASKS_A | ANSWERS_A]


def test_directions_die_and_open_only_where_the_fault_model_says_so() -> None:
    assert {shift.path for shift in shifts(BOTH_WAYS, IDLE, IDLE, True)} == {A_TO_B, B_TO_A}
    assert shifts(BOTH_WAYS, IDLE, IDLE, False) == ()


def test_a_mirror_image_is_its_own_inverse() -> None:
    for path in range(SIZE):
        assert mirrored(mirrored(path)) == path
    assert mirrored(A_TO_B | ASKS_A) == B_TO_A | ASKS_B


def test_a_side_that_would_learn_nothing_has_no_probes_in_flight() -> None:
    assert kept(PUNCHING, IDLE) == BOTH_WAYS | ASKS_A | ANSWERS_A
    assert kept(IDLE, IDLE) == BOTH_WAYS
