"""What is believed lost, and what is done about it (RFC 6298, RFC 6582, RFC 6675, RFC 6937, RFC 8985, RFC 3522)."""

from __future__ import annotations

from itertools import pairwise

import pytest
from tests.ip_stack.tcp.script import Said, Script

from tunnel.ip_stack.tcp.config import TcpConfig
from tunnel.wire.tcp import ACK, SYN

RTT = 0.1


def sending(segments: int = 10, *, sack: bool = True, timestamps: bool = False) -> Script:
    """A connection with a round trip of 100 ms and so many segments in flight, each sent by itself."""
    script = Script(TcpConfig(superpacket=1), sack=sack, timestamps=timestamps, mss=1000)
    script.sent()
    script.now += RTT
    script.says(SYN | ACK, 0, 1, options=script.syn_options)
    size = 988 if timestamps else 1000
    script.connection.send(b"x" * size * segments)
    flown = script.sent()
    while sum(said.length for said in flown) < size * segments:
        flown += script.after(0.001)
    script.now += RTT
    return script


def test_three_segments_beyond_a_gap_are_proof_of_a_loss() -> None:
    """As long as nothing was ever reordered on this path."""
    script = sending()
    assert script.says(ACK, 1, 1, sack=((1001, 2001),)) == []
    assert script.says(ACK, 1, 1, sack=((1001, 3001),)) == []
    assert script.says(ACK, 1, 1, sack=((1001, 4001),)) == [Said(".", 1, 1000, 1)]


def test_fewer_are_proof_after_a_quarter_of_a_round_trip() -> None:
    """RFC 8985: the reordering window."""
    script = sending()
    script.says(ACK, 1, 1, sack=((1001, 2001),))
    assert script.after(RTT / 4 - 0.005) == []
    assert script.after(0.01) == [Said(".", 1, 1000, 1)]


def test_the_window_is_reduced_once_in_an_episode() -> None:
    script = sending()
    before = script.connection.congestion_window
    for end in range(4001, 10_001, 1000):
        script.says(ACK, 1, 1, sack=((1001, 2001), (3001, end)))
        script.after(0.002)
    script.now += RTT
    script.says(ACK, 1, 10_001)
    assert script.connection.congestion_window == pytest.approx(0.7 * before, abs=1000)


def test_recovery_sends_about_as_much_as_arrives() -> None:
    """Proportional rate reduction: neither silence for half a window nor a burst."""
    script = sending()
    script.connection.send(b"x" * 100_000)
    sent = 0
    for end in range(4001, 10_001, 1000):
        sent += sum(said.length for said in script.says(ACK, 1, 1, sack=((1001, end),)))
        sent += sum(said.length for said in script.after(0.012))
    assert 5000 <= sent <= 7000


def test_a_retransmission_that_is_lost_is_sent_again_without_a_timeout() -> None:
    """RACK sees it by what was sent later and arrived."""
    script = sending()
    script.connection.send(b"x" * 20_000)
    again = script.says(ACK, 1, 1, sack=((1001, 6001),))
    assert again[0] == Said(".", 1, 1000, 1)
    script.after(0.05)
    script.now += RTT
    later = script.says(ACK, 1, 1, sack=((1001, 13_001),)) + script.after(0.06)
    assert Said(".", 1, 1000, 1) in later


def test_reordering_that_was_seen_is_waited_for() -> None:
    """After a late original no number of segments is proof at once."""
    script = sending(8)
    script.says(ACK, 1, 1, sack=((2001, 3001),))
    script.says(ACK, 1, 2001, sack=((2001, 3001),))
    script.says(ACK, 1, 3001)
    assert script.says(ACK, 1, 3001, sack=((4001, 8001),)) == []
    assert Said(".", 3001, 1000, 1) in script.after(RTT)


def test_the_tail_is_probed_after_two_round_trips() -> None:
    """RFC 8985 section 7: the last segment again, which brings a SACK block and with it the truth."""
    script = sending(3)
    script.now -= RTT
    assert script.after(2 * RTT - 0.01) == []
    assert script.after(0.02) == [Said(".P", 2001, 1000, 1)]
    script.now += RTT
    assert script.says(ACK, 1, 1, sack=((2001, 3001),)) == [Said(".", 1, 1000, 1)]
    script.now += RTT
    assert script.says(ACK, 1, 1001, sack=((2001, 3001),)) == [Said(".", 1001, 1000, 1)]


def test_a_probe_is_new_data_where_there_is_some() -> None:
    script = sending(10)
    script.connection.send(b"x" * 5000)
    assert script.sent() == []
    assert script.after(2 * RTT)[0] == Said(".", 10_001, 1000, 1)


def test_a_probe_that_repaired_a_loss_reduces_the_window() -> None:
    """RFC 8985 section 7.4: else a loss at the end of each flight would never be noticed."""
    script = sending(3)
    before = script.connection.congestion_window
    script.after(2 * RTT)
    script.says(ACK, 1, 3001)
    script.connection.send(b"x" * 1000)
    script.sent()
    script.now += RTT
    script.says(ACK, 1, 4001)
    assert script.connection.congestion_window < before


def test_a_probe_for_nothing_does_not() -> None:
    script = sending(3)
    script.after(2 * RTT)
    script.says(ACK, 1, 3001)
    before = script.connection.congestion_window
    script.says(ACK, 1, 3001, sack=((2001, 3001),))
    script.connection.send(b"x" * 1000)
    script.sent()
    script.now += RTT
    script.says(ACK, 1, 4001)
    assert script.connection.congestion_window >= before


def test_silence_is_a_timeout_that_doubles() -> None:
    script = Script().establish()
    script.connection.send(b"x")
    script.sent()
    times = []
    start = script.now
    while script.now < start + 100:
        script.now = script.connection.deadline
        script.connection.timeout(script.now)
        if script.sent():
            times.append(script.now - start)
    gaps = [later - sooner for sooner, later in pairwise(times)]
    assert times[0] >= 0.2
    assert all(later == pytest.approx(min(60, 2 * sooner), rel=0.01) for sooner, later in pairwise(gaps[2:]))


def test_after_a_timeout_the_window_is_one_segment_and_what_was_named_is_not_sent_again() -> None:
    script = sending(10)
    script.says(ACK, 1, 1, sack=((9001, 10_001),))
    script.now += 5
    script.connection.timeout(script.now)
    assert script.connection.congestion_window == 1000
    assert script.sent()[0] == Said(".", 1, 1000, 1)
    said = []
    for number in range(1001, 9001, 1000):
        script.now += RTT
        said += script.says(ACK, 1, number, sack=((9001, 10_001),)) + script.after(0.05)
    assert {again.offset for again in said} == set(range(1001, 9001, 1000))


def test_a_peer_that_threw_away_what_it_named_gets_it_again() -> None:
    """RFC 2018 section 8. Here the block begins at the acknowledged number, which proves it."""
    script = sending(4)
    script.says(ACK, 1, 1, sack=((1001, 4001),))
    script.now += RTT
    script.says(ACK, 1, 1001)
    said = script.after(3)
    assert {again.offset for again in said} >= {1001}


def test_a_timeout_for_nothing_is_undone() -> None:
    """Eifel: the echoed timestamp is of the original. A path that became slow must not cost the window."""
    script = sending(10, timestamps=True)
    before = script.connection.congestion_window
    echo = script.echo
    said = script.after(1.0)
    assert said[-1].offset == 1
    assert script.connection.congestion_window < 2000
    script.echo = echo
    script.says(ACK, 1, 1 + 988 * 2)
    assert script.connection.congestion_window >= before


def test_a_fast_retransmission_for_nothing_is_undone() -> None:
    script = sending(10, timestamps=True)
    before, echo = script.connection.congestion_window, script.echo
    script.says(ACK, 1, 1, sack=((989, 989 + 4 * 988),))
    script.after(0.01)
    script.echo = echo
    script.says(ACK, 1, 989 + 4 * 988)
    assert script.connection.congestion_window >= before


def test_a_peer_without_sack_is_served_by_duplicates() -> None:
    """NewReno: the first loss by three duplicates, the next by an acknowledgment of a part."""
    script = sending(10, sack=False)
    assert script.says(ACK, 1, 1) == script.says(ACK, 1, 1) == []
    assert script.says(ACK, 1, 1) == [Said(".", 1, 1000, 1)]
    script.now += RTT
    assert Said(".", 3001, 1000, 1) in script.says(ACK, 1, 3001) + script.after(0.05)


def test_data_is_no_duplicate_acknowledgment() -> None:
    """RFC 5681 section 2."""
    script = sending(10, sack=False)
    for offset in (1, 2, 3, 4):
        assert all(said.offset > 10_000 for said in script.says(ACK, offset, 1, b"y"))


@pytest.mark.parametrize("block", [(5, 5), (9, 3), (20_001, 30_001), (9001, 11_001), (-500, 0), (1, 1 << 30)])
def test_a_block_about_nothing_in_flight_is_ignored(block: tuple[int, int]) -> None:
    script = sending(10)
    assert script.says(ACK, 1, 1, sack=(block,)) == []
    script.says(ACK, 1, 10_001)
    assert script.connection.unacknowledged == 0


def test_a_superpacket_is_lost_and_sent_again_in_part() -> None:
    """Only the segments of it that a SACK block leaves out."""
    script = Script(mss=1000).establish()
    script.connection.send(b"x" * 10_000)
    assert script.sent() == [Said(".P", 1, 10_000, 1)]
    script.now += RTT
    said = script.says(ACK, 1, 1, sack=((3001, 10_001),)) + script.after(0.05)
    assert (said[0].offset, sum(each.length for each in said)) == (1, 3000)
