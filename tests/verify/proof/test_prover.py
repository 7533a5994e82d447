"""The proof itself, as the command runs it, and the page that says what it found."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tunnel.verify.proof.equivalent_mutants import REASONS
from tunnel.verify.proof.fault_models import FAULT_MODELS
from tunnel.verify.proof.mutants import Verdict
from tunnel.verify.proof.prover import Explored, Proof, count_jobs, explore_fault_model
from tunnel.verify.proof.rules import Charts, FaultModel
from tunnel.verify.proof.tcp_pair import OPENINGS

pytestmark = pytest.mark.timeout(1800)  # what `prove` prints comes from one run, which takes minutes

PAGE = Path(__file__).parents[3] / "docs" / "proof.md"


@pytest.fixture(scope="module")
def told() -> Any:
    """What `prove --json` prints. It runs without coverage, which would turn minutes into half an hour."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COV_CORE")}
    ended = subprocess.run(
        [sys.executable, "-m", "tunnel", "prove", "--json"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )
    assert ended.returncode in (0, 1), ended.stderr
    return json.loads(ended.stdout)


def test_every_promise_holds_under_every_fault_model(told: Any) -> None:
    assert {found["weather"]: found["violation"] for found in told["weathers"]} == {
        each.name: "" for each in (*FAULT_MODELS, *OPENINGS)
    }
    assert sum(found["states"] for found in told["weathers"]) > 1_000_000


def test_every_mutant_is_noticed_or_explained(told: Any) -> None:
    mutants = told["mutants"]
    assert (mutants["unexplained"], mutants["outdated"]) == ([], [])
    assert len(mutants["killed"]) + len(mutants["survivors"]) == mutants["all"]
    assert told["holds"] is True


def test_the_page_tells_what_the_command_found(told: Any) -> None:
    """Numbers and equivalent mutants in docs/proof.md are those of today."""
    page = PAGE.read_text(encoding="utf-8")
    rows = [
        f"| {found['weather']} | {found['states']:,} | {found['steps']:,} | {found['punches'] or ''}"
        for found in told["weathers"]
    ]
    mutants = told["mutants"]
    rows.append(f"Of {mutants['all']} mutants {len(mutants['killed'])} break a property")
    rows += [f"| `{name}` | {reason} |" for name, reason in REASONS.items()]
    assert [row for row in rows if row not in page] == []
    assert len(re.findall(r"^\| `", page, re.M)) == len(REASONS)


def test_a_violation_comes_with_its_diagram(charts: Charts) -> None:
    closed = charts.peer.having(arrows=tuple(arrow for arrow in charts.peer.arrows if arrow.event != "path_verified"))
    found = explore_fault_model(charts._replace(peer=closed), FaultModel("quiet"))
    assert (found.violation, found.what) == ("never", "path_verified is not enabled in punching")
    assert found.diagram.startswith("sequenceDiagram\n")
    assert "probe answer" in found.diagram


def test_guards_that_overlap_are_a_violation_before_anything_is_explored(charts: Charts) -> None:
    twice = charts.peer.having(arrows=(*charts.peer.arrows, charts.peer.arrows[0]))
    found = explore_fault_model(charts._replace(peer=twice), FaultModel("quiet"))
    assert (found.states, found.violation) == (0, "never")
    assert "2 ways out of detecting" in found.what


def test_a_proof_holds_only_when_all_of_it_does() -> None:
    good = Explored("quiet", 1, 1, 0, 0.0)
    bad = Explored("harsh", 1, 1, 0, 0.0, "deadlock", "nothing moves")
    excused = tuple(Verdict(f"{name}is removed" if name.endswith(" ") else name, "", "", 1) for name in REASONS)
    stranger = Verdict("a chart: an arrow is removed", "", "", 1)
    assert Proof((good,)).holds
    assert not Proof((good, bad)).holds
    assert Proof((good,), excused).holds
    assert Proof((good,), (*excused, stranger)).unexplained == (stranger.mutant,)
    assert not Proof((good,), excused[1:]).holds


def test_everything_is_counted_for_the_progress() -> None:
    assert count_jobs(with_mutants=False) == len(FAULT_MODELS) + len(OPENINGS)
    assert count_jobs(with_mutants=True) > 600
