"""The schedule of birthday punches, run without nodes, and held against whole nodes."""

from __future__ import annotations

import random
from statistics import median

import pytest
from bench.studies.birthday import ROWS, WITHIN, Conditions, main, punch, run_punches, table
from bench.studies.grid import COMMON, Cell, Kind, Position
from bench.studies.study import study_pair

from tunnel.model.nat import Allocation

FEW = 200


@pytest.mark.parametrize("name", ["any port", "any port, 10 % loss", "a block of 512", "a block of 16,384"])
def test_nearly_all_punches_win_in_time(name: str) -> None:
    won = [one for one in run_punches(ROWS[name], FEW) if one.seconds is not None and one.seconds <= WITHIN]
    assert len(won) >= 0.98 * FEW


def test_the_same_number_and_seed_are_the_same_punch() -> None:
    assert run_punches(Conditions(), 3) == run_punches(Conditions(), 4)[:3]
    assert run_punches(Conditions(), 3, seed=1) != run_punches(Conditions(), 3)


def test_where_every_packet_is_lost_nobody_meets() -> None:
    found = punch(Conditions(loss=1.0), random.Random(0))
    assert found.seconds is None
    assert found.guesses == 1900


def test_later_knocks_serve_a_socket_behind_more_routers_than_its_first_one_passes() -> None:
    """With a low TTL no first probe passes three routers: those that are to arrive open all of them."""
    near, far = (median_of(Conditions(routers=routers)) for routers in (1, 9))
    assert near < far < near + 1.5


def test_whole_nodes_take_as_long_as_the_schedule() -> None:
    """Their seconds count from the user's first packet: they include a request to the server and plain probes."""
    topology = Cell(Position.PAIR, COMMON, Kind("APDM", "APDF", Allocation.RANDOM)).topology
    results = [study_pair(topology, seed) for seed in range(5)]
    seconds = [result.direct for result in results if result.direct is not None]
    assert len(seconds) == len(results)
    assert [result.failures for result in results] == [()] * len(results)
    assert abs(median(seconds) - median_of(Conditions(latency=0.03))) < 2.0


def test_the_table_has_a_row_for_each_condition(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--punches", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == table(2).splitlines()
    assert [line.split(" | ")[0].removeprefix("| ") for line in lines[2:]] == list(ROWS)


def median_of(conditions: Conditions) -> float:
    return median(one.seconds for one in run_punches(conditions, FEW) if one.seconds is not None)
