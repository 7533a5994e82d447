"""The library of scenarios: each passes, and together they take every transition that can be taken."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from tunnel.verify.simulation.runs.conformance import Arrow, all_arrows
from tunnel.verify.simulation.runs.run import run_scenario
from tunnel.verify.simulation.scenarios.library import scenario_files
from tunnel.verify.simulation.scenarios.scenario_file import read_scenario

pytestmark = pytest.mark.no_cover  # whole runs: they would take three times as long

SEEDS = (0, 1)
TAKEN: dict[tuple[str, int], frozenset[Arrow]] = {}
"""By the runs of this module so far."""


def arrows_of(file: Path, seed: int) -> frozenset[Arrow]:
    """The transitions of a run; one that was made already is not made again."""
    if (file.stem, seed) not in TAKEN:
        outcome = run_scenario(read_scenario(file), seed)
        assert outcome.failures == ()
        TAKEN[file.stem, seed] = outcome.arrows
    return TAKEN[file.stem, seed]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("file", scenario_files([]), ids=lambda file: file.stem)
def test_a_scenario_of_the_library_passes(file: Path, seed: int) -> None:
    arrows_of(file, seed)


class Elsewhere(NamedTuple):
    """Why no scenario can take a transition, and the test that does."""

    reason: str
    test: str


NEVER: dict[tuple[str, str, str], Elsewhere] = {
    ("peer_connection", "*", "close"): Elsewhere(
        "a peer is closed to make room for another when 4096 are known, and a network has 1024 nodes",
        "peer/test_closing.py::test_a_peer_is_closed_in_whatever_state_it_is",
    ),
    ("session", "established", "keys_expired"): Elsewhere(
        "keys that are agreed on are there, unless the old ones expire in the very instant in which new ones come",
        "peer/test_session.py::test_an_agreement_whose_keys_are_gone_again_is_an_end_and_not_a_session",
    ),
}
"""Transitions that no scenario takes; `*` is every state."""
UNUSED = {"tcp_connection"}
"""Charts of what no node runs yet: the TCP in Python, whose moves tests/ip_stack/tcp takes."""


def is_explained(arrow: Arrow) -> bool:
    return (arrow.chart, "*", arrow.event) in NEVER or (arrow.chart, arrow.source, arrow.event) in NEVER


def test_every_transition_that_can_be_taken_is_taken() -> None:
    """When this fails, write the scenario that takes it, take it out of its chart, or name the test that takes it."""
    taken: set[Arrow] = set()
    for file in scenario_files([]):
        for seed in SEEDS:
            taken |= arrows_of(file, seed)
    assert not {arrow.chart for arrow in taken} & UNUSED
    missing = {arrow for arrow in all_arrows() - taken if arrow.chart not in UNUSED}
    assert sorted(arrow for arrow in missing if not is_explained(arrow)) == []
    assert sorted(arrow for arrow in taken if is_explained(arrow)) == []


@pytest.mark.parametrize("key", NEVER, ids="-".join)
def test_an_arrow_that_no_scenario_takes_is_one_and_the_test_that_takes_it_is_there(key: tuple[str, str, str]) -> None:
    chart, source, event = key
    assert [
        arrow
        for arrow in all_arrows()
        if (arrow.chart, arrow.event) == (chart, event) and source in ("*", arrow.source)
    ]
    file, _, name = NEVER[key].test.partition("::")
    assert f"async def {name}(" in (Path(__file__).parents[2] / file).read_text()


ONCE_BROKEN = (
    ("server_stops_amid_hello", 1002),  # its timeout was shorter than the longest backoff
)


@pytest.mark.parametrize(("name", "seed"), ONCE_BROKEN)
def test_a_seed_that_failed_once_passes(name: str, seed: int) -> None:
    (file,) = scenario_files([Path(name)])
    arrows_of(file, seed)
