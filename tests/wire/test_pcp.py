from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import MalformedFrame
from tunnel.model.transport import Transport
from tunnel.wire.pcp import (
    ANYWHERE,
    MAX_PCP,
    PcpAnnounced,
    PcpAnnounceRequest,
    PcpAnswer,
    PcpCode,
    PcpFaulty,
    PcpMapped,
    PcpMapRequest,
    PcpRefusal,
    PcpRequest,
    decode_pcp_answer,
    decode_pcp_request,
    encode_pcp_answer,
    encode_pcp_request,
    pcp_lost_mappings,
)

NONCE = bytes(range(12))
CLIENT = "192.168.1.7"
CLIENT_HEX = "00000000000000000000ffffc0a80107"
OUTSIDE_HEX = "00000000000000000000ffff19000009"
MAP_HEX = f"000102030405060708090a0b 11 000000 15b3 a028 {OUTSIDE_HEX}"
"""The operation: UDP port 5555 here is port 41000 of 25.0.0.9."""
NO_WISH_HEX = "000102030405060708090a0b 06 000000 0050 0000 00000000000000000000ffff00000000"
OUTSIDE = Endpoint("25.0.0.9", 41000)
MAP_HEAD = f"02 01 0000 00001c20 {CLIENT_HEX}"

PORTS = st.integers(0, 0xFFFF)
WORDS = st.integers(0, 0xFFFFFFFF)
HOSTS = st.ip_addresses().filter(lambda address: getattr(address, "ipv4_mapped", None) is None).map(str)
"""In the form that they come back in: IPv4 ones inside IPv6 ones are IPv4 ones."""
MAPS = (
    st.binary(min_size=12, max_size=12),
    st.sampled_from(Transport),
    PORTS,
    st.builds(Endpoint, HOSTS, PORTS),
    WORDS,
)
OPTIONS = (st.none() | HOSTS, st.booleans())
REQUESTS = st.builds(PcpAnnounceRequest, HOSTS) | st.builds(PcpMapRequest, HOSTS, *MAPS, *OPTIONS)
CODES = st.sampled_from(PcpCode).filter(bool) | st.integers(14, 255)
ANSWERS = (
    st.builds(PcpAnnounced, WORDS)
    | st.builds(PcpMapped, WORDS, *MAPS, *OPTIONS)
    | st.builds(PcpRefusal, CODES, st.integers(0, 127), WORDS, WORDS, st.binary(max_size=60))
)


@pytest.mark.parametrize(
    ("request_", "datagram"),
    [
        (PcpAnnounceRequest(CLIENT), f"02 00 0000 00000000 {CLIENT_HEX}"),
        (PcpAnnounceRequest("2001:db8::7"), "02 00 0000 00000000 20010db8000000000000000000000007"),
        (PcpMapRequest(CLIENT, NONCE, Transport.UDP, 5555, OUTSIDE, 7200), f"{MAP_HEAD} {MAP_HEX}"),
        (PcpMapRequest(CLIENT, NONCE, Transport.TCP, 80, ANYWHERE, 7200), f"{MAP_HEAD} {NO_WISH_HEX}"),
        (
            PcpMapRequest(CLIENT, NONCE, Transport.UDP, 5555, OUTSIDE, 7200, prefer_failure=True),
            f"{MAP_HEAD} {MAP_HEX} 02 00 0000",
        ),
        (
            PcpMapRequest(CLIENT, NONCE, Transport.UDP, 5555, OUTSIDE, 7200, third_party="192.168.1.9"),
            f"{MAP_HEAD} {MAP_HEX} 01 00 0010 00000000000000000000ffffc0a80109",
        ),
    ],
    ids=["announce", "announce over IPv6", "map", "map without a wish", "this one or none", "for another host"],
)
def test_a_request_is_these_bytes(request_: PcpRequest, datagram: str) -> None:
    """RFC 6887, sections 7.1, 11.1, 13.1 and 13.2."""
    assert encode_pcp_request(request_) == bytes.fromhex(datagram)
    assert decode_pcp_request(bytes.fromhex(datagram)) == request_


@pytest.mark.parametrize(
    ("answer", "datagram"),
    [
        (PcpAnnounced(600), f"02 80 00 00 00000000 00000258 {'00' * 12}"),
        (
            PcpMapped(600, NONCE, Transport.UDP, 5555, OUTSIDE, 7200),
            f"02 81 00 00 00001c20 00000258 {'00' * 12} {MAP_HEX}",
        ),
        (PcpRefusal(PcpCode.UNSUPP_VERSION, 0, 600, 1800), f"02 80 00 01 00000708 00000258 {'00' * 12}"),
        (
            PcpRefusal(PcpCode.CANNOT_PROVIDE_EXTERNAL, 1, 600, 30, bytes.fromhex(MAP_HEX)),
            f"02 81 00 0b 0000001e 00000258 {'00' * 12} {MAP_HEX}",
        ),
        (PcpRefusal(200, 1, 600, 30), f"02 81 00 c8 0000001e 00000258 {'00' * 12}"),
    ],
    ids=["announced", "mapped", "another version", "refused", "an unknown code"],
)
def test_an_answer_is_these_bytes(answer: PcpAnswer, datagram: str) -> None:
    """RFC 6887, sections 7.2, 7.4 and 11.1."""
    assert encode_pcp_answer(answer) == bytes.fromhex(datagram)
    assert decode_pcp_answer(bytes.fromhex(datagram)) == answer


def test_a_refusal_names_the_mapping_that_it_is_about() -> None:
    """Only by the nonce does a client know that it was asked for (RFC 6887, section 11.4)."""
    operation = bytes.fromhex(MAP_HEX)
    assert PcpRefusal(PcpCode.NO_RESOURCES, 1, 0, 0, operation).nonce == NONCE
    assert PcpRefusal(PcpCode.NO_RESOURCES, 1, 0, 0, operation[:20]).nonce is None
    assert PcpRefusal(PcpCode.UNSUPP_OPCODE, 2, 0, 0, operation).nonce is None


@pytest.mark.parametrize(
    ("datagram", "code"),
    [
        (f"{MAP_HEAD} {MAP_HEX} 00", PcpCode.MALFORMED_REQUEST),
        (f"{MAP_HEAD} {MAP_HEX[:-8]}", PcpCode.MALFORMED_REQUEST),
        (f"02 00 0000 00000000 {CLIENT_HEX}" + "80000000" * 270, PcpCode.MALFORMED_REQUEST),
        (f"02 02 0000 00001c20 {CLIENT_HEX} {MAP_HEX}", PcpCode.UNSUPP_OPCODE),
        (f"{MAP_HEAD} {MAP_HEX} 03 00 0014 {'00' * 20}", PcpCode.UNSUPP_OPTION),
        (f"{MAP_HEAD} {MAP_HEX} 02 00 0000 02 00 0000", PcpCode.MALFORMED_OPTION),
        (f"{MAP_HEAD} {MAP_HEX} 01 00 0004 c0a80109", PcpCode.MALFORMED_OPTION),
        (f"{MAP_HEAD} {MAP_HEX} 80 00 0010 c0a80109", PcpCode.MALFORMED_OPTION),
        (f"{MAP_HEAD} {MAP_HEX.replace(' 11 ', ' 84 ')}", PcpCode.UNSUPP_PROTOCOL),
    ],
    ids=[
        "no multiple of four",
        "half an operation",
        "too long",
        "PEER",
        "FILTER",
        "the same option twice",
        "a short third party",
        "an option over the end",
        "SCTP",
    ],
)
def test_a_request_that_must_be_refused_says_with_which_code(datagram: str, code: PcpCode) -> None:
    """RFC 6887, sections 7.3, 8.2 and 11.3. What stood behind its header goes back with the refusal."""
    request = decode_pcp_request(bytes.fromhex(datagram))
    assert isinstance(request, PcpFaulty)
    assert request.code is code
    assert bytes.fromhex(datagram).endswith(request.operation)
    refusal = PcpRefusal(request.code, request.opcode, 1, 30, request.operation)
    assert len(encode_pcp_answer(refusal)) <= MAX_PCP


def test_an_optional_option_is_passed_over() -> None:
    """RFC 6887, section 7.3: codes from 128 on may be ignored; values are padded."""
    datagram = bytes.fromhex(f"{MAP_HEAD} {MAP_HEX} 80 00 0001 ff000000 02 00 0000")
    request = decode_pcp_request(datagram)
    assert request == PcpMapRequest(CLIENT, NONCE, Transport.UDP, 5555, OUTSIDE, 7200, prefer_failure=True)


@pytest.mark.parametrize("size", [2, 23])
def test_a_request_without_a_whole_header_is_malformed(size: int) -> None:
    with pytest.raises(MalformedFrame):
        decode_pcp_request(bytes.fromhex(MAP_HEAD)[:size])


@pytest.mark.parametrize(
    "datagram",
    [
        f"02 80 00 00 00000000 00000258 {'00' * 11}",
        f"02 80 00 00 00000000 00000258 {'00' * 12}" + "80000000" * 270,
        f"02 81 00 00 00001c20 00000258 {'00' * 12} {MAP_HEX[:-8]}",
        f"02 81 00 00 00001c20 00000258 {'00' * 12} {MAP_HEX} 0200",
        f"02 81 00 00 00001c20 00000258 {'00' * 12} {MAP_HEX} 03 00 0000",
        f"02 81 00 00 00001c20 00000258 {'00' * 12} {MAP_HEX.replace(' 11 ', ' 84 ')}",
        f"02 82 00 00 00001c20 00000258 {'00' * 12} {MAP_HEX}",
    ],
    ids=["no header", "too long", "half an operation", "half an option", "a foreign option", "SCTP", "PEER"],
)
def test_an_answer_that_nobody_can_have_asked_for_is_malformed(datagram: str) -> None:
    with pytest.raises(MalformedFrame):
        decode_pcp_answer(bytes.fromhex(datagram))


@given(REQUESTS)
def test_every_request_comes_back(request_: PcpRequest) -> None:
    assert decode_pcp_request(encode_pcp_request(request_)) == request_


@given(ANSWERS)
def test_every_answer_comes_back(answer: PcpAnswer) -> None:
    assert decode_pcp_answer(encode_pcp_answer(answer)) == answer


@given(st.binary(max_size=80))
def test_junk_behind_a_request_is_refused_or_ends_in_the_same_request(junk: bytes) -> None:
    request = decode_pcp_request(bytes.fromhex(f"{MAP_HEAD} {MAP_HEX}") + junk)
    if not isinstance(request, PcpFaulty):
        assert decode_pcp_request(encode_pcp_request(request)) == request


@given(st.sampled_from([0, 1, 2]), st.binary(max_size=90))
def test_junk_is_an_answer_or_malformed(opcode: int, junk: bytes) -> None:
    datagram = bytes((2, 0x80 | opcode)) + junk
    try:
        answer = decode_pcp_answer(datagram)
    except MalformedFrame:
        return
    assert decode_pcp_answer(encode_pcp_answer(answer)) == answer


@pytest.mark.parametrize(
    ("later", "lost"),
    [(1100, False), (1092, False), (1091, True), (1108, False), (1109, True), (999, True), (3, True)],
    ids=["on time", "a slow clock", "too slow", "a fast clock", "too fast", "back", "anew"],
)
def test_an_epoch_that_does_not_keep_step_means_lost_mappings(later: int, lost: bool) -> None:
    """RFC 6887, section 8.5: a hundred seconds after it said 1000."""
    assert pcp_lost_mappings(1000, later, 100.0) is lost
    assert not pcp_lost_mappings(1000, 999, 0.5)
    assert pcp_lost_mappings(1000, 998, 0.0)
