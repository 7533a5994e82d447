"""The two protocols on one port; what each of them says is in test_nat_pmp.py and test_pcp.py."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnel.model.errors import MalformedFrame
from tunnel.model.transport import Transport
from tunnel.wire.nat_pmp import PmpAddress, PmpAddressRequest, PmpCode, PmpMapped, PmpMapRequest, PmpRefusal
from tunnel.wire.pcp import ANYWHERE, PcpAnnounced, PcpAnnounceRequest, PcpCode, PcpMapped, PcpMapRequest, PcpRefusal
from tunnel.wire.port_control import (
    OtherVersion,
    PortAnswer,
    PortRequest,
    decode_port_answer,
    decode_port_request,
    encode_port_answer,
    encode_port_request,
)

HOST, NONCE = "192.168.1.7", bytes(12)


@pytest.mark.parametrize(
    "request_",
    [
        PmpAddressRequest(),
        PmpMapRequest(Transport.UDP, 1, 2, 3),
        PcpAnnounceRequest(HOST),
        PcpMapRequest(HOST, NONCE, Transport.TCP, 1, ANYWHERE, 3),
    ],
    ids=lambda request_: type(request_).__name__,
)
def test_a_request_is_told_by_its_version(request_: PortRequest) -> None:
    datagram = encode_port_request(request_)
    assert decode_port_request(datagram) == request_
    with pytest.raises(MalformedFrame):
        decode_port_answer(datagram)


@pytest.mark.parametrize(
    "answer",
    [
        PmpAddress(1, "25.0.0.9"),
        PmpMapped(1, Transport.UDP, 1, 2, 3),
        PmpRefusal(PmpCode.NOT_AUTHORIZED, 1, 1, 1),
        PcpAnnounced(1),
        PcpMapped(1, NONCE, Transport.TCP, 1, ANYWHERE, 3),
        PcpRefusal(PcpCode.NOT_AUTHORIZED, 1, 1, 30),
    ],
    ids=lambda answer: type(answer).__name__,
)
def test_an_answer_is_told_by_its_version(answer: PortAnswer) -> None:
    datagram = encode_port_answer(answer)
    assert decode_port_answer(datagram) == answer
    with pytest.raises(MalformedFrame):
        decode_port_request(datagram)


def test_a_request_in_another_version_is_to_be_refused() -> None:
    """RFC 6887, section 9: version 1 was a draft of PCP."""
    assert decode_port_request(bytes.fromhex("0101 0000")) == OtherVersion(1, 1)


@pytest.mark.parametrize("datagram", ["", "00", "0180 0000 00000000"], ids=["empty", "one byte", "version 1"])
def test_what_is_no_answer_of_either_is_malformed(datagram: str) -> None:
    with pytest.raises(MalformedFrame):
        decode_port_answer(bytes.fromhex(datagram))


@given(st.binary(max_size=80))
def test_junk_is_malformed_or_something_to_answer(junk: bytes) -> None:
    for decode in (decode_port_request, decode_port_answer):
        try:
            assert decode(junk) is not None
        except MalformedFrame:
            continue
