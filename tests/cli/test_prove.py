"""`prove` explores, reports, and fails when anything is not as it should be."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tunnel.cli import prove
from tunnel.verify.proof import equivalent_mutants
from tunnel.verify.proof.mutants import Verdict
from tunnel.verify.proof.prover import Explored, Proof

Command = Callable[..., Any]
GOOD = Explored("quiet", 4000, 16000, 3, 0.2)
BAD = Explored("harsh", 7, 9, 0, 0.1, "deadlock", "nothing moves any more", "sequenceDiagram\n    Note over P0: end\n")
KILLED = Verdict("a chart: one arrow is removed", "never", "quiet", 12)
UNKILLED = Verdict("a chart: another arrow is removed", "", "", 4000)


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> Callable[[Proof], None]:
    """What the proof, that takes minutes, is to find this time."""

    def find(proof: Proof) -> None:
        monkeypatch.setattr(prove, "prove_all", lambda **_: proof)
        monkeypatch.setattr(equivalent_mutants, "REASONS", {})

    return find


def test_a_proof_that_holds_is_a_table(command: Command, found: Callable[[Proof], None]) -> None:
    found(Proof((GOOD,), (KILLED,)))
    ended = command("prove")
    assert ended.code == 0
    assert "quiet         4,000  16,000        3        0  holds" in ended.out
    assert "1 mutants: 1 break a property, 0 break none" in ended.out
    assert ended.out.endswith("\nproved\n")


def test_a_violation_fails_and_is_drawn(command: Command, found: Callable[[Proof], None], tmp_path: Path) -> None:
    found(Proof((GOOD, BAD)))
    ended = command("prove", "--no-mutants")
    assert ended.code == 1
    assert "deadlock: nothing moves any more" in ended.out
    assert ended.out.endswith(BAD.diagram)
    file = tmp_path / "way.mmd"
    assert BAD.diagram not in command("prove", "--diagram", str(file)).out
    assert file.read_text() == BAD.diagram


def test_a_mutant_that_breaks_nothing_needs_a_reason(command: Command, found: Callable[[Proof], None]) -> None:
    found(Proof((GOOD,), (KILLED, UNKILLED)))
    ended = command("prove")
    assert ended.code == 1
    assert "another arrow is removed\n      NOT EXPLAINED" in ended.out


def test_a_reason_for_nothing_fails(
    command: Command, found: Callable[[Proof], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    found(Proof((GOOD,), (KILLED,)))
    monkeypatch.setattr(equivalent_mutants, "REASONS", {KILLED.mutant: "it was equivalent once"})
    ended = command("prove")
    assert ended.code == 1
    assert f"{KILLED.mutant}\n      EXPLAINED FOR NOTHING" in ended.out


def test_json_holds_the_same(command: Command, found: Callable[[Proof], None]) -> None:
    found(Proof((GOOD, BAD), (KILLED, UNKILLED)))
    ended = command("prove", "--json")
    assert ended.code == 1
    told = json.loads(ended.out)
    assert told["holds"] is False
    assert [found["states"] for found in told["weathers"]] == [4000, 7]
    assert told["weathers"][1]["diagram"] == BAD.diagram
    assert told["mutants"]["survivors"] == {UNKILLED.mutant: None}
    assert told["mutants"]["unexplained"] == [UNKILLED.mutant]


def test_the_keys_of_the_json_stay(command: Command, found: Callable[[Proof], None]) -> None:
    """Scripts read them: they outlive the names of the fields."""
    found(Proof((GOOD,), (KILLED,)))
    told = json.loads(command("prove", "--json").out)
    assert list(told) == ["version", "holds", "weathers", "mutants"]
    assert list(told["mutants"]) == ["all", "survivors", "unexplained", "outdated", "killed"]
    keys = ["weather", "states", "steps", "punches", "seconds", "violation", "what", "diagram"]
    assert list(told["weathers"][0]) == keys
    assert told["mutants"]["killed"] == [
        {"mutant": KILLED.mutant, "killed_by": "never", "weather": "quiet", "states": 12, "seconds": 0.0}
    ]


def test_wrong_usage_is_an_error(command: Command, found: Callable[[Proof], None], tmp_path: Path) -> None:
    found(Proof((BAD,)))
    assert command("prove", "--processes", "0").code == 2
    ended = command("prove", "--diagram", str(tmp_path / "nowhere" / "way.mmd"))
    assert (ended.code, "cannot write" in ended.err) == (1, True)
