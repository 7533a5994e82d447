"""The interface of a connection: opening, closing, timeouts, ICMP, and what it agrees on with its peer."""

from __future__ import annotations

from math import inf

import pytest
from tests.ip_stack.tcp.link import A_NUMBERS, A, B
from tests.ip_stack.tcp.script import Said, Script

from tunnel.ip_stack.tcp.config import TcpConfig
from tunnel.ip_stack.tcp.connection import TcpConnection
from tunnel.ip_stack.tcp.errors import IcmpError, TcpError
from tunnel.model.endpoint import Endpoint
from tunnel.wire.tcp import ACK, FIN, SYN, decode_tcp, encode_tcp

TOLD = ("syn_received", "established", "fin_wait_1", "fin_wait_2", "close_wait")
NOT_TOLD = ("syn_sent", "closing", "last_ack", "time_wait")


def test_the_first_syn_offers_everything() -> None:
    script = Script()
    script.sent()
    (syn,) = script.last
    assert (syn.mss, syn.window_scale, syn.sack_permitted) == (1360, 7, True)
    assert syn.timestamp is not None
    assert syn.window == 65535


def test_the_mss_of_ipv6_leaves_room_for_its_header() -> None:
    local, remote = Endpoint("fd00::1", 1), Endpoint("fd00::2", 2)
    connection = TcpConnection.connect(local, remote, TcpConfig(), A_NUMBERS, 0.0)
    (syn,) = connection.take_segments(0.0, 1000)
    assert decode_tcp(encode_tcp(1, 2, *syn[:5])).mss == 1340


def test_an_answer_offers_only_what_the_syn_offered() -> None:
    script = Script(passive=True, sack=False)
    script.sent()
    (answer,) = script.last
    assert (answer.mss, answer.window_scale, answer.sack_permitted, answer.timestamp) == (1360, None, False, None)


@pytest.mark.parametrize(("timestamps", "size"), [(False, 1000), (True, 988)])
def test_a_segment_has_no_more_than_the_peers_mss(timestamps: bool, size: int) -> None:
    """The option's bytes count (RFC 6691)."""
    script = Script(timestamps=timestamps).establish()
    script.connection.send(b"x" * 5000)
    (segment,) = script.connection.take_segments(script.now, 1 << 20)
    assert (segment.length, segment.segment_size) == (5000, size)


def test_a_peer_that_names_no_mss_gets_536_bytes() -> None:
    """RFC 9293 section 3.7.1."""
    script = Script()
    script.syn_options = b""
    script.establish()
    script.connection.send(b"x" * 2000)
    (segment,) = script.connection.take_segments(script.now, 1 << 20)
    assert segment.segment_size == 536


def test_a_tiny_mss_is_not_believed() -> None:
    """Else a hostile peer would make us send single bytes."""
    script = Script(mss=1).establish()
    script.connection.send(b"x" * 2000)
    (segment, *_) = script.connection.take_segments(script.now, 1 << 20)
    assert segment.segment_size == 88


def test_the_syn_is_sent_again_ever_more_slowly_and_given_up() -> None:
    script = Script()
    script.sent()
    times = []
    while not script.connection.is_closed:
        script.now = script.connection.deadline
        script.connection.timeout(script.now)
        if script.sent():
            times.append(script.now - 50)
    assert times == [1, 3, 7, 15, 31]
    assert script.now == 110
    assert script.connection.error is TcpError.TIMED_OUT


def test_data_may_be_sent_before_the_connection_stands() -> None:
    script = Script()
    assert script.connection.send(b"early") == 5
    script.connection.shutdown()
    script.sent()
    assert script.says(SYN | ACK, 0, 1, options=script.syn_options) == [Said(".F", 1, 5, 1)]
    assert script.connection.state == "fin_wait_1"


def test_a_half_closed_connection_still_receives() -> None:
    script = Script().reach("fin_wait_2")
    assert script.connection.send_room == 0
    assert script.connection.send(b"x") == 0
    script.says(ACK, 1, 2, b"answer")
    assert script.connection.receive(10) == b"answer"
    assert not script.connection.eof


def test_a_half_closed_connection_still_sends() -> None:
    script = Script().reach("close_wait")
    assert script.connection.eof
    script.connection.send(b"answer")
    assert script.sent() == [Said(".P", 1, 6, 2)]
    script.connection.shutdown()
    assert script.sent() == [Said(".F", 7, 0, 2)]
    script.says(ACK, 2, 8)
    assert script.connection.is_closed
    assert script.connection.error is None


def test_what_was_received_can_be_read_after_the_end() -> None:
    script = Script().establish()
    script.says(FIN | ACK, 1, 1, b"last words")
    script.connection.shutdown()
    script.sent()
    script.says(ACK, 12, 2)
    assert script.connection.is_closed
    assert script.connection.receive(20) == b"last words"
    assert script.connection.eof


def test_reading_after_the_end_says_nothing_to_the_peer() -> None:
    """However much room it makes: there is no connection any more whose window could open."""
    script = Script(TcpConfig(receive_buffer=8000)).establish()
    script.says(FIN | ACK, 1, 1, b"x" * 7999)
    script.connection.shutdown()
    script.sent()
    script.says(ACK, 8001, 2)
    assert script.connection.is_closed
    assert len(script.connection.receive(8000)) == 7999
    assert script.sent() == []


def test_shutdown_and_abort_twice_are_as_once() -> None:
    script = Script().establish()
    script.connection.shutdown()
    script.connection.shutdown()
    assert script.sent() == [Said(".F", 1, 0, 1)]
    script.connection.abort()
    script.connection.abort()
    script.connection.shutdown()
    script.connection.close()
    assert script.sent() == [Said(".R", 2, 0, 1)]


@pytest.mark.parametrize("state", TOLD)
def test_abort_tells_a_peer_that_does_not_know(state: str) -> None:
    """RFC 9293 section 3.10.5."""
    script = Script().reach(state)
    script.connection.abort()
    (said,) = script.sent()
    assert said.flags == ".R"
    assert script.connection.error is TcpError.ABORTED
    assert script.connection.deadline == inf


@pytest.mark.parametrize("state", NOT_TOLD)
def test_abort_says_nothing_where_there_is_nothing_to_tell(state: str) -> None:
    script = Script().reach(state)
    script.connection.abort()
    assert script.sent() == []
    assert script.connection.is_closed


def test_close_with_data_unread_resets() -> None:
    """RFC 9293 section 3.6.1: the peer must learn that not all was received."""
    script = Script().establish()
    script.says(ACK, 1, 1, b"unread")
    script.connection.close()
    assert [said.flags for said in script.sent()] == [".R"]


def test_data_that_comes_after_close_resets() -> None:
    script = Script().establish()
    script.connection.close()
    assert script.sent() == [Said(".F", 1, 0, 1)]
    assert [said.flags for said in script.says(ACK, 1, 2, b"more")] == [".R"]
    assert script.connection.error is TcpError.ABORTED


def test_a_closed_connection_does_not_wait_for_ever_for_the_peers_fin() -> None:
    script = Script().establish()
    script.connection.close()
    script.sent()
    script.says(ACK, 1, 2)
    assert script.connection.state == "fin_wait_2"
    script.after(59)
    assert script.connection.state == "fin_wait_2"
    script.after(2)
    assert script.connection.is_closed


def test_a_half_closed_connection_waits_for_ever() -> None:
    """Its user still receives."""
    script = Script(TcpConfig(keepalive_idle=None)).reach("fin_wait_2")
    assert script.connection.deadline == inf


def test_a_peer_that_acknowledges_nothing_is_given_up() -> None:
    script = Script(TcpConfig(user_timeout=20.0)).establish()
    script.connection.send(b"x")
    script.sent()
    script.after(19.9)
    assert script.connection.state == "established"
    (*_, last) = script.after(0.2)
    assert last.flags == ".R"
    assert script.connection.error is TcpError.TIMED_OUT


def test_an_icmp_error_explains_a_timeout_and_causes_none() -> None:
    """RFC 1122 section 4.2.3.9, RFC 5927: soft, however hard it sounds, once the connection stands."""
    script = Script(TcpConfig(user_timeout=20.0)).establish()
    script.connection.send(b"x")
    script.sent()
    for error in (IcmpError.UNREACHABLE, IcmpError.PORT_UNREACHABLE, IcmpError.PROHIBITED):
        script.connection.handle_icmp(error, A_NUMBERS.sequence + 1, 0)
    assert script.connection.state == "established"
    script.after(21)
    assert script.connection.error is TcpError.UNREACHABLE


@pytest.mark.parametrize(
    ("icmp", "error"),
    [
        (IcmpError.UNREACHABLE, TcpError.UNREACHABLE),
        (IcmpError.PROHIBITED, TcpError.UNREACHABLE),
        (IcmpError.PORT_UNREACHABLE, TcpError.REFUSED),
    ],
)
def test_an_icmp_error_ends_an_open(icmp: IcmpError, error: TcpError) -> None:
    """RFC 5461: whoever connects wants to know at once."""
    script = Script().reach("syn_sent")
    script.connection.handle_icmp(icmp, A_NUMBERS.sequence, 0)
    assert script.connection.error is error


def test_an_icmp_error_about_nothing_in_flight_is_ignored() -> None:
    """RFC 5927 section 4.1: a stranger does not know the numbers."""
    script = Script().reach("syn_sent")
    script.connection.handle_icmp(IcmpError.UNREACHABLE, A_NUMBERS.sequence + 1, 0)
    assert script.connection.state == "syn_sent"
    script = Script().establish()
    script.connection.handle_icmp(IcmpError.PACKET_TOO_BIG, A_NUMBERS.sequence + 1, 576)
    script.connection.send(b"x" * 2000)
    (segment,) = script.connection.take_segments(script.now, 1 << 20)
    assert segment.segment_size == 1000


def test_packet_too_big_sends_smaller_segments_again_at_once() -> None:
    """RFC 1191 section 6: without a timeout, and the congestion window stays."""
    script = Script(mss=1360).establish()
    script.connection.send(b"x" * 4000)
    script.sent()
    window = script.connection.congestion_window
    script.connection.handle_icmp(IcmpError.PACKET_TOO_BIG, A_NUMBERS.sequence + 1, 640)
    again = script.connection.take_segments(script.now, 1 << 20)
    assert sum(segment.length for segment in again) == 4000
    assert {segment.segment_size for segment in again} == {600}
    assert script.connection.congestion_window == window


@pytest.mark.parametrize(("told", "believed"), [(10, 512), (68, 512), (9000, 1360)])
def test_an_mtu_that_cannot_be_is_not_believed(told: int, believed: int) -> None:
    script = Script(mss=1360).establish()
    script.connection.send(b"x" * 4000)
    script.sent()
    script.connection.handle_icmp(IcmpError.PACKET_TOO_BIG, A_NUMBERS.sequence + 1, told)
    script.connection.send(b"x" * 4000)
    (segment, *_) = script.connection.take_segments(script.now, 1 << 20)
    assert segment.segment_size == believed


def test_an_mtu_that_grows_again_is_used() -> None:
    script = Script(TcpConfig(mtu=1400), mss=1460).establish()
    script.connection.change_mtu(1240)
    script.connection.change_mtu(1300)
    script.connection.send(b"x" * 4000)
    (segment,) = script.connection.take_segments(script.now, 1 << 20)
    assert segment.segment_size == 1260


def test_a_silent_peer_is_probed_and_given_up() -> None:
    """RFC 9293 section 3.8.4."""
    config = TcpConfig(keepalive_idle=100.0, keepalive_interval=10.0, keepalive_probes=3)
    script = Script(config).establish()
    assert script.after(99) == []
    assert script.after(2) == [Said(".", 0, 0, 1)]
    script.says(ACK, 1, 1)
    assert script.after(99) == []
    assert script.after(29) == [Said(".", 0, 0, 1)] * 3
    assert [said.flags for said in script.after(5)] == [".R"]
    assert script.connection.error is TcpError.TIMED_OUT


def test_time_wait_may_be_replaced_by_a_newer_syn_alone() -> None:
    """RFC 6191."""

    def syn(sequence: int, options: bytes = b"", flags: int = SYN) -> bool:
        segment = decode_tcp(encode_tcp(B.port, A.port, sequence & 0xFFFFFFFF, 0, flags, 65535, options))
        return script.connection.yields_to(segment)

    script = Script().reach("time_wait")
    there = (script.last[-1].acknowledgment) & 0xFFFFFFFF
    assert syn(there + 1)
    assert not syn(there)
    assert not syn(there - 1)
    assert not syn(there + 1, flags=SYN | ACK)
    script = Script(timestamps=True).reach("time_wait")
    assert syn(there - 1, b"\x01\x01\x08\x0a" + (script.stamp + 1).to_bytes(4) + bytes(4))
    assert not syn(there + 1, b"\x01\x01\x08\x0a" + (script.stamp - 1).to_bytes(4) + bytes(4))
    assert not TcpConnection.connect(A, B, TcpConfig(), A_NUMBERS, 0.0).yields_to(script.last[-1])


def test_a_timeout_that_is_called_too_early_does_nothing() -> None:
    script = Script().establish()
    script.connection.send(b"x")
    script.sent()
    deadline = script.connection.deadline
    script.connection.timeout(script.now)
    assert script.sent() == []
    assert script.connection.deadline == deadline
