"""One registry says who takes what a record holds."""

from __future__ import annotations

import pytest
from tests.dataplane.flows import open_flow

from tunnel.dataplane.flow import Flow
from tunnel.dataplane.mux import Mux
from tunnel.model.errors import MalformedFrame
from tunnel.wire.records import APPLICATION, BUNDLE
from tunnel.wire.session_packets import Echo, Farewell, encode_control


def rest(flow: Flow, plaintext: bytes) -> None: ...


def test_data_goes_to_the_taker_of_its_first_byte_else_to_the_rest() -> None:
    taken = list[tuple[str, Flow, bytes]]()
    mux = Mux(lambda flow, plaintext: taken.append(("rest", flow, plaintext)))
    mux.take_data(APPLICATION, lambda flow, plaintext: taken.append(("inbox", flow, plaintext)))
    flow, _ = open_flow()
    plaintexts = [b"\x45a", APPLICATION + b"b", BUNDLE + b"c", b"\x00d", b"", APPLICATION, b"\xff"]
    for plaintext in plaintexts:
        mux.deliver(flow, plaintext)
    takers = ["rest", "inbox", "rest", "rest", "rest", "inbox", "rest"]
    assert taken == [(taker, flow, plaintext) for taker, plaintext in zip(takers, plaintexts, strict=True)]


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
