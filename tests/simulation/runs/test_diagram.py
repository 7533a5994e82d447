"""A run is drawn as people can follow it: who said what to whom, when, with repetitions folded."""

from __future__ import annotations

import pytest

from tunnel.simulation.runs.diagram import LONGEST, draw
from tunnel.simulation.runs.rehearsal import Outcome, rehearse
from tunnel.simulation.scenarios.library import simulations_folder
from tunnel.simulation.scenarios.scenario import Scenario
from tunnel.simulation.scenarios.scenario_file import read_scenario


@pytest.fixture(scope="module")
def easy() -> Scenario:
    return read_scenario(simulations_folder() / "scenarios" / "easy_pair.toml")


@pytest.fixture(scope="module")
def seen(easy: Scenario) -> Outcome:
    return rehearse(easy, 3, keep_trace=True)


def test_every_machine_of_the_picture_takes_part(seen: Outcome, easy: Scenario) -> None:
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
        "probe 1312 B",
        "punching -path_verified-#gt; connected",
    ]
    places = [drawn.index(word) for word in story]
    assert places == sorted(places)


def test_a_long_run_leaves_out_its_middle_and_says_so(seen: Outcome, easy: Scenario) -> None:
    assert seen.trace is not None
    records = seen.trace.records
    seen.trace.records = records * 8
    try:
        drawn = draw(seen, easy)
    finally:
        seen.trace.records = records
    assert "entries are left out here" in drawn
    assert drawn.count("\n") <= LONGEST + 10
