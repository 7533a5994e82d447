from __future__ import annotations

from pathlib import Path

import pytest
from bench.performance.results import Failure, Measurement, Results, join_results, read_results, write_results

from tunnel.model.errors import SettingsError


def run_of(figure: str) -> Results:
    return Results({"rounds": 1}, [Measurement(1, "ours", figure, {"gbit": 5.0})], [Failure(1, "n2n", figure, "no")])


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    write_results(tmp_path / "run.json", run_of("tcp-1"))
    assert read_results(tmp_path / "run.json") == run_of("tcp-1")


def test_values_are_those_of_one_peer_and_figure_in_the_order_of_rounds() -> None:
    results = Results(
        {},
        [
            Measurement(1, "ours", "tcp-1", {"gbit": 5.0}),
            Measurement(1, "bare", "tcp-1", {"gbit": 20.0}),
            Measurement(1, "ours", "tcp-4", {"gbit": 6.0}),
            Measurement(2, "ours", "tcp-1", {"gbit": 4.0, "cpu_per_gb": 2.0}),
        ],
    )
    assert results.values("ours", "tcp-1", "gbit") == (5.0, 4.0)
    assert results.values("ours", "tcp-1", "cpu_per_gb") == (2.0,)
    assert results.peers(("tcp-1",)) == ("ours", "bare")


def test_runs_of_different_figures_are_joined() -> None:
    joined = join_results([run_of("tcp-1"), run_of("udp-64")])
    assert [one.figure for one in joined.measurements] == ["tcp-1", "udp-64"]
    assert len(joined.failures) == 2


def test_runs_of_one_figure_are_not_joined() -> None:
    """A ratio of two runs compares two moods of the machine."""
    with pytest.raises(SettingsError, match="tcp-1"):
        join_results([run_of("tcp-1"), run_of("tcp-1")])


def test_a_joined_run_tells_the_versions_of_all_its_peers() -> None:
    few = Results({"rounds": 5, "versions": {"ours": "1"}})
    many = Results({"rounds": 3, "versions": {"ours": "1", "n2n": "2"}})
    assert join_results([few, many]).run == {"rounds": 5, "versions": {"ours": "1", "n2n": "2"}}


def test_a_joined_run_tells_what_only_a_later_one_knows() -> None:
    """The congestion control of the streams under loss is known where these were measured."""
    first, later = Results({"congestion": "bbr"}), Results({"congestion": "reno", "loss_congestion": "cubic"})
    assert join_results([first, later]).run == {"congestion": "bbr", "loss_congestion": "cubic"}
