from __future__ import annotations

from dataclasses import replace

from bench.studies.population import Job, Moment, PairRun, Program, Region
from bench.studies.population_forecast import Forecast
from bench.studies.population_mix import FILE, read_mix
from bench.studies.report_population import (
    comparison_text,
    population_strips,
    population_text,
    summary_text,
)

from tunnel.verify.reachability.oracle import Cause, Possibility, Verdict
from tunnel.verify.simulation.scenarios.library import simulations_folder

PLAIN = Verdict(Possibility.PLAIN, Cause.KNOWN_PORTS)
BLOCKED = Verdict(Possibility.IMPOSSIBLE, Cause.UDP_BLOCKED)
RUN = PairRun(
    job=Job(read_mix(simulations_folder() / FILE), 0, 0),
    verdict=PLAIN,
    detected=2,
    is_introduced=True,
    first_byte=0.125,
    direct=0.25,
    is_claimed=True,
    reason="none",
    probes=20,
    flows=4,
    relay_rtt=0.1,
)
RELAYED = replace(RUN, verdict=BLOCKED, detected=0, direct=None, is_claimed=False, reason="udp_blocked")


def test_a_share_stands_with_its_interval_and_what_was_expected() -> None:
    runs = [RUN, RUN, RUN, RELAYED]
    summary = summary_text([("IPv4 alone", runs, Forecast({PLAIN: 0.7, BLOCKED: 0.3}))])
    assert "| IPv4 alone | 4 | **75.0%** | 30.1% to 95.4% | 70.0% | 0.0% |" in summary
    text = population_text(runs)
    assert "| plain | known_ports | 3 | 100.0% | 43.9% to 100.0% |" in text
    assert "| the same, in round trips by way of the server | 1.25 | 1.25 | 1.25 |" in text
    assert "| direct path, s after the first packet | 0.25 | 0.25 | 0.25 |" in text
    assert "| the same, of pairs that plain punching can win | 0.25 | 0.25 | 0.25 |" in text
    assert "no direct path: 1 udp_blocked. Invariants broken: none." in text


def test_a_broken_invariant_is_told() -> None:
    assert "broken: pair 0: crash." in population_text([replace(RUN, failures=("crash",))])


def test_strips_are_by_what_the_oracle_said() -> None:
    strips = population_strips([RUN, RELAYED, RUN])
    assert [(strip.label, strip.values, strip.note) for strip in strips] == [
        ("impossible: udp blocked", (), "0 of 1 direct"),
        ("plain: known ports", (0.25, 0.25), "2 of 2 direct"),
    ]


def test_claims_stand_beside_runs_in_every_region() -> None:
    jobs = [
        Job(RUN.job.mix, 0, 0, program, region, moment) for region in Region for program in Program for moment in Moment
    ]
    runs = [replace(RUN, job=job, direct=None if job.program is Program.BEFORE else 0.25) for job in jobs]
    opened, *restricted = comparison_text(runs).split("### ")[1:]
    row = "| direct, settled | {} | 0.0% (0.0% to 79.3%) | {} | 100.0% (20.7% to 100.0%) | **100.0%"
    assert row.format("~40-50 %", "~70-80 %") in opened
    assert "| p50 to direct, at once |  |  |  | 0.25 s | **0.25 s** |" in opened
    assert len(restricted) == 2
    for part in restricted:
        assert row.format("~10 %", "~60-70 %") in part
