"""One end of a TCP connection: the states of RFC 9293 section 3.3.2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from statemachine import State

from tunnel.machines.chart import NOTHING, Chart


class TcpConnectionChart(Chart):
    """Where one end of a TCP connection is (RFC 9293 section 3.3.2, figure 5).

    It begins in `listen`; an active open leaves it at once. What the RFC calls CLOSE is `shutdown`: our FIN follows our
    data. A `shutdown` before the handshake is done waits for its end (section 3.10.4), so `syn_received` has no arrow
    to `fin_wait_1`. `close` is a RST in either direction, or the end of a timeout. A listener goes on by itself: the
    connection that it made is closed where the RFC returns to LISTEN.
    """

    listen = State(initial=True)
    syn_sent = State()
    syn_received = State()
    established = State()
    fin_wait_1 = State()
    fin_wait_2 = State()
    close_wait = State()
    closing = State()
    last_ack = State()
    time_wait = State()
    closed = State(final=True)

    active_open = listen.to(syn_sent)
    syn = listen.to(syn_received) | syn_sent.to(syn_received)
    syn_ack = syn_sent.to(established)
    syn_acknowledged = syn_received.to(established)
    shutdown = established.to(fin_wait_1) | close_wait.to(last_ack)
    fin = established.to(close_wait) | fin_wait_1.to(closing) | fin_wait_2.to(time_wait) | time_wait.to(time_wait)
    fin_acknowledged = fin_wait_1.to(fin_wait_2) | closing.to(time_wait) | last_ack.to(closed)
    patience_ended = time_wait.to(closed)
    close = closed.from_(
        listen, syn_sent, syn_received, established, fin_wait_1, fin_wait_2, close_wait, closing, last_ack, time_wait
    )

    events_of: ClassVar[Mapping[str, frozenset[str]]] = {
        "listen": frozenset({"active_open", "syn"}),
        "syn_sent": frozenset({"syn", "syn_ack"}),
        "syn_received": frozenset({"syn_acknowledged"}),
        "established": frozenset({"shutdown", "fin"}),
        "fin_wait_1": frozenset({"fin", "fin_acknowledged"}),
        "fin_wait_2": frozenset({"fin"}),
        "close_wait": frozenset({"shutdown"}),
        "closing": frozenset({"fin_acknowledged"}),
        "last_ack": frozenset({"fin_acknowledged"}),
        "time_wait": frozenset({"fin"}),
        "closed": NOTHING,
    }
    sends_of: ClassVar[Mapping[str, frozenset[str]]] = {
        "listen": NOTHING,
        "syn_sent": frozenset({"syn"}),
        "syn_received": frozenset({"syn_ack", "ack"}),
        "established": frozenset({"ack", "data"}),
        "fin_wait_1": frozenset({"ack", "data", "fin"}),
        "fin_wait_2": frozenset({"ack"}),
        "close_wait": frozenset({"ack", "data"}),
        "closing": frozenset({"ack", "data", "fin"}),
        "last_ack": frozenset({"ack", "data", "fin"}),
        "time_wait": frozenset({"ack"}),
        "closed": NOTHING,
    }
