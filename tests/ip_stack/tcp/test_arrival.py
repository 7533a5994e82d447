"""Segments in every state (RFC 9293 section 3.10.7, RFC 5961, RFC 7323)."""

from __future__ import annotations

import pytest
from tests.ip_stack.tcp.script import Said, Script

from tunnel.ip_stack.tcp.config import TcpConfig
from tunnel.ip_stack.tcp.errors import TcpError
from tunnel.machines.tcp_connection import TcpConnectionChart
from tunnel.wire.tcp import ACK, FIN, PSH, RST, SYN, URG

SYNCHRONIZED = (
    "established",
    "fin_wait_1",
    "fin_wait_2",
    "close_wait",
    "closing",
    "last_ack",
    "time_wait",
)
every_synchronized = pytest.mark.parametrize("state", SYNCHRONIZED)
PEER_NEXT = {"close_wait": 2, "closing": 2, "last_ack": 2, "time_wait": 2}
"""The peer's next offset: behind its FIN where it has sent one."""
OUR_NEXT = {"established": 1, "close_wait": 1}


def ours(state: str) -> int:
    return OUR_NEXT.get(state, 2)


def test_the_states_are_those_of_the_chart() -> None:
    assert {"listen", "syn_sent", "syn_received", "closed", *SYNCHRONIZED} == set(TcpConnectionChart.sends_of)


def test_an_active_open() -> None:
    """Figure 6 of the RFC."""
    script = Script()
    assert script.sent() == [Said("S", 0, 0, 0)]
    assert script.connection.state == "syn_sent"
    assert script.says(SYN | ACK, 0, 1, options=script.syn_options) == [Said(".", 1, 0, 1)]
    assert script.connection.state == "established"


def test_a_passive_open() -> None:
    script = Script(passive=True)
    assert script.sent() == [Said("S.", 0, 0, 1)]
    assert script.connection.state == "syn_received"
    assert script.says(ACK, 1, 1) == []
    assert script.connection.state == "established"


def test_a_simultaneous_open() -> None:
    """Figure 7 of the RFC."""
    script = Script()
    script.sent()
    assert script.says(SYN, 0, options=script.syn_options) == [Said("S.", 0, 0, 1)]
    assert script.connection.state == "syn_received"
    assert script.says(SYN | ACK, 0, 1, options=script.syn_options) == [Said(".", 1, 0, 1)]
    assert script.connection.state == "established"


def test_the_acknowledgment_of_the_handshake_may_carry_data_and_fin() -> None:
    script = Script(passive=True)
    script.sent()
    script.says(ACK | FIN, 1, 1, b"all")
    assert script.connection.state == "close_wait"
    assert script.connection.receive(10) == b"all"
    assert script.connection.eof


def test_a_repeated_syn_is_answered_again() -> None:
    """Our SYN-ACK was lost."""
    script = Script(passive=True)
    script.sent()
    assert script.says(SYN, 0, options=script.syn_options) == [Said("S.", 0, 0, 1)]


@pytest.mark.parametrize("flags", [ACK, SYN | ACK])
def test_an_acknowledgment_of_what_was_never_sent_is_reset_before_the_connection_stands(flags: int) -> None:
    """Figure 8: an old duplicate; the RST has the number that was acknowledged."""
    script = Script()
    script.sent()
    assert script.says(flags, 0, 77) == [Said("R", 77, 0, 0)]
    assert script.connection.state == "syn_sent"
    passive = Script(passive=True)
    passive.sent()
    assert passive.says(ACK, 1, 77) == [Said("R", 77, 0, 0)]
    assert passive.connection.state == "syn_received"


def test_a_refused_connection_says_so() -> None:
    script = Script().reach("syn_sent")
    assert script.says(RST | ACK, 0, 1) == []
    assert script.connection.error is TcpError.REFUSED
    assert script.connection.is_closed


@pytest.mark.parametrize(("flags", "ack"), [(RST, 1), (RST | ACK, 0), (RST | ACK, 2), (ACK, 1), (FIN | ACK, 1)])
def test_what_does_not_answer_our_syn_changes_nothing(flags: int, ack: int) -> None:
    """A blind RST must know our number; a segment without SYN and RST says nothing."""
    script = Script().reach("syn_sent")
    assert script.says(flags, 0, ack) == []
    assert script.connection.state == "syn_sent"


@every_synchronized
def test_a_rst_with_the_expected_number_closes(state: str) -> None:
    script = Script().reach(state)
    assert script.says(RST, PEER_NEXT.get(state, 1), 1) == []
    assert script.connection.is_closed
    assert script.connection.error is (None if state == "time_wait" else TcpError.RESET)
    assert script.connection.deadline == float("inf")


def test_a_rst_does_not_take_what_came_before_a_fin() -> None:
    """All had arrived. A peer that is gone answers an old duplicate with RST (RFC 1337)."""
    script = Script().reach("fin_wait_2")
    script.says(FIN | ACK, 1, 2, b"last words")
    assert script.connection.state == "time_wait"
    script.says(RST, 12, 2)
    assert script.connection.is_closed
    assert script.connection.receive(20) == b"last words"
    assert script.connection.eof


@every_synchronized
def test_a_rst_elsewhere_in_the_window_is_challenged(state: str) -> None:
    """RFC 5961 section 3.2: a stranger would have to guess one number out of 2^32, not out of 2^32 / window."""
    script = Script().reach(state)
    there = PEER_NEXT.get(state, 1)
    assert script.says(RST, there + 10, 1) == [Said(".", ours(state), 0, there)]
    assert script.connection.state == state


@every_synchronized
def test_a_rst_outside_of_the_window_is_ignored(state: str) -> None:
    script = Script().reach(state)
    for offset in (0, -5, 5_000_000):
        assert script.says(RST, offset, 1) == []
    assert script.connection.state == state


@every_synchronized
@pytest.mark.parametrize("offset", [0, 1, 2, 100, 1_000_000_000])
def test_a_syn_is_challenged(state: str, offset: int) -> None:
    """RFC 5961 section 4: a true restart of the peer answers the challenge with RST."""
    script = Script().reach(state)
    assert script.says(SYN, offset) == [Said(".", ours(state), 0, PEER_NEXT.get(state, 1))]
    assert script.connection.state == state


def test_challenges_are_limited() -> None:
    """RFC 5961 section 7. They are allowed again after a while."""
    script = Script().establish()
    assert sum(len(script.says(SYN, 500)) for _ in range(100)) == 10
    script.now += 0.5
    assert sum(len(script.says(SYN, 500)) for _ in range(100)) == 5


@every_synchronized
def test_a_segment_without_ack_is_dropped(state: str) -> None:
    script = Script().reach(state)
    assert script.says(PSH, PEER_NEXT.get(state, 1), 0, b"data") == []
    assert script.connection.readable == 0


@every_synchronized
def test_an_acknowledgment_of_the_future_is_challenged_and_its_data_dropped(state: str) -> None:
    """RFC 9293 step five: "if the ACK acks something not yet sent, then send an ACK, drop the segment"."""
    script = Script().reach(state)
    there = PEER_NEXT.get(state, 1)
    assert script.says(ACK, there, 1000, b"x") == [Said(".", ours(state), 0, there)]
    assert script.connection.readable == 0


def test_a_very_old_acknowledgment_is_challenged() -> None:
    """RFC 5961 section 5.2: data with one is injected blindly."""
    script = Script().establish()
    assert script.says(ACK, 1, -100_000, b"evil") == [Said(".", 1, 0, 1)]
    assert script.connection.readable == 0


def test_data_with_an_old_acknowledgment_is_taken() -> None:
    """It only came late."""
    script = Script().establish()
    script.connection.send(b"x" * 100)
    script.sent()
    script.says(ACK, 1, 101)
    script.says(ACK, 1, 50, b"late")
    assert script.connection.receive(10) == b"late"


def test_data_that_lies_before_the_window_in_part_is_trimmed() -> None:
    script = Script().establish()
    script.says(ACK, 1, 1, b"abc")
    script.says(ACK, 1, 1, b"abcdef")
    assert script.connection.receive(10) == b"abcdef"


def test_data_beyond_the_window_is_trimmed() -> None:
    config = TcpConfig(receive_buffer=4000)
    script = Script(config).establish()
    script.says(ACK, 1, 1, b"x" * 10_000)
    assert script.connection.readable == config.receive_buffer
    assert script.says(ACK, 1 + config.receive_buffer, 1, b"y") == [Said(".", 1, 0, 1 + config.receive_buffer)]


def test_a_segment_outside_of_the_window_is_answered_with_what_is_expected() -> None:
    script = Script().establish()
    assert script.says(ACK, 10_000_000, 1, b"x") == [Said(".", 1, 0, 1)]
    assert script.says(ACK, 0, 1) == [Said(".", 1, 0, 1)]  # a keepalive probe


def test_urgent_data_is_data() -> None:
    """RFC 6093: the urgent pointer is ignored."""
    script = Script().establish()
    script.says(ACK | URG, 1, 1, b"urgent")
    assert script.connection.receive(10) == b"urgent"


def test_a_fin_waits_for_what_comes_before_it() -> None:
    script = Script().establish()
    assert script.says(FIN | ACK, 4, 1) == [Said(".", 1, 0, 1)]
    assert script.connection.state == "established"
    assert script.says(ACK, 1, 1, b"abc") == [Said(".", 1, 0, 5)]
    assert script.connection.state == "close_wait"


def test_nothing_is_taken_behind_a_fin() -> None:
    script = Script().establish()
    script.says(FIN | ACK, 1, 1, b"end")
    script.says(ACK, 5, 1, b"more")
    assert script.connection.receive(10) == b"end"
    assert script.connection.eof


def test_a_simultaneous_close() -> None:
    """Figure 13 of the RFC."""
    script = Script().establish()
    script.connection.shutdown()
    assert script.sent() == [Said(".F", 1, 0, 1)]
    assert script.says(FIN | ACK, 1, 1) == [Said(".", 2, 0, 2)]
    assert script.connection.state == "closing"
    assert script.says(ACK, 2, 2) == []
    assert script.connection.state == "time_wait"


def test_fin_and_acknowledgment_of_ours_at_once_end_in_time_wait() -> None:
    script = Script().reach("fin_wait_1")
    assert script.says(FIN | ACK, 1, 2) == [Said(".", 2, 0, 2)]
    assert script.connection.state == "time_wait"


def test_time_wait_acknowledges_a_repeated_fin_and_begins_anew() -> None:
    script = Script().reach("time_wait")
    script.after(59.0)
    assert script.says(FIN | ACK, 1, 2) == [Said(".", 2, 0, 2)]
    script.after(59.0)
    assert script.connection.state == "time_wait"
    script.after(1.1)
    assert script.connection.is_closed
    assert script.connection.error is None


def test_an_old_timestamp_is_not_accepted() -> None:
    """PAWS (RFC 7323 section 5.3): the segment is of a time before the numbers wrapped."""
    script = Script(timestamps=True).establish()
    script.says(ACK, 1, 1, b"abc", stamp=5000)
    assert script.says(ACK, 4, 1, b"old", stamp=4999) == [Said(".", 1, 0, 4)]
    assert script.connection.receive(10) == b"abc"
    script.says(ACK, 4, 1, b"new", stamp=5000)
    assert script.connection.receive(10) == b"new"


def test_paws_does_not_apply_to_a_rst() -> None:
    """RFC 7323 section 5.2: it may be of a process that knows no timestamps."""
    script = Script(timestamps=True).establish()
    script.says(RST, 1, 1, stamp=1)
    assert script.connection.error is TcpError.RESET


def test_a_timestamp_of_many_days_ago_says_nothing() -> None:
    """RFC 7323 section 5.5: the peer's clock may have wrapped while nobody spoke."""
    script = Script(timestamps=True).establish()
    script.now += 25 * 86_400
    script.says(ACK, 1, 1, b"abc", stamp=script.stamp - 5)
    assert script.connection.receive(10) == b"abc"


def test_a_segment_without_the_agreed_timestamp_is_dropped() -> None:
    """RFC 7323 section 3.2."""
    script = Script(timestamps=True).establish()
    assert script.says(ACK, 1, 1, b"abc", options=b"") == []
    assert script.connection.readable == 0


def test_the_timestamp_is_echoed_of_the_segment_that_moved_the_window() -> None:
    """RFC 7323 section 4.3: not that of a segment beyond a gap, or round trips would be measured too short."""
    script = Script(timestamps=True).establish()
    script.says(ACK, 100, 1, b"x", stamp=9000)
    assert script.last[0].echo == script.stamp
    script.says(ACK, 1, 1, b"y" * 99, stamp=8000)
    assert script.last[0].echo == 8000
