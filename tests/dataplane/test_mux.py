"""One registry says who takes what a packet holds."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from tests.dataplane.flows import open_flow

from tunnel.dataplane.flow import Flow
from tunnel.dataplane.mux import Mux
from tunnel.model.errors import MalformedFrame
from tunnel.wire.session_packets import Echo, Farewell, encode_control


def rest(flow: Flow, packets: Sequence[bytes]) -> None: ...


def inbox(flow: Flow, packets: Sequence[bytes]) -> None: ...


def test_neighbors_of_one_taker_are_handed_over_together_and_the_order_is_kept() -> None:
    mux = Mux(rest)
    mux.take_data(b"\x00", inbox)
    packets = [b"\x45a", b"\x60b", b"\x00c", b"\x00d", b"", b"\x45e"]
    assert list(mux.split(packets)) == [
        (rest, [b"\x45a", b"\x60b"]),
        (inbox, [b"\x00c", b"\x00d"]),
        (rest, [b"", b"\x45e"]),
    ]
    assert [(taker, list(taken)) for taker, taken in mux.split([b"\x00c"])] == [(inbox, [b"\x00c"])]


def test_a_control_message_goes_to_the_taker_of_its_kind_else_to_the_connection() -> None:
    mux, heard = Mux(rest), list[object]()
    mux.take_control(Farewell, lambda flow, message: heard.append((flow, message)))
    flow, life = open_flow()
    mux.hear(flow, encode_control(Farewell()))
    mux.hear(flow, encode_control(Echo(bytes(8))))
    assert heard == [(flow, Farewell())]
    assert life.told == [Echo(bytes(8))]


def test_what_is_no_control_message_is_malformed() -> None:
    flow, life = open_flow()
    with pytest.raises(MalformedFrame):
        Mux(rest).hear(flow, b"\xff")
    assert life.told == []
