"""How fast virtual time passes: an idle hour of two connected nodes, and all scenarios with twenty seeds.

Run it as `python bench/simulation.py [--seeds N]`. It prints the seconds that each took on this machine, and what bare
turns of Trio's loop take in the same run, so that a slow machine shows.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

import trio

from tunnel.model.settings import NodeSettings
from tunnel.verify.reachability.topology import Host, Topology
from tunnel.verify.simulation.runs.run import run_scenario
from tunnel.verify.simulation.runs.schedule import run_seeded
from tunnel.verify.simulation.scenarios.action import Connect
from tunnel.verify.simulation.scenarios.expectation import ExpectPeer
from tunnel.verify.simulation.scenarios.library import scenario_files
from tunnel.verify.simulation.scenarios.scenario import NodePlan, Scenario

HOUR = 3600.0
HOUR_BOUND = 3.0
LIBRARY_BOUND = 300.0
TURNS = 20_000


def idle_hour() -> Scenario:
    """Two public nodes, connected once, then left alone."""
    return Scenario(
        name="idle_hour",
        title="an idle hour",
        topology=Topology(
            hosts={name: Host(addresses=(f"27.0.0.{at}",)) for at, name in enumerate(("one", "other"), 1)}
        ),
        nodes={name: NodePlan(settings=NodeSettings(name=name, default_stun=False)) for name in ("one", "other")},
        actions=(Connect(at=1.0, who="one", to="other"),),
        expectations=(ExpectPeer(node="one", peer="other", state="connected", since=3.0, until=HOUR),),
        length=HOUR,
    )


def bare_turns() -> float:
    """Seconds for so many sleeps of one task and nothing else."""

    async def sleep() -> None:
        for _ in range(TURNS):
            await trio.sleep(1.0)

    began = time.perf_counter()
    run_seeded(sleep, 0)
    return time.perf_counter() - began


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    seeds = parser.parse_args().seeds
    turns = bare_turns()
    print(f"{TURNS} bare turns of the loop: {turns:.2f} s")

    began = time.perf_counter()
    outcome = run_scenario(idle_hour(), 0)
    hour = time.perf_counter() - began
    print(
        f"an idle hour of two connected nodes: {hour:.2f} s ({hour / turns:.1f} x the bare turns), "
        f"{outcome.packets} packets"
    )
    if not outcome.has_passed:
        print("\n".join(outcome.failures))

    runs = len(scenario_files(())) * seeds
    began = time.perf_counter()
    command = [
        str(Path(sys.executable).with_name("p2ptunnel-trio")),
        "simulate",
        "--seeds",
        f"0..{seeds - 1}",
        "--json",
    ]
    library = subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
    took = time.perf_counter() - began
    print(
        f"{runs} runs of the library: {took:.1f} s, {took / runs:.2f} s a run on all cores; "
        f"exit code {library.returncode}"
    )
    is_good = outcome.has_passed and hour < HOUR_BOUND and library.returncode == 0 and took < LIBRARY_BOUND
    print(
        "within the bounds" if is_good else f"NOT within the bounds: {HOUR_BOUND} s, {LIBRARY_BOUND} s, nothing fails"
    )
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
