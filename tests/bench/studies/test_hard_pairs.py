"""Real nodes behind hard NATs: each tactic of port prediction wins, within its budget and its time."""

from __future__ import annotations

import pytest
import trio
from bench.studies.grid import Cell, CellResult, Kind, Position, run_cell
from bench.studies.study import ONE, OTHER

from tunnel.model.nat import Allocation
from tunnel.model.settings import NodeSettings
from tunnel.verify.reachability.oracle import Possibility
from tunnel.verify.simulation.runs.programs import Programs
from tunnel.verify.simulation.runs.run import run_scenario
from tunnel.verify.simulation.scenarios.scenario import NodePlan, Scenario

pytestmark = pytest.mark.no_cover  # whole runs: they would take three times as long

RANDOM, SEQUENTIAL, BLOCK, PRESERVING = (
    Allocation.RANDOM,
    Allocation.SEQUENTIAL,
    Allocation.BLOCK,
    Allocation.PRESERVING,
)
HOME = Kind("EIM", "APDF", PRESERVING)


def run(one: Kind, other: Kind, position: Position = Position.PAIR, seed: int = 0) -> CellResult:
    found = run_cell((Cell(position, one, other), seed))
    assert found.verdict.possibility is Possibility.TACTICS
    assert found.result.failures == ()
    return found


@pytest.mark.parametrize(
    ("allocation", "seconds", "flows"),
    [(RANDOM, 12.0, 2100), (BLOCK, 3.0, 500), (SEQUENTIAL, 2.5, 100), (PRESERVING, 2.5, 100)],
)
def test_an_easy_nat_finds_the_port_of_a_hard_one(allocation: Allocation, seconds: float, flows: int) -> None:
    result = run(HOME, Kind("APDM", "APDF", allocation)).result
    assert result.direct is not None
    assert result.direct < seconds
    assert result.flows < flows


@pytest.mark.parametrize("allocation", [RANDOM, SEQUENTIAL])
def test_a_carrier_s_hard_nat_behind_a_home_router_is_opened_too(allocation: Allocation) -> None:
    """First packets of TTL 2 end at the first router: those of TTL 4, and later ones, go through both."""
    kind = Kind("APDM", "APDF", allocation)
    assert run(kind, kind, Position.SECOND).result.is_direct


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Kind("ADM", "APDF", SEQUENTIAL), Kind("APDM", "APDF", RANDOM)),
        (Kind("ADM", "APDF", BLOCK), Kind("APDM", "APDF", BLOCK)),
        (Kind("ADM", "APDF", BLOCK), Kind("APDM", "APDF", SEQUENTIAL)),
        (Kind("APDM", "APDF", SEQUENTIAL), Kind("APDM", "APDF", BLOCK)),
        (Kind("APDM", "APDF", PRESERVING), Kind("APDM", "APDF", BLOCK)),
        (Kind("APDM", "APDF", SEQUENTIAL), Kind("APDM", "APDF", SEQUENTIAL)),
        (Kind("APDM", "APDF", PRESERVING), Kind("APDM", "APDF", PRESERVING)),
        (Kind("APDM", "APDF", PRESERVING), Kind("APDM", "APDF", SEQUENTIAL)),
        (Kind("APDM", "APDF", BLOCK), Kind("APDM", "APDF", BLOCK)),
    ],
    ids=str,
)
def test_two_hard_nats_meet_where_both_ports_are_in_reach(one: Kind, other: Kind) -> None:
    assert run(one, other).result.is_direct


def test_a_hard_nat_that_lets_the_address_in_is_found_by_another_hard_one() -> None:
    """Neither port is known. The guess that hits shows where the scanner sends from, and the second one is let in."""
    assert run(Kind("ADM", "APDF", RANDOM), Kind("APDM", "ADF", RANDOM)).result.is_direct


def test_two_homes_behind_one_counting_nat_meet_at_its_outer_address() -> None:
    kind = Kind("APDM", "APDF", SEQUENTIAL)
    assert run(kind, kind, Position.CARRIER).result.is_direct


def test_the_socket_that_won_stays_with_its_path_and_all_others_are_closed() -> None:
    """It lives as long as the path: here until the listener's peer has left."""
    cell = Cell(Position.PAIR, HOME, Kind("APDM", "APDF", BLOCK))
    plans = {host: NodePlan(settings=NodeSettings(name=host, default_stun=False)) for host in (ONE, OTHER)}
    opened: list[tuple[int, ...]] = []

    async def look_on(programs: Programs) -> None:
        await trio.sleep_until(4.0)
        await programs.want(ONE, OTHER)
        while (peer := programs.peer(OTHER, ONE)) is None or peer.state != "connected":
            opened.append(programs.nodes[OTHER].program.datagrams.extra)
            await trio.sleep(0.1)
        chosen = [each.paths.chosen for each in programs.nodes[OTHER].program.peer_table]
        assert [one.way.socket for one in chosen if one is not None] == list(extra(programs))
        opened.append(extra(programs))
        programs.stop(ONE)
        await trio.sleep(10.0)
        opened.append(extra(programs))

    def extra(programs: Programs) -> tuple[int, ...]:
        return programs.nodes[OTHER].program.datagrams.extra

    outcome = run_scenario(
        Scenario(name="pair", title="a pair", topology=cell.topology, nodes=plans), 0, script=look_on
    )
    assert outcome.failures == ()
    assert 1 < max(map(len, opened)) <= 16
    assert [len(numbers) for numbers in opened[-2:]] == [1, 0]
