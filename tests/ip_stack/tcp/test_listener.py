"""The passive side: floods of SYNs, and connections that nobody takes."""

from __future__ import annotations

from tests.ip_stack.tcp.link import A, B

from tunnel.ip_stack.tcp.config import TcpConfig
from tunnel.ip_stack.tcp.connection import TcpConnection
from tunnel.ip_stack.tcp.initial_numbers import InitialNumberSource
from tunnel.ip_stack.tcp.listener import Listener
from tunnel.model.endpoint import Endpoint
from tunnel.wire.tcp import ACK, RST, SYN, decode_tcp, encode_tcp

NUMBERS = InitialNumberSource(bytes(16))


def open_one(listener: Listener, port: int = 1000, flags: int = SYN) -> TcpConnection | None:
    syn = decode_tcp(encode_tcp(port, B.port, 500, 0, flags, 65535))
    return listener.open(B, Endpoint(A.host, port), syn, 0.0)


def establish(listener: Listener, port: int = 1000) -> TcpConnection:
    connection = open_one(listener, port)
    assert connection is not None
    (answer,) = connection.take_segments(0.0, 1000)
    ack = encode_tcp(port, B.port, 501, answer.sequence + 1 & 0xFFFFFFFF, ACK, 65535)
    connection.handle(decode_tcp(ack), 0.0)
    assert listener.settle(connection)
    return connection


def test_connections_are_taken_in_the_order_in_which_they_were_established() -> None:
    listener = Listener(TcpConfig(), NUMBERS)
    first, second = establish(listener, 1), establish(listener, 2)
    assert (listener.half_open, listener.waiting) == (0, 2)
    assert listener.take() is first
    assert listener.take() is second
    assert listener.take() is None


def test_what_is_no_syn_opens_nothing() -> None:
    listener = Listener(TcpConfig(), NUMBERS)
    for flags in (ACK, RST, SYN | ACK, SYN | RST, 0):
        assert open_one(listener, flags=flags) is None


def test_a_half_open_connection_is_not_taken() -> None:
    listener = Listener(TcpConfig(), NUMBERS)
    connection = open_one(listener)
    assert connection is not None
    assert not listener.settle(connection)
    assert listener.take() is None


def test_a_flood_of_syns_costs_no_more_than_the_backlog_and_keeps_nobody_out() -> None:
    """The oldest give way, in silence."""
    listener = Listener(TcpConfig(), NUMBERS, backlog=10)
    flood = [open_one(listener, port) for port in range(1000)]
    assert listener.half_open == 10
    assert all(connection is not None and connection.is_closed for connection in flood[:990])
    assert all(connection is not None and connection.take_segments(0.0, 1000)[:1] for connection in flood[990:])
    assert listener.take() is None
    establish(listener, 5000)
    assert listener.take() is not None


def test_no_more_are_opened_while_nobody_takes_them() -> None:
    """Nothing is answered: the peer sends its SYN again, and may find room then."""
    listener = Listener(TcpConfig(), NUMBERS, backlog=3)
    for port in range(3):
        establish(listener, port)
    assert open_one(listener, 9) is None
    listener.take()
    assert open_one(listener, 9) is not None


def test_a_half_open_connection_that_fails_is_forgotten() -> None:
    listener = Listener(TcpConfig(), NUMBERS)
    connection = open_one(listener)
    assert connection is not None
    connection.handle(decode_tcp(encode_tcp(1000, B.port, 501, 0, RST, 0)), 0.0)
    assert connection.is_closed
    assert not listener.settle(connection)
    assert listener.half_open == 0


def test_an_established_connection_that_was_reset_meanwhile_is_not_given() -> None:
    listener = Listener(TcpConfig(), NUMBERS)
    connection = establish(listener)
    connection.handle(decode_tcp(encode_tcp(1000, B.port, 501, 0, RST, 0)), 0.0)
    assert listener.take() is None


def test_closing_aborts_what_nobody_has_taken() -> None:
    listener = Listener(TcpConfig(), NUMBERS)
    establish(listener, 1)
    open_one(listener, 2)
    left = listener.close()
    assert len(left) == 2
    assert all(connection.is_closed for connection in left)
    assert left[1].take_segments(0.0, 1000)[-1].flags == RST | ACK
