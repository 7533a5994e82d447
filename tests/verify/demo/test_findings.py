"""What a demo measures and promises."""

from __future__ import annotations

import pytest
import trio

from tunnel.verify.demo.findings import LONGEST_HOLE, Arrivals, Findings, duration, round_trips, throughput


def test_the_longest_gap_counts_from_where_it_began_and_while_it_is_open() -> None:
    arrivals = Arrivals()
    assert arrivals.longest(5.0) == 0.0, "nothing has come yet: there is no gap in it"
    for moment in (10.0, 10.5, 12.0, 12.1):
        arrivals.note(moment)
    assert arrivals.longest(12.2) == 1.5
    assert arrivals.longest(20.0) == pytest.approx(7.9)
    arrivals.begin(20.0)
    assert arrivals.longest(20.0) == 0.0
    arrivals.note(20.25)
    assert (arrivals.longest(20.3), arrivals.count) == (0.25, 5)


def test_an_expectation_holds_up_to_its_limit_and_never_when_it_never_came() -> None:
    findings = Findings()
    findings.note("throughput", "1 Mbit/s")
    assert findings.expect_within("hole", LONGEST_HOLE, LONGEST_HOLE)
    assert not findings.expect_within("hole", LONGEST_HOLE + 0.01, LONGEST_HOLE)
    assert not findings.expect_within("direct", None, 15.0)
    assert [line.measured for line in findings.failures] == ["2.51 s", "never"]


async def test_what_is_expected_soon_is_waited_for_no_longer(autojump_clock: trio.testing.MockClock) -> None:
    findings = Findings()

    async def come() -> float:
        await trio.sleep(2)
        return 1002.0

    assert await findings.expect_soon("it", come, 1000.0, 3.0)
    assert not await findings.expect_soon("it", come, 1000.0, 1.0)
    assert [line.measured for line in findings.lines] == ["2.00 s", "never"]
    assert trio.current_time() == pytest.approx(3.0)


def test_measures_are_told_as_people_say_them() -> None:
    assert [duration(0.0456), duration(1.234)] == ["46 ms", "1.23 s"]
    assert round_trips([0.003, 0.001, 0.0024]) == "2.4 ms (from 1.0 to 3.0)"
    assert round_trips([]) == "none answered"
    assert throughput(1_250_000, 2.0) == "5.0 Mbit/s"
