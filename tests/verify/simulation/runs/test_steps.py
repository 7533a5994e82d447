"""What led to a failure: the last steps of the hosts concerned, of their routers, and of the server by itself."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.verify.simulation.pairs import TALK, do, expect, pair

from tunnel.verify.reachability.topology import Server
from tunnel.verify.simulation.runs.failure import Failure
from tunnel.verify.simulation.runs.run import Outcome, run_scenario
from tunnel.verify.simulation.runs.steps import Step, last_before, steps_of
from tunnel.verify.simulation.runs.trace import Passed
from tunnel.verify.simulation.scenarios.scenario import Scenario

KILL = do(2.0, "kill", who="laptop")
BACK = expect(by=4.0, after=2.5, node="desk", peer="laptop", state="connected", path="relay-udp")


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    return pair(TALK, KILL, BACK)


@pytest.fixture(scope="module")
def seen(scenario: Scenario) -> Outcome:
    return run_scenario(scenario, 0, keep_trace=True)


@pytest.fixture(scope="module")
def steps(seen: Outcome, scenario: Scenario) -> list[Step]:
    assert seen.trace is not None
    return steps_of(seen.trace.records, scenario.topology, seen.names)


def test_actions_moves_signals_and_packets_are_steps_in_order(steps: list[Step]) -> None:
    assert steps == sorted(steps, key=lambda step: step.at)
    assert ("", None, "kill who='laptop'") in {(step.place, step.target, step.text) for step in steps}
    assert ("desk", None, "link: offline -dial-> connecting") in {(s.place, s.target, s.text) for s in steps}
    assert ("desk", "server", "announce") in {(step.place, step.target, step.text) for step in steps}
    assert ("home", "laptop", "probe 1200 B") in {(step.place, step.target, step.text) for step in steps}


def test_the_server_is_one_place_at_all_of_its_addresses(scenario: Scenario) -> None:
    topology = replace(scenario.topology, server=Server(address="25.0.0.2", aliases=("25.0.0.9",)))
    passed = Passed(1.0, "25.0.0.9:3478", "26.0.1.1:5000", 48, "stun", "", "delivered")
    assert [(step.place, step.target) for step in steps_of([passed], topology, {})] == [("server", "home")]


def test_the_first_failure_says_when_it_showed_and_of_whom(seen: Outcome) -> None:
    assert seen.failure is not None
    assert (seen.failure.at, seen.failure.about) == (4.0, ("desk", "laptop"))


def test_the_last_steps_end_with_the_failure(seen: Outcome, steps: list[Step], scenario: Scenario) -> None:
    assert seen.failure is not None
    last = last_before(seen.failure, steps, scenario.topology, 12)
    assert len(last) == 12
    assert last[-1].at <= 4.0 < steps[-1].at
    assert any("kill" in step.text for step in last)


def test_steps_of_others_are_left_out(steps: list[Step], scenario: Scenario) -> None:
    """Of the desk: its own, its router's, what is said to it, what the server does by itself, and all actions."""
    of_desk = last_before(Failure(9.0, "", ("desk",)), steps, scenario.topology, 10_000)
    assert {step.place for step in of_desk if step.target is None} == {"", "desk", "server"}
    assert all({step.place, step.target} & {"desk", "home"} for step in of_desk if step.target is not None)
    assert any(step.place == "home" for step in of_desk)
    everybody = last_before(Failure(9.0, ""), steps, scenario.topology, 10_000)
    assert {step.place for step in everybody if step.target is None} == {"", "desk", "laptop", "server"}
