"""Flow control and acknowledgments (RFC 9293 section 3.8.6, RFC 7323 section 2, RFC 2018, RFC 2883)."""

from __future__ import annotations

from itertools import pairwise
from math import inf

import pytest
from tests.ip_stack.tcp.script import Said, Script

from tunnel.ip_stack.tcp.config import TcpConfig
from tunnel.ip_stack.tcp.errors import TcpError
from tunnel.ip_stack.tcp.receiver import window_scale_for
from tunnel.wire.tcp import ACK, FIN


def test_a_single_segment_is_acknowledged_after_forty_milliseconds() -> None:
    script = Script().establish()
    assert script.says(ACK, 1, 1, b"x" * 1000) == []
    assert script.after(0.039) == []
    assert script.after(0.002) == [Said(".", 1, 0, 1001)]


def test_every_second_segment_is_acknowledged_at_once() -> None:
    script = Script().establish()
    script.says(ACK, 1, 1, b"x" * 1000)
    assert script.says(ACK, 1001, 1, b"x" * 1000) == [Said(".", 1, 0, 2001)]


def test_a_superpacket_is_acknowledged_at_once() -> None:
    script = Script().establish()
    assert script.says(ACK, 1, 1, b"x" * 30_000) == [Said(".", 1, 0, 30_001)]


def test_an_acknowledgment_rides_on_data() -> None:
    script = Script().establish()
    script.says(ACK, 1, 1, b"question")
    script.connection.send(b"answer")
    assert script.sent() == [Said(".P", 1, 6, 9)]
    assert script.after(0.1)[:1] != [Said(".", 7, 0, 9)]


def test_data_beyond_a_gap_is_acknowledged_at_once_with_a_block() -> None:
    script = Script().establish()
    assert script.says(ACK, 1001, 1, b"x" * 1000) == [Said(".", 1, 0, 1)]
    (left, right) = script.last[0].sack[0]
    assert right - left == 1000
    assert script.says(ACK, 3001, 1, b"x" * 1000) == [Said(".", 1, 0, 1)]
    assert len(script.last[0].sack) == 2
    assert script.says(ACK, 1, 1, b"x" * 1000) == [Said(".", 1, 0, 2001)]
    assert len(script.last[0].sack) == 1


def test_no_blocks_are_sent_to_a_peer_that_does_not_know_them() -> None:
    script = Script(sack=False).establish()
    script.says(ACK, 1001, 1, b"x" * 1000)
    assert script.last[0].sack == ()


def test_blocks_do_not_ride_on_data() -> None:
    """They would make a full segment longer than the MTU."""
    script = Script(timestamps=True).establish()
    script.connection.send(b"x" * 2000)
    said = script.says(ACK, 1001, 1, b"x" * 1000)
    assert said[0] == Said(".", 1, 0, 1)
    assert [bool(segment.sack) for segment in script.last] == [True] + [False] * (len(said) - 1)


@pytest.mark.parametrize("offset", [1, 1001])
def test_what_arrives_twice_is_told(offset: int) -> None:
    """DSACK: before the window and beyond a gap alike."""
    script = Script().establish()
    for _ in range(2):
        script.says(ACK, offset, 1, b"x" * 500)
        script.after(0.05)
    script.says(ACK, offset, 1, b"x" * 500)
    assert len(script.last) == 1
    left, right = script.last[0].sack[0]
    assert right - left == 500


def test_the_window_closes_when_nobody_reads_and_opens_again() -> None:
    script = Script(TcpConfig(receive_buffer=8000)).establish()
    assert script.says(ACK, 1, 1, b"x" * 8000) == [Said(".", 1, 0, 8001)]
    assert script.last[0].window == 0
    script.connection.receive(500)
    assert script.sent() == []  # a silly window would be offered
    script.connection.receive(8000)
    assert script.sent() == [Said(".", 1, 0, 8001)]
    assert script.last[0].window == 8000


@pytest.mark.parametrize("scale", [None, 7])
def test_reading_a_little_tells_the_peer_nothing(scale: int | None) -> None:
    """Its window is as large as it can be told."""
    script = Script(scale=scale).establish()
    for offset in range(1, 5001, 500):
        script.says(ACK, offset, 1, b"x" * 500)
        script.connection.receive(500)
        script.after(0.05)
    script.says(ACK, 5001, 1, b"x" * 500)
    script.after(0.05)
    assert script.connection.receive(500)
    assert script.sent() == []


def test_an_offered_window_is_never_taken_back() -> None:
    script = Script(TcpConfig(receive_buffer=8000)).establish()
    edges = []
    for offset in range(1, 8000, 100):
        script.says(ACK, offset, 1, b"x" * 100)
        edges += [segment.acknowledgment + segment.window for segment in script.last]
    assert edges == sorted(edges)


def test_the_window_grows_while_the_user_keeps_up() -> None:
    script = Script(scale=7).establish()
    first = 0
    for offset in range(1, 4_000_000, 50_000):
        script.says(ACK, offset, 1, b"x" * 50_000)
        first = first or script.last[-1].window << 7
        while script.connection.receive(1 << 20):
            pass
        script.sent()
    script.says(ACK, 4_000_001, 1, b"x" * 50_000)
    assert first <= 256 << 10
    assert script.last[-1].window << 7 > 3_900_000


@pytest.mark.parametrize(("capacity", "scale"), [(65535, 0), (65536, 1), (4 << 20, 7), (1 << 30, 14), (1 << 40, 14)])
def test_the_scale_is_the_least_that_suffices(capacity: int, scale: int) -> None:
    assert window_scale_for(capacity) == scale
    assert scale == 14 or capacity >> scale <= 0xFFFF


def test_the_window_of_the_peer_is_scaled_but_for_that_of_its_syn() -> None:
    script = Script(scale=2).establish(window=2000)
    script.connection.send(b"x" * 20_000)
    assert sum(said.length for said in script.sent()) == 2000
    script.says(ACK, 1, 2001, window=1000)
    assert sum(segment.length for segment in script.last) == 4000


def test_a_closed_window_is_probed_ever_more_slowly_and_as_long_as_it_is_answered() -> None:
    """RFC 9293 section 3.8.6.1. The user timeout is for peers that say nothing."""
    script = Script(TcpConfig(user_timeout=30.0)).establish(window=0)
    script.connection.send(b"data")
    assert script.sent() == []
    gaps, before = [], script.now
    for _ in range(10):
        script.now = script.connection.deadline
        script.connection.timeout(script.now)
        assert script.sent() == [Said(".", 0, 0, 1)]
        gaps.append(script.now - before)
        before = script.now
        script.says(ACK, 1, 1, window=0)
    assert all(later > 1.9 * sooner for sooner, later in pairwise(gaps[:7]))
    assert script.connection.state == "established"
    assert script.says(ACK, 1, 1, window=1000) == [Said(".P", 1, 4, 1)]


def test_a_closed_window_of_a_peer_that_is_gone_ends_the_connection() -> None:
    script = Script(TcpConfig(user_timeout=30.0)).establish(window=0)
    script.connection.send(b"data")
    script.sent()
    script.after(100)
    assert script.connection.error is TcpError.TIMED_OUT


def test_a_small_window_is_not_filled_at_once() -> None:
    """RFC 9293 section 3.8.6.2.1: else a window of some bytes makes segments of some bytes for ever."""
    script = Script().establish(window=5000)
    script.connection.send(b"x" * 10_000)
    script.sent()
    assert script.says(ACK, 1, 5001, window=100) == []
    assert script.after(0.3)[0] == Said(".", 5001, 100, 1)  # the window that stays small is used after a while


def test_half_of_the_largest_window_is_filled() -> None:
    script = Script().establish(window=1500)
    script.connection.send(b"x" * 10_000)
    assert sum(said.length for said in script.sent()) == 1000
    assert script.says(ACK, 1, 1001, window=900) == [Said(".", 1001, 900, 1)]


def test_a_window_that_shrinks_does_no_harm() -> None:
    script = Script().establish()
    script.connection.send(b"x" * 5000)
    script.sent()
    script.says(ACK, 1, 1, window=100)
    script.connection.send(b"x" * 5000)
    assert script.sent() == []
    script.says(ACK, 1, 5001, window=60_000)
    assert sum(segment.length for segment in script.last) == 5000


def test_an_old_segment_does_not_change_the_window() -> None:
    """RFC 9293: SND.WL1 and SND.WL2."""
    script = Script().establish()
    script.says(ACK, 1, 1, b"x" * 1000, window=50_000)
    script.says(ACK, 1001, 1, b"x" * 1000, window=50_000)
    script.says(ACK, 1, 1, b"x" * 2001, window=0)
    script.connection.send(b"x" * 100)
    assert script.sent()[-1].length == 100


def test_short_segments_leave_at_once_unless_nagle_is_wanted() -> None:
    script = Script().establish()
    script.connection.send(b"a")
    assert script.sent() == [Said(".P", 1, 1, 1)]
    script.connection.send(b"b")
    assert script.sent() == [Said(".P", 2, 1, 1)]


def test_with_nagle_a_short_segment_waits_for_an_acknowledgment() -> None:
    script = Script(TcpConfig(is_nagling=True)).establish()
    script.connection.send(b"a")
    assert script.sent() == [Said(".P", 1, 1, 1)]
    script.connection.send(b"b" * 1500)
    assert script.sent() == [Said(".", 2, 1000, 1)]
    assert script.says(ACK, 1, 2) == []
    assert script.says(ACK, 1, 1002) == [Said(".P", 1002, 500, 1)]


def test_a_fin_does_not_wait_for_nagle() -> None:
    script = Script(TcpConfig(is_nagling=True)).establish()
    script.connection.send(b"a")
    script.sent()
    script.connection.send(b"b")
    script.connection.shutdown()
    assert script.sent() == [Said(".F", 2, 1, 1)]


def test_the_send_buffer_is_bounded() -> None:
    script = Script(TcpConfig(least_buffer=10_000)).establish()
    assert script.connection.send(b"x" * 1_000_000) == script.connection.unacknowledged >= 10_000
    assert script.connection.send_room == 0
    assert script.connection.send(b"y") == 0


def test_the_budget_bounds_what_leaves_and_the_rest_is_due_at_once() -> None:
    script = Script().establish()
    script.connection.send(b"x" * 10_000)
    assert sum(said.length for said in script.sent(budget=3000)) == 3000
    assert script.connection.deadline <= script.now
    assert sum(said.length for said in script.sent()) == 7000


def test_nothing_is_due_when_all_is_acknowledged() -> None:
    script = Script(TcpConfig(keepalive_idle=None)).establish()
    script.connection.send(b"x" * 10_000)
    script.sent()
    script.says(ACK, 1, 10_001)
    assert script.connection.deadline == inf


def test_a_fin_needs_room_in_the_window() -> None:
    script = Script().establish(window=4)
    script.connection.send(b"data")
    script.connection.shutdown()
    assert script.sent() == [Said(".P", 1, 4, 1)]
    assert script.says(ACK, 1, 5, window=10) == [Said(".F", 5, 0, 1)]
    script.says(FIN | ACK, 1, 6)
    assert script.connection.state == "time_wait"
