"""A run is drawn so that it can be followed: which host said what to which one, when, with repetitions folded."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tunnel.verify.simulation.runs.diagram import LONGEST, draw
from tunnel.verify.simulation.runs.failure import Failure
from tunnel.verify.simulation.runs.run import Outcome, run_scenario
from tunnel.verify.simulation.runs.trace import Record, Trace
from tunnel.verify.simulation.scenarios.library import simulations_folder
from tunnel.verify.simulation.scenarios.scenario import Scenario
from tunnel.verify.simulation.scenarios.scenario_file import read_scenario


@pytest.fixture(scope="module")
def easy() -> Scenario:
    return read_scenario(simulations_folder() / "scenarios" / "easy_pair.toml")


@pytest.fixture(scope="module")
def seen(easy: Scenario) -> Outcome:
    return run_scenario(easy, 3, keep_trace=True)


def test_every_machine_of_the_topology_takes_part(seen: Outcome, easy: Scenario) -> None:
    drawn = draw(seen, easy)
    assert drawn.startswith("sequenceDiagram\n")
    for name in ("desk", "laptop", "home", "office", "server"):
        assert f" as {name}\n" in drawn


def test_the_way_to_a_direct_path_can_be_read_off(seen: Outcome, easy: Scenario) -> None:
    drawn = draw(seen, easy)
    story = [
        " announce\n",
        " connect\n",
        " introduced\n",
        "probe 48 B",
        "probe 1200 B",
        "punching -path_verified-#gt; connected",
    ]
    places = [drawn.index(word) for word in story]
    assert places == sorted(places)


def later(record: Record, seconds: float) -> Record:
    return record._replace(at=record.at + seconds)


def test_a_long_run_shows_its_beginning_and_what_came_before_the_failure(seen: Outcome, easy: Scenario) -> None:
    """Twenty runs one after the other, of which the twelfth fails half way; Mermaid draws 50,000 characters at most."""
    assert seen.trace is not None
    long = Trace()
    long.records = [later(record, 20.0 * at) for at in range(20) for record in seen.trace.records]
    failed = draw(replace(seen, trace=long, failure=Failure(220.5, "it rained")), easy)
    passed = draw(replace(seen, trace=long), easy)
    for drawn in (failed, passed):
        assert drawn.count("\n") <= LONGEST + 10
        assert len(drawn) < 50_000
        assert "desk: link: offline" in drawn.replace("Note over P0: 0.000", "desk:")
    assert [" 220.120 " in drawn for drawn in (failed, passed)] == [True, False]
    assert [" 260.120 " in drawn for drawn in (failed, passed)] == [False, False]
    assert [" 380.120 " in drawn for drawn in (failed, passed)] == [False, True]
    assert [drawn.count(" steps are left out here") for drawn in (failed, passed)] == [2, 1]
