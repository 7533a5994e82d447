"""The library of scenarios: each passes, and together they take every transition that can be taken."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunnel.simulation.runs.conformance import Arrow, all_arrows
from tunnel.simulation.runs.rehearsal import rehearse
from tunnel.simulation.scenarios.library import scenario_files
from tunnel.simulation.scenarios.scenario_file import read_scenario

SEEDS = (0, 1)
TAKEN: dict[tuple[str, int], frozenset[Arrow]] = {}
"""By the runs of this module so far."""


def arrows_of(file: Path, seed: int) -> frozenset[Arrow]:
    """The transitions of a run; one that was made already is not made again."""
    if (file.stem, seed) not in TAKEN:
        outcome = rehearse(read_scenario(file), seed)
        assert outcome.failures == ()
        TAKEN[file.stem, seed] = outcome.arrows
    return TAKEN[file.stem, seed]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("file", scenario_files([]), ids=lambda file: file.stem)
def test_a_scenario_of_the_library_passes(file: Path, seed: int) -> None:
    arrows_of(file, seed)


NOBODY_CLOSES = "a program that ends cancels its charts where they stand: only a peer that was evicted is closed"
RUNS_NO_MORE = "close() is called when the task that lives through the chart has been cancelled already"
LINK_LOST_FIRST = "the end of a link is told before the next one is dialled, so the announcement stands in surveying"
NEVER: dict[tuple[str, str, str], str] = {
    ("announcement", "*", "close"): NOBODY_CLOSES,
    ("server_link", "*", "close"): NOBODY_CLOSES,
    ("peer_connection", "*", "close"): "a peer is evicted when 4096 others are known, and a network has 1024 nodes",
    ("port_mapping", "*", "close"): NOBODY_CLOSES,
    ("port_mapping", "probing", "patience_ended"): "no simulated gateway takes as long as a real search might",
    ("session", "*", "close"): RUNS_NO_MORE,
    ("announcement", "announcing", "registered"): LINK_LOST_FIRST,
    ("announcement", "acknowledged", "registered"): LINK_LOST_FIRST,
    ("announcement", "stale", "registered"): LINK_LOST_FIRST,
    ("session", "established", "keys_expired"): (
        "keys that are agreed on are there, unless the old ones expire in the very instant in which new ones come"
    ),
}
"""Transitions that no scenario takes, and why."""
NEVER_THERE = Arrow("peer_connection", "requested", "introduced", "announced")
"""`is_introduced` asks already for what the guards of the two other arrows ask."""


def is_explained(arrow: Arrow) -> bool:
    keys = ((arrow.chart, "*", arrow.event), (arrow.chart, arrow.source, arrow.event))
    return arrow == NEVER_THERE or any(key in NEVER for key in keys)


def test_every_transition_that_can_be_taken_is_taken() -> None:
    """When this fails, write the scenario that takes it, or explain why nobody can."""
    taken: set[Arrow] = set()
    for file in scenario_files([]):
        for seed in SEEDS:
            taken |= arrows_of(file, seed)
    missing = all_arrows() - taken
    assert sorted(arrow for arrow in missing if not is_explained(arrow)) == []
    assert sorted(arrow for arrow in taken if is_explained(arrow)) == []
