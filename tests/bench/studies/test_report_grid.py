from __future__ import annotations

from dataclasses import replace

from bench.studies.grid import Cell, CellResult, Kind, Position
from bench.studies.report_grid import grid_strips, grid_text
from bench.studies.study import PairResult

from tunnel.model.nat import Allocation
from tunnel.verify.reachability.oracle import Cause, Possibility, Verdict

EASY = Kind("EIM", "APDF", Allocation.PRESERVING)
HARD = Kind("APDM", "APDF", Allocation.RANDOM)
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
RELAYED = replace(DIRECT, state="relayed", path="relay-websocket", direct=None, reason="probes_unanswered")
PLAIN = Verdict(Possibility.PLAIN, Cause.KNOWN_PORTS)
ONE_UNKNOWN = Verdict(Possibility.TACTICS, Cause.ONE_PORT_UNKNOWN)
EASY_PAIR = CellResult(Cell(Position.PAIR, EASY, EASY), 0, PLAIN, DIRECT)
MIXED_PAIR = CellResult(Cell(Position.PAIR, HARD, EASY), 0, ONE_UNKNOWN, RELAYED)
AROUND = CellResult(Cell(Position.AROUND, HARD, HARD), 0, Verdict(Possibility.PLAIN, Cause.SAME_NETWORK), DIRECT)


def test_the_table_shows_both_triangles() -> None:
    lines = grid_text([EASY_PAIR, MIXED_PAIR]).splitlines()
    rows = {line.split(" | ")[0].strip("| "): line for line in lines if line.startswith("|")}
    assert rows["EIM APDF"].count("0.30 s") == 1
    assert "relay, tactics 0 of 1" in rows["EIM APDF"]
    assert "relay, tactics 0 of 1" in rows["APDM APDF"]


def test_what_tactics_won_is_told_apart() -> None:
    won = replace(MIXED_PAIR, seed=1, result=replace(DIRECT, direct=3.0))
    text = grid_text([MIXED_PAIR, won])
    assert "3.00 s, tactics 1 of 2" in text
    assert "1 cells, 2 runs" in text


def test_positions_are_counted_by_what_must_and_can_be() -> None:
    text = grid_text([EASY_PAIR, MIXED_PAIR, AROUND])
    assert "| each behind one | 2 | 1 of 1 | 0 of 1 | 0 of 0 | 0.30 |" in text
    assert "| both behind it, on one network | 1 | 1 of 1 | 0 of 0 | 0 of 0 | 0.30 |" in text
    assert "Nothing contradicts the oracle." in text


def test_a_contradiction_is_named_with_all_that_it_takes_to_see_it_again() -> None:
    text = grid_text([replace(EASY_PAIR, seed=7, result=RELAYED)])
    line = (
        "- EIM APDF preserving x EIM APDF preserving (seed 7): plain by known_ports; was relayed by relay-websocket, "
    )
    assert f"Wrong:\n\n{line}probes_unanswered" in text
    assert "**wrong**" in text
    assert "Nothing contradicts" not in text


def test_another_reason_than_the_true_one_is_listed_and_the_path_counts_all_the_same() -> None:
    hard = Verdict(Possibility.IMPOSSIBLE, Cause.BOTH_HARD)
    text = grid_text([CellResult(Cell(Position.PAIR, HARD, HARD), 0, hard, RELAYED)])
    assert "Relayed, but for another reason than the node says:\n\n- APDM APDF random x APDM APDF random" in text
    assert "| each behind one | 1 | 0 of 0 | 0 of 0 | 1 of 1 |  |" in text
    assert "**wrong**" not in text


def test_a_pair_that_was_never_direct_has_no_strip() -> None:
    strips = grid_strips([EASY_PAIR, MIXED_PAIR, AROUND])
    assert [(strip.label, strip.values, strip.note) for strip in strips] == [
        ("EIM APDF x EIM APDF", (0.3,), "1 of 1 direct")
    ]
