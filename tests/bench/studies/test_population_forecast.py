from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import pytest
from bench.studies.population_draw import SIDES, draw_pair
from bench.studies.population_forecast import Forecast, forecast
from bench.studies.population_mix import FILE, read_mix

from tunnel.verify.reachability.nat_chain import nat_chains
from tunnel.verify.reachability.oracle import Cause, Possibility, direct_path_possible
from tunnel.verify.simulation.scenarios.library import simulations_folder

MIX = read_mix(simulations_folder() / FILE)


@pytest.fixture(scope="module")
def with_ipv6() -> Forecast:
    return forecast(MIX)


def test_the_shares_are_those_of_the_whole(with_ipv6: Forecast) -> None:
    assert sum(with_ipv6.verdicts.values()) == pytest.approx(1.0)
    assert sum(with_ipv6.share(possibility) for possibility in Possibility) == pytest.approx(1.0)


def test_plain_punching_gets_what_was_measured_in_the_wild(with_ipv6: Forecast) -> None:
    """libp2p measured 70 % +-7.1 of 4.4 million attempts (arXiv 2510.27500): else the population is wrong."""
    assert 0.66 <= forecast(MIX, ipv6=False).share(Possibility.PLAIN) <= 0.78
    assert 0.66 <= with_ipv6.share(Possibility.PLAIN) <= 0.78


def test_blocked_udp_is_simple_arithmetic(with_ipv6: Forecast) -> None:
    assert with_ipv6.share(Cause.UDP_BLOCKED) == pytest.approx(1.0 - 0.96**2)


def test_without_ipv6_the_shares_are_those_of_a_back_of_the_envelope() -> None:
    """Hard x hard, and hard x strictly filtered, of the shares that the file's numbers give by hand."""
    dependent_home = 0.02
    dependent_behind_carrier = 1.0 - (1.0 - 0.02) * (1.0 - 0.11)
    hard = 0.7 * (0.83 * dependent_home + 0.17 * dependent_behind_carrier) + 0.3 * 0.92 * 0.40
    found = forecast(MIX, ipv6=False)
    both_hard = found.share(Cause.BOTH_HARD) + found.share(Cause.PORTS_IN_REACH)
    assert both_hard == pytest.approx(0.96**2 * hard**2, rel=0.001)
    strict = 0.7 * (0.83 * 0.98 * 0.8 + 0.17 * 0.98 * 0.89 * (1 - 0.2**2)) + 0.3 * (0.92 * 0.6 * 0.8 + 0.08 * 0.5)
    assert found.share(Cause.ONE_PORT_UNKNOWN) == pytest.approx(0.96**2 * 2 * hard * strict, rel=0.001)


def test_what_is_drawn_agrees_with_what_is_forecast(with_ipv6: Forecast) -> None:
    pairs = 2500
    drawn = Counter(
        direct_path_possible(*nat_chains(draw_pair(MIX, random.Random(f"{number}/pair")), *SIDES)).possibility
        for number in range(pairs)
    )
    for possibility in Possibility:
        assert drawn[possibility] / pairs == pytest.approx(with_ipv6.share(possibility), abs=0.025)


def test_asking_the_gateway_for_a_port_only_ever_helps(with_ipv6: Forecast) -> None:
    asked = forecast(MIX, maps_port=True)
    assert asked.share(Possibility.PLAIN) > with_ipv6.share(Possibility.PLAIN) + 0.02
    assert asked.share(Possibility.IMPOSSIBLE) < with_ipv6.share(Possibility.IMPOSSIBLE)


def test_a_population_without_hard_nats_needs_no_tactics() -> None:
    easy = replace(MIX, dependent=replace(MIX.dependent, home=0.0, fixed_carrier=0.0, mobile_carrier=0.0))
    found = forecast(easy, ipv6=False)
    assert found.share(Possibility.TACTICS) == 0.0
    assert found.share(Possibility.PLAIN) == pytest.approx(0.96**2)
