from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnel.model.errors import MalformedFrame
from tunnel.model.transport import Transport
from tunnel.wire.nat_pmp import (
    PmpAddress,
    PmpAddressRequest,
    PmpAnswer,
    PmpCode,
    PmpMapped,
    PmpMapRequest,
    PmpRefusal,
    PmpRequest,
    PmpUnknown,
    decode_pmp_answer,
    decode_pmp_request,
    encode_pmp_answer,
    encode_pmp_request,
    pmp_lost_mappings,
)

PORTS = st.integers(0, 0xFFFF)
WORDS = st.integers(0, 0xFFFFFFFF)
TRANSPORTS = st.sampled_from(Transport)
CODES = st.sampled_from(PmpCode).filter(bool) | st.integers(6, 0xFFFF)
REQUESTS = st.just(PmpAddressRequest()) | st.builds(PmpMapRequest, TRANSPORTS, PORTS, PORTS, WORDS)
ANSWERS = (
    st.builds(PmpAddress, WORDS, st.ip_addresses(v=4).map(str))
    | st.builds(PmpMapped, WORDS, TRANSPORTS, PORTS, PORTS, WORDS)
    | st.builds(PmpRefusal, CODES, st.sampled_from([0, *range(3, 128)]), WORDS)
    | st.builds(PmpRefusal, CODES, st.sampled_from([1, 2]), WORDS, PORTS)
)


@pytest.mark.parametrize(
    ("request_", "datagram"),
    [
        (PmpAddressRequest(), "00 00"),
        (PmpMapRequest(Transport.UDP, 5555, 41000, 7200), "00 01 0000 15b3 a028 00001c20"),
        (PmpMapRequest(Transport.TCP, 80, 0, 0), "00 02 0000 0050 0000 00000000"),
    ],
    ids=["the address", "a UDP port", "no TCP port any more"],
)
def test_a_request_is_these_bytes(request_: PmpRequest, datagram: str) -> None:
    """RFC 6886, sections 3.2 to 3.4."""
    assert encode_pmp_request(request_) == bytes.fromhex(datagram)
    assert decode_pmp_request(bytes.fromhex(datagram)) == request_


@pytest.mark.parametrize(
    ("answer", "datagram"),
    [
        (PmpAddress(600, "25.0.0.9"), "00 80 0000 00000258 19000009"),
        (PmpMapped(1, Transport.UDP, 5555, 41000, 7200), "00 81 0000 00000001 15b3 a028 00001c20"),
        (PmpRefusal(PmpCode.NETWORK_FAILURE, 0, 9), "00 80 0003 00000009 00000000"),
        (PmpRefusal(PmpCode.OUT_OF_RESOURCES, 2, 9, 80), "00 82 0004 00000009 0050 0000 00000000"),
        (PmpRefusal(PmpCode.UNSUPPORTED_OPCODE, 7, 9), "00 87 0005 00000009"),
        (PmpRefusal(77, 0, 9), "00 80 004d 00000009 00000000"),
    ],
    ids=["the address", "a mapping", "no address yet", "no port left", "an opcode of the future", "an unknown code"],
)
def test_an_answer_is_these_bytes(answer: PmpAnswer, datagram: str) -> None:
    """RFC 6886, sections 3.2, 3.3 and 3.5."""
    assert encode_pmp_answer(answer) == bytes.fromhex(datagram)
    assert decode_pmp_answer(bytes.fromhex(datagram)) == answer


def test_a_gateway_that_speaks_no_pcp_says_so_in_eight_bytes() -> None:
    """RFC 6887, appendix A: the answer to a PCP announcement, as an old gateway gives it."""
    refusal = decode_pmp_answer(bytes.fromhex("00 80 0001 00000009"))
    assert refusal == PmpRefusal(PmpCode.UNSUPPORTED_VERSION, 0, 9)


def test_a_request_of_the_future_is_told_apart_from_junk() -> None:
    """It has to be refused, not dropped (RFC 6886, section 3.5)."""
    assert decode_pmp_request(bytes.fromhex("00 03")) == PmpUnknown(3)


@pytest.mark.parametrize("datagram", ["00 01", "00 01 0000 15b3 a028 00001c"])
def test_a_request_that_ends_early_is_malformed(datagram: str) -> None:
    with pytest.raises(MalformedFrame):
        decode_pmp_request(bytes.fromhex(datagram))


@pytest.mark.parametrize(
    "datagram",
    ["00 80 0000 000002", "00 80 0000 00000258 190000", "00 81 0000 00000001 15b3 a028", "00 83 0000 00000001"],
    ids=["no header", "half an address", "half a mapping", "of an opcode that nobody sends"],
)
def test_an_answer_that_says_too_little_is_malformed(datagram: str) -> None:
    with pytest.raises(MalformedFrame):
        decode_pmp_answer(bytes.fromhex(datagram))


@given(REQUESTS, st.binary(max_size=4))
def test_every_request_comes_back_whatever_stands_behind_it(request_: PmpRequest, rest: bytes) -> None:
    assert decode_pmp_request(encode_pmp_request(request_) + rest) == request_


@given(ANSWERS, st.binary(max_size=4))
def test_every_answer_comes_back_whatever_stands_behind_it(answer: PmpAnswer, rest: bytes) -> None:
    if isinstance(answer, PmpRefusal) and answer.code in list(PmpCode):
        assert isinstance(answer.code, PmpCode)
    assert decode_pmp_answer(encode_pmp_answer(answer) + rest) == answer


@given(st.sampled_from([0, 1, 2]), st.binary(max_size=14))
def test_junk_is_an_answer_or_malformed(opcode: int, junk: bytes) -> None:
    datagram = bytes((0, 0x80 | opcode)) + junk
    try:
        answer = decode_pmp_answer(datagram)
    except MalformedFrame:
        return
    if not isinstance(answer, PmpRefusal):
        assert datagram.startswith(encode_pmp_answer(answer))


@pytest.mark.parametrize(
    ("later", "lost"),
    [(1100, False), (1088, False), (1085, True), (3, True), (5000, False)],
    ids=["on time", "a slow clock", "too slow", "anew", "ahead"],
)
def test_an_epoch_that_falls_behind_means_lost_mappings(later: int, lost: bool) -> None:
    """RFC 6886, section 3.6: a hundred seconds after it said 1000."""
    assert pmp_lost_mappings(1000, later, 100.0) is lost
