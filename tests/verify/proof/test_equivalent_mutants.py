"""Each reason is for a mutant that exists. Whether it breaks nothing, the proof itself checks."""

from __future__ import annotations

from tunnel.verify.proof.equivalent_mutants import REASONS, outdated, reason_of
from tunnel.verify.proof.mutants import mutants_of
from tunnel.verify.proof.rules import Charts


def test_each_reason_is_for_some_mutant(charts: Charts) -> None:
    assert outdated(tuple(mutant.name for mutant in mutants_of(charts))) == ()
    assert all(len(reason) > 30 for reason in REASONS.values())


def test_most_mutants_have_no_excuse(charts: Charts) -> None:
    excused = [mutant.name for mutant in mutants_of(charts) if reason_of(mutant.name)]
    assert 0 < len(excused) < 30
    assert reason_of("peer_connection: detecting --close--> closed is removed") == ""


def test_a_reason_for_a_mutant_that_is_killed_is_outdated() -> None:
    assert set(outdated(())) == set(REASONS)
