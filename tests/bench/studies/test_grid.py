from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from bench.studies.grid import (
    COMMON,
    KINDS,
    REASONS,
    Agreement,
    Cell,
    CellResult,
    Kind,
    Position,
    all_cells,
    run_cell,
    run_grid,
)
from bench.studies.study import PairResult

from tunnel.model.nat import Allocation
from tunnel.verify.reachability.oracle import Cause, Possibility, Verdict

SYMMETRIC = Kind("APDM", "APDF", Allocation.RANDOM)
OPEN_DEPENDENT = Kind("ADM", "EIF", Allocation.BLOCK)


def test_the_grid_holds_every_pair_once_and_every_kind_in_every_position() -> None:
    cells = all_cells()
    positions = Counter(cell.position for cell in cells)
    assert len(KINDS) == 36
    assert positions == {position: 36 if position is not Position.PAIR else 36 * 37 // 2 for position in Position}
    assert len(set(map(str, cells))) == len(cells)


def test_the_oracle_has_a_verdict_on_every_cell_and_every_cause_a_true_reason() -> None:
    verdicts = {cell: cell.verdict for cell in all_cells()}
    assert {verdict.possibility for verdict in verdicts.values()} == set(Possibility)
    for verdict in verdicts.values():
        assert verdict.possibility is Possibility.PLAIN or verdict.cause in REASONS


@pytest.mark.parametrize("position", [position for position in Position if position is not Position.PAIR])
@pytest.mark.parametrize("kind", [COMMON, SYMMETRIC], ids=str)
def test_no_position_contradicts_the_oracle(position: Position, kind: Kind) -> None:
    found = run_cell((Cell(position, kind, kind), 1))
    assert found.agreement is not Agreement.WRONG, found


@pytest.mark.parametrize(
    ("one", "other", "agreements"),
    [
        (COMMON, COMMON, {Agreement.PLAIN}),
        (COMMON, SYMMETRIC, {Agreement.WON_BY_TACTICS, Agreement.LEFT_TO_TACTICS}),
        (Kind("EIM", "ADF", Allocation.RANDOM), SYMMETRIC, {Agreement.PLAIN}),
        (OPEN_DEPENDENT, Kind("APDM", "ADF", Allocation.SEQUENTIAL), {Agreement.PLAIN}),
        (OPEN_DEPENDENT, Kind("ADM", "ADF", Allocation.RANDOM), {Agreement.PLAIN}),
        (SYMMETRIC, SYMMETRIC, {Agreement.RELAYED}),
    ],
)
def test_pairs_are_as_the_oracle_says(one: Kind, other: Kind, agreements: set[Agreement]) -> None:
    found = run_cell((Cell(Position.PAIR, one, other), 1))
    assert found.agreement in agreements, found


def made(possibility: Possibility, cause: Cause, result: PairResult) -> Agreement:
    return CellResult(Cell(Position.PAIR, COMMON, COMMON), 0, Verdict(possibility, cause), result).agreement


DIRECT = PairResult(
    state="connected",
    path="direct",
    reason="none",
    first_byte=0.1,
    direct=0.3,
    probes=4,
    flows=1,
    nats=(None, None),
    relay_rtt=0.05,
    failures=(),
)
RELAYED = replace(DIRECT, state="relayed", path="relay-websocket", direct=None)


def test_a_run_is_wrong_that_the_oracle_contradicts() -> None:
    assert made(Possibility.PLAIN, Cause.KNOWN_PORTS, DIRECT) is Agreement.PLAIN
    assert made(Possibility.PLAIN, Cause.KNOWN_PORTS, replace(RELAYED, reason="probes_unanswered")) is Agreement.WRONG
    hard = replace(RELAYED, reason="both_hard_nats")
    assert made(Possibility.IMPOSSIBLE, Cause.BOTH_HARD, hard) is Agreement.RELAYED
    assert made(Possibility.IMPOSSIBLE, Cause.BOTH_HARD, DIRECT) is Agreement.WRONG
    assert made(Possibility.TACTICS, Cause.ONE_PORT_UNKNOWN, DIRECT) is Agreement.WON_BY_TACTICS
    assert made(Possibility.TACTICS, Cause.PORTS_IN_REACH, hard) is Agreement.LEFT_TO_TACTICS


def test_a_run_that_breaks_an_invariant_is_wrong_and_one_that_tells_another_reason_is_told_apart() -> None:
    told = made(Possibility.IMPOSSIBLE, Cause.UDP_BLOCKED, replace(RELAYED, reason="path_lost"))
    assert told is Agreement.OTHER_REASON
    never = made(Possibility.TACTICS, Cause.ONE_PORT_UNKNOWN, replace(RELAYED, reason="peer_info_timeout"))
    assert never is Agreement.OTHER_REASON
    assert made(Possibility.IMPOSSIBLE, Cause.UDP_BLOCKED, replace(RELAYED, reason="udp_blocked")) is Agreement.RELAYED
    assert made(Possibility.PLAIN, Cause.IPV6, replace(DIRECT, failures=("a budget",))) is Agreement.WRONG


def test_results_come_in_the_order_of_cells_and_seeds() -> None:
    cells = (Cell(Position.AROUND, COMMON, COMMON), Cell(Position.PUBLIC, COMMON, COMMON))
    results = run_grid(cells, (1, 2), processes=1)
    assert [(result.cell, result.seed) for result in results] == [(cell, seed) for cell in cells for seed in (1, 2)]
