from __future__ import annotations

from bench.performance.goals import GOALS, describe_goals, text_goals
from bench.performance.results import Measurement, Results


def run_of(**gbit: float) -> Results:
    peers = {name.replace("_", "-"): value for name, value in gbit.items()}
    return Results({}, [Measurement(1, peer, "tcp-1", {"gbit": value}) for peer, value in peers.items()])


def test_the_best_rival_counts() -> None:
    rows = {title: (value, met) for title, value, _, met in describe_goals(run_of(ours=4.0, nebula=1.0, tinc=2.0))}
    assert rows["TCP, 1 stream, times the best packaged peer"] == ("2.00", "NO")


def test_newer_rivals_have_a_goal_of_their_own() -> None:
    rows = {
        title: (value, met)
        for title, value, _, met in describe_goals(run_of(ours=4.0, wireguard_go=0.5, wireguard_go_2025=1.6))
    }
    assert rows["TCP, 1 stream, times the best packaged peer"] == ("8.00", "yes")
    assert rows["TCP, 1 stream, times a newer wireguard-go"] == ("2.50", "yes")


def test_a_relay_is_compared_with_our_direct_path() -> None:
    rows = {title: value for title, value, _, _ in describe_goals(run_of(ours=4.0, ours_relay_udp=3.0))}
    assert rows["UDP relay, of the direct path"] == "0.75"


def test_what_was_not_measured_is_not_judged() -> None:
    assert text_goals(Results({})) == ""
    assert [row[0] for row in describe_goals(run_of(bare=10.0, ours=3.0))] == ["TCP, 1 stream, of the bare path"]


def test_every_line_fits_a_terminal() -> None:
    assert max(len(goal.title) for goal in GOALS) < 52
