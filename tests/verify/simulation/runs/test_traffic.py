"""Traffic is reported as it was: lost, late, damaged, repeated."""

from __future__ import annotations

import pytest

from tunnel.verify.simulation.runs.traffic import Hole, Traffic, encode_datagram
from tunnel.verify.simulation.scenarios.action import LEAST_SIZE


def ten_sent() -> tuple[Traffic, list[bytes]]:
    traffic = Traffic("desk", "laptop")
    return traffic, [traffic.next_datagram(64, float(at)) for at in range(10)]


def test_what_arrives_is_told_by_its_number() -> None:
    traffic, datagrams = ten_sent()
    for at in (0, 1, 2, 5, 9):
        traffic.note_arrival(datagrams[at], at + 0.5)
    assert traffic.first_after == 0.5
    assert traffic.longest_hole() == Hole(4.0, ends=9.5)
    assert traffic.lost(100.0) == [4.0, 5.0, 7.0, 8.0, 9.0], "when each was given up"
    assert len(traffic.lost(8.5)) == 4, "the last two had no second to arrive yet"
    assert (traffic.damaged, traffic.repeated) == (0, 0)


def test_a_hole_at_the_end_is_a_hole() -> None:
    traffic, datagrams = ten_sent()
    traffic.note_arrival(datagrams[0], 0.1)
    assert traffic.longest_hole().length == pytest.approx(8.9)


def test_traffic_that_never_arrives_is_one_hole() -> None:
    traffic, _ = ten_sent()
    assert traffic.first_after is None
    assert traffic.longest_hole().length == 9.0


def test_a_datagram_that_comes_twice_or_changed_is_told() -> None:
    traffic, datagrams = ten_sent()
    traffic.note_arrival(datagrams[3], 3.1)
    traffic.note_arrival(datagrams[3], 3.2)
    traffic.note_arrival(datagrams[4][:-1] + b"x", 4.1)
    traffic.note_arrival(encode_datagram(10, 64), 4.2)
    traffic.note_arrival(b"", 4.3)
    assert (traffic.repeated, traffic.damaged, len(traffic.arrived)) == (1, 3, 1)


def test_the_smallest_datagram_holds_its_number() -> None:
    assert len(encode_datagram(7, LEAST_SIZE)) == LEAST_SIZE


def test_the_share_that_is_lost_is_of_what_was_sent_in_an_interval() -> None:
    traffic, datagrams = ten_sent()
    for at in (0, 1, 2, 5):
        traffic.note_arrival(datagrams[at], at + 0.5)
    assert traffic.lost_share(0.0, 3.0) == 0.0
    assert traffic.lost_share(2.0, 6.0) == 0.5
    assert traffic.lost_share(20.0, 30.0) is None
