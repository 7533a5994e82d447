"""A run as a Mermaid sequence diagram of its steps; of a long run, the beginning and what led to the failure."""

from __future__ import annotations

from tunnel.machines.sequence import SequenceDiagram
from tunnel.verify.reachability.topology import SERVER
from tunnel.verify.simulation.runs.run import Outcome
from tunnel.verify.simulation.runs.steps import Step, steps_of
from tunnel.verify.simulation.scenarios.scenario import Scenario

LONGEST = 600
"""The most steps that are drawn: Mermaid draws no diagram of more than 50,000 characters."""
BEGINNING = 100
"""Steps from the beginning of a longer run."""
AFTERWARDS = 20
"""Steps after its first failure."""


def draw(outcome: Outcome, scenario: Scenario) -> str:
    """The kept trace of an outcome as Mermaid text. The outcome must have been made with `keep_trace`."""
    assert outcome.trace is not None
    topology = scenario.topology
    places = [*topology.hosts, *topology.routers, SERVER, *(server.name for server in topology.stun_servers)]
    steps = steps_of(outcome.trace.records, topology, outcome.names)
    diagram = SequenceDiagram(places)
    everybody = (places[0], places[-1])
    first, last = _window(steps, None if outcome.failure is None else outcome.failure.at)
    for at, step in enumerate(steps):
        text = f"{step.at:.3f} {step.text}"
        if at in (first, last):
            left_out = first - BEGINNING if at == first else len(steps) - last
            if left_out > 0:
                diagram.note(everybody, f"{left_out} steps are left out here")
        if BEGINNING <= at < first or at >= last:
            continue
        if step.target is None:
            diagram.note(everybody if step.place == "" else step.place, text)
        else:
            diagram.message(step.place, step.target, text, step.arrow)
    return diagram.render()


def _window(steps: list[Step], failed_at: float | None) -> tuple[int, int]:
    """The steps that are drawn beside those of the beginning: from the first index to before the second."""
    if len(steps) <= LONGEST:
        return 0, len(steps)
    end = len(steps)
    if failed_at is not None:
        end = min(end, sum(step.at <= failed_at for step in steps) + AFTERWARDS)
    end = max(end, LONGEST)
    return end - (LONGEST - BEGINNING), end
