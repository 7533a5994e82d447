"""Round trips and the retransmission timeout (RFC 6298)."""

from __future__ import annotations

from math import inf

import pytest

from tunnel.ip_stack.tcp.rtt import RttEstimator


def test_before_a_sample_the_timeout_is_a_second() -> None:
    rtt = RttEstimator(0.2, 60.0)
    assert (rtt.rto, rtt.srtt, rtt.least) == (1.0, 0.0, inf)


def test_the_first_sample_sets_the_timeout_to_three_times_it() -> None:
    """SRTT = R, RTTVAR = R / 2, RTO = SRTT + 4 RTTVAR."""
    rtt = RttEstimator(0.2, 60.0)
    rtt.sample(0.1, 0.0)
    assert rtt.rto == pytest.approx(0.3)


def test_later_samples_count_an_eighth_and_a_quarter() -> None:
    rtt = RttEstimator(0.2, 60.0)
    rtt.sample(0.1, 0.0)
    rtt.sample(0.2, 0.0)
    assert rtt.srtt == pytest.approx(0.1125)
    assert rtt.rto == pytest.approx(0.1125 + 4 * (0.75 * 0.05 + 0.25 * 0.1))


@pytest.mark.parametrize(("sample", "rto"), [(1e-6, 0.2), (100.0, 60.0)])
def test_the_timeout_has_bounds(sample: float, rto: float) -> None:
    rtt = RttEstimator(0.2, 60.0)
    rtt.sample(sample, 0.0)
    assert rtt.rto == rto


def test_backoff_doubles_until_a_sample() -> None:
    rtt = RttEstimator(0.2, 60.0)
    rtt.sample(0.1, 0.0)
    rtt.back_off()
    rtt.back_off()
    assert rtt.rto == pytest.approx(1.2)
    for _ in range(100):
        rtt.back_off()
    assert rtt.rto == 60.0
    rtt.sample(0.1, 0.0)
    assert rtt.rto < 0.3


def test_the_least_round_trip_is_of_late() -> None:
    """A path may become longer, as when a relay takes over."""
    rtt = RttEstimator(0.2, 60.0)
    rtt.sample(0.01, 0.0)
    for second in range(1, 70):
        rtt.sample(0.2, float(second))
    assert rtt.least == 0.2
