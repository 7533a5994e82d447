from __future__ import annotations

from dataclasses import replace

import pytest
from bench.studies.population import (
    Job,
    PairRun,
    Program,
    Region,
    run_pair,
    run_plainly,
    run_population,
    tally,
)
from bench.studies.population_mix import FILE, read_mix
from bench.studies.statistics import Share
from bench.studies.study import ONE, OTHER

from tunnel.model.settings import PUBLIC_STUN
from tunnel.verify.reachability.nat_chain import nat_chains
from tunnel.verify.reachability.oracle import Cause, Possibility, Verdict, direct_path_possible
from tunnel.verify.simulation.scenarios.library import simulations_folder

pytestmark = pytest.mark.no_cover  # whole runs: they would take three times as long

MIX = read_mix(simulations_folder() / FILE)
PLAIN = Verdict(Possibility.PLAIN, Cause.KNOWN_PORTS)
JOB = Job(MIX, 0, 0)
RUN = PairRun(
    job=JOB,
    verdict=PLAIN,
    detected=2,
    is_introduced=True,
    first_byte=0.1,
    direct=0.4,
    is_claimed=True,
    reason="none",
    probes=20,
    flows=4,
)


def test_our_nodes_get_what_the_oracle_says() -> None:
    """And carry the first bytes of every pair, direct or not."""
    runs = run_population([Job(MIX, 0, number) for number in range(6)], processes=1)
    for run in runs:
        assert run.failures == ()
        assert run.first_byte is not None
        assert run.relay_rtt is not None
        if run.verdict.cause is not Cause.UDP_BLOCKED:
            assert run.first_byte <= 2.5 * run.relay_rtt + 0.001, (
                "asked, agreed and confirmed in two, half a one for it"
            )
        assert run.is_introduced
        if run.verdict.possibility is not Possibility.TACTICS:
            assert (run.direct is not None) == (run.verdict.possibility is Possibility.PLAIN), run
    assert any(run.direct is not None for run in runs)


def test_plain_punching_leaves_hard_nats_to_the_relay_and_changes_nothing_else() -> None:
    """Runs in which no NAT is hard are not made again: they would be the same."""
    numbers = (5, 0, 1)
    runs = run_population([Job(MIX, 0, number, ipv6=False) for number in numbers], processes=1)
    assert [run.is_hard for run in runs] == [True, False, False]
    plain = run_plainly(runs, processes=1)
    assert [run.direct is None for run in plain] == [True, runs[1].direct is None, runs[2].direct is None]
    assert runs[0].direct is not None
    again = run_pair(replace(runs[1].job, guesses=False))
    assert replace(again, job=runs[1].job) == runs[1] == plain[1]


def test_all_programs_meet_the_same_pairs_in_all_regions() -> None:
    jobs = [Job(MIX, 3, 1, program, region) for program in Program for region in Region]
    assert len({repr(job.topology.hosts) for job in jobs}) == 1
    assert len({repr(job.topology.latencies) for job in jobs}) == 1


def test_a_region_blocks_public_servers_and_never_our_own() -> None:
    blocked = {region: len(region.blocked) for region in Region}
    assert blocked == {Region.OPEN: 0, Region.WITHOUT_GOOGLE: 3, Region.RESTRICTED: 8}
    assert all("google" in name for name in Region.WITHOUT_GOOGLE.blocked)
    assert set(Region.RESTRICTED.blocked) < {known.rpartition(":")[0] for known in PUBLIC_STUN}


@pytest.mark.parametrize("program", Program)
def test_the_same_job_is_the_same_run(program: Program) -> None:
    job = Job(MIX, 1, 4, program, Region.WITHOUT_GOOGLE)
    assert run_pair(job) == run_pair(job)


def test_the_tool_detects_less_where_google_is_blocked_and_we_do_not() -> None:
    topologies = {number: Job(MIX, 0, number).topology for number in range(20)}
    verdicts = {number: direct_path_possible(*nat_chains(each, ONE, OTHER)) for number, each in topologies.items()}
    number = next(number for number, verdict in verdicts.items() if verdict.cause is not Cause.UDP_BLOCKED)
    runs = {program: run_pair(Job(MIX, 0, number, program, Region.WITHOUT_GOOGLE)) for program in Program}
    assert {program: run.detected for program, run in runs.items()} == {
        Program.BEFORE: 0,
        Program.AFTER: 2,
        Program.OURS: 2,
    }


def test_counts_are_counted() -> None:
    impossible = Verdict(Possibility.IMPOSSIBLE, Cause.UDP_BLOCKED)
    relayed = replace(
        RUN, verdict=impossible, detected=1, direct=None, is_claimed=False, reason="udp_blocked", first_byte=0.3
    )
    found = tally([RUN, replace(RUN, direct=0.6), relayed, replace(relayed, failures=("crash",))])
    assert (found.detected, found.direct, found.claimed) == (Share(6, 8), Share(2, 4), Share(2, 4))
    assert found.seconds is not None
    assert found.seconds.count == 2
    assert found.seconds.p50 == pytest.approx(0.5)
    assert found.first_byte is not None
    assert found.first_byte.p50 == pytest.approx(0.2)
    assert found.reasons == {"udp_blocked": 2}
    assert found.verdicts == {PLAIN: Share(2, 2), impossible: Share(0, 2)}
    assert found.failures == ("pair 0: crash",)


def test_nothing_counted_is_no_number() -> None:
    found = tally([])
    assert found.direct == Share(0, 0)
    assert found.seconds is None


def test_without_ipv6_a_pair_is_otherwise_the_same() -> None:
    mix = read_mix(simulations_folder() / FILE)
    pairs = [(Job(mix, 1, number).topology, Job(mix, 1, number, ipv6=False).topology) for number in range(30)]
    assert any(":" in address for full, _ in pairs for host in full.hosts.values() for address in host.addresses)
    for full, bare in pairs:
        assert not any(":" in address for host in bare.hosts.values() for address in host.addresses)
        assert (full.routers, full.latencies) == (bare.routers, bare.latencies)
