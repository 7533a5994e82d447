"""Each expectation can be met and can fail, and says in words what differed."""

from __future__ import annotations

import pytest
from tests.verify.simulation.pairs import do, expect, pair

from tunnel.verify.simulation.runs.expectations import describe
from tunnel.verify.simulation.runs.run import run_scenario
from tunnel.verify.simulation.scenarios.expectation import ExpectPeer

TALK = do(1.0, "send", who="desk", to="laptop", until=3.0)
KILL = do(2.0, "kill", who="laptop")


def failures_of(*blocks: str) -> tuple[str, ...]:
    return run_scenario(pair(TALK, *blocks), 0).failures


MET = {
    "by": expect(by=1.5, node="desk", peer="laptop", state="connected", path="direct", reason="none"),
    "by, one of several": expect(by=1.02, node="desk", peer="laptop", state="punching requested"),
    "at": expect(at=0.9, node="desk", peer="laptop", state="announced", path="none"),
    "since": expect(since=2.0, node="desk", peer="laptop", state="connected"),
    "until": expect(since=0.05, until=0.9, node="desk", server="connecting registered"),
    "rtt": expect(at=2.5, node="desk", peer="laptop", rtt_at_most=0.041),
    "path MTU": expect(by=2.0, node="desk", peer="laptop", path_mtu=1500),
    "server": expect(by=0.5, node="desk", server="registered", announcement="acknowledged"),
    "nat": expect(at=2.0, node="desk", mapping="endpoint_independent", udp="open"),
    "no note": expect(at=2.0, node="desk", note="none"),
    "traffic": expect(who="desk", to="laptop", lost_at_most=0, longest_hole=0.11, first_within=0.3),
    "arrived": expect(who="desk", to="laptop", arrived_at_least=20, arrived_at_most=20),
    "signals": expect(host="desk", signal="connect", after=1.0, before=1.1, at_least=1, at_most=1),
    "no signals": expect(host="laptop", signal="withdraw", at_most=0),
}
OTHERWISE = {
    "by": (
        expect(by=1.1, node="desk", peer="laptop", state="connected", path="direct"),
        "at 1.100 s state is punching, path is none",
    ),
    "a peer that is not known": (
        expect(at=0.1, node="desk", peer="laptop", state="announced"),
        "at 0.100 s desk does not run, or knows no laptop",
    ),
    "at": (expect(at=2.0, node="desk", peer="laptop", path="none"), "at 2.000 s path is direct"),
    "since": (expect(since=0.5, node="desk", peer="laptop", state="announced"), "s state is requested"),
    "until": (expect(since=0.05, until=2.0, node="desk", server="offline connecting"), "s server is registered"),
    "reason": (
        expect(at=2.0, node="desk", peer="laptop", reason="both_hard_nats"),
        "at 2.000 s reason is none",
    ),
    "rtt": (
        expect(at=2.5, node="desk", peer="laptop", rtt_at_most=0.039),
        "at 2.500 s round trip is 0.0400 s",
    ),
    "rtt of no path": (
        expect(at=0.9, node="desk", peer="laptop", rtt_at_most=0.039),
        "at 0.900 s round trip is not known",
    ),
    "path MTU": (
        expect(at=2.5, node="desk", peer="laptop", path_mtu=1400),
        "at 2.500 s path MTU is 1500",
    ),
    "path MTU of no path": (
        expect(at=0.9, node="desk", peer="laptop", path_mtu=1500),
        "at 0.900 s path MTU is not known",
    ),
    "nat": (
        expect(at=2.0, node="desk", mapping="dependent", udp="blocked"),
        "at 2.000 s mapping is endpoint_independent, udp is open",
    ),
    "announcement": (expect(at=2.0, node="desk", announcement="stale"), "announcement is acknowledged"),
    "note": (expect(at=2.0, node="desk", note="another process"), "at 2.000 s it has no notes"),
    "first": (expect(who="desk", to="laptop", first_within=0.05), ": the first came after 0."),
    "hole": (expect(who="desk", to="laptop", longest_hole=0.05), ": nothing arrived for 0.1"),
    "too few": (expect(who="desk", to="laptop", arrived_at_least=21), ": 20 of 20 arrived"),
    "too many": (expect(who="desk", to="laptop", arrived_at_most=19), ": 20 of 20 arrived"),
    "a share": (expect(who="desk", to="laptop", lost_share_at_most=0.0, after=4.0), ": nothing was sent"),
    "small records": (
        expect(who="desk", to="laptop", fragments_at_least=2),
        ": the largest record had 1 datagrams",
    ),
    "large records": (
        expect(who="desk", to="laptop", fragments_at_most=0),
        ": the largest record had 1 datagrams",
    ),
    "traffic that was not sent": (expect(who="laptop", to="desk", lost_at_most=0), ": nothing was sent"),
    "too few signals": (
        expect(host="desk", signal="connect", at_least=2),
        "signals host='desk' signal='connect' at_least=2: it was said 1 times (1.000)",
    ),
    "too many signals": (expect(host="desk", signal="announce", at_most=0), "it was said 2 times (0.120, 0.210)"),
    "signals at another time": (
        expect(host="desk", signal="connect", before=1.0, at_least=1),
        "it was said 0 times (never)",
    ),
}


@pytest.mark.parametrize("what", MET)
def test_what_holds_is_no_failure(what: str) -> None:
    assert failures_of(MET[what]) == ()


@pytest.mark.parametrize("what", OTHERWISE)
def test_what_does_not_hold_is_told(what: str) -> None:
    block, told = OTHERWISE[what]
    failures = failures_of(block)
    assert len(failures) == 1
    assert told in failures[0]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("moment", [{"by": 5.0}, {"at": 5.0}, {"since": 5.0}, {"by": 5.0, "after": 5.0}])
def test_what_must_hold_at_the_end_is_judged_in_whatever_order_tasks_wake(seed: int, moment: dict[str, float]) -> None:
    met = expect(node="desk", server="registered", **moment)
    otherwise = expect(node="desk", server="backing_off", **moment)
    assert run_scenario(pair(met), seed).failures == ()
    assert len(run_scenario(pair(otherwise), seed).failures) == 1


def test_what_is_lost_is_counted_and_nothing_that_arrives_is_a_failure_of_its_own() -> None:
    lost = expect(who="desk", to="laptop", lost_at_most=0)
    first = expect(who="desk", to="laptop", first_within=1.0)
    told = run_scenario(pair(do(0.5, "kill", who="laptop"), TALK, lost, first, length=6.0), 0).failures
    assert [failure.partition(": ")[2] for failure in told] == ["20 of 20 were lost", "nothing arrived"]


def test_a_node_that_has_ended_is_not_what_is_expected() -> None:
    told = run_scenario(pair(KILL, expect(at=3.0, node="laptop", server="registered")), 0).failures
    assert told == ("node at=3.0 node='laptop' server='registered': at 3.000 s laptop does not run",)


def test_by_counts_from_after_on_and_not_before() -> None:
    """Else what held before the fault would count as what came back after it."""
    cut = do(2.0, "stop", who="laptop")
    held = expect(by=4.0, node="desk", peer="laptop", state="connected")
    again = expect(by=4.0, after=3.0, node="desk", peer="laptop", state="connected")
    assert run_scenario(pair(TALK, cut, held), 0).failures == ()
    assert len(run_scenario(pair(TALK, cut, again), 0).failures) == 1


def test_what_is_true_for_a_moment_only_is_not_kept() -> None:
    steady = expect(since=1.5, until=4.5, node="desk", peer="laptop", state="connected")
    assert len(run_scenario(pair(TALK, do(2.0, "stop", who="laptop"), steady), 0).failures) == 1


def test_an_expectation_is_described_as_its_file_says_it() -> None:
    told = describe(ExpectPeer(by=3.0, node="desk", peer="laptop", state="connected"))
    assert told == "peer by=3.0 node='desk' peer='laptop' state='connected'"


FIRST_SHOWS = {
    "by": (expect(by=1.1, node="desk", peer="laptop", state="connected", path="direct"), 1.1, ("desk", "laptop")),
    "node": (expect(at=2.0, node="desk", mapping="dependent"), 2.0, ("desk",)),
    "lost, a second after it was sent": (expect(who="desk", to="laptop", lost_at_most=0), 3.0, ("desk", "laptop")),
    "a hole": (expect(who="desk", to="laptop", longest_hole=0.4), 2.9, ("desk", "laptop")),
    "a late first": (expect(who="desk", to="laptop", first_within=0.01), 1.2, ("desk", "laptop")),
    "too few": (expect(who="desk", to="laptop", arrived_at_least=100), 5.0, ("desk", "laptop")),
    "the second signal": (expect(host="desk", signal="announce", at_most=1), 0.21, ("desk",)),
    "a signal too few": (expect(host="desk", signal="announce", before=3.0, at_least=9), 3.0, ("desk",)),
}


@pytest.mark.parametrize("name", FIRST_SHOWS)
def test_a_failure_is_of_the_moment_in_which_it_showed_and_of_those_whom_it_is_about(name: str) -> None:
    block, at, about = FIRST_SHOWS[name]
    failure = run_scenario(pair(TALK, KILL, block), 0).failure
    assert failure is not None
    assert failure.about == about
    assert failure.at == pytest.approx(at, abs=0.03)
