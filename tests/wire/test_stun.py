from __future__ import annotations

import random

import aioice.stun
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import MalformedFrame
from tunnel.wire.stun import (
    Change,
    StunClass,
    StunMessage,
    binding_request,
    binding_success,
    decode_stun,
    encode_stun,
    is_stun,
)

# The datagrams of RFC 5769, sections 2.1 to 2.4.
TRANSACTION = bytes.fromhex("b7e7a701bc34d686fa87dfae")
SAMPLE_REQUEST = bytes.fromhex(
    "000100582112a442b7e7a701bc34d686fa87dfae"
    "802200105354554e207465737420636c69656e74"
    "002400046e0001ff"
    "80290008932ff9b151263b36"
    "000600096576746a3a68367659202020"
    "000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a2"
    "80280004e57a3bcf"
)
SAMPLE_IPV4_RESPONSE = bytes.fromhex(
    "0101003c2112a442b7e7a701bc34d686fa87dfae"
    "8022000b7465737420766563746f7220"
    "002000080001a147e112a643"
    "000800142b91f599fd9e90c38c7489f92af9ba53f06be7d7"
    "80280004c07d4c96"
)
SAMPLE_IPV6_RESPONSE = bytes.fromhex(
    "010100482112a442b7e7a701bc34d686fa87dfae"
    "8022000b7465737420766563746f7220"
    "002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d9"
    "00080014a382954e4be67bf11784c97c8292c275bfe3ed41"
    "80280004c8fb0b4c"
)
SAMPLE_LONG_TERM_REQUEST = bytes.fromhex(
    "000100602112a44278ad3433c6ad72c029da412e"
    "00060012e3839ee38388e383aae38383e382afe382b90000"
    "0015001c662f2f3439396b39353464364f4c33346f4c39465354767936347341"
    "0014000b6578616d706c652e6f726700"
    "00080014f67024656dd64a3e02b8e0712e85c9a28ca89666"
)
# RFC 8489 appendix B.1, as its erratum 6268 puts it right.
SAMPLE_SHA256_REQUEST = bytes.fromhex(
    "000100902112a44278ad3433c6ad72c029da412e"
    "001e00204a3cf38fef6992bda952c6780417da0f24819415569e60b205c46e41407f1704"
    "001500296f624d61744a6f733241414143662f2f3439396b39353464364f4c33346f4c39465354767936347341000000"
    "0014000b6578616d706c652e6f726700"
    "001d000400020000"
    "001c0020b5c7bf005b6c52a21c51c5e892f81924136296cb927c43149309278cc6518e65"
)

ENDPOINTS = st.none() | st.builds(Endpoint, st.ip_addresses().map(str), st.integers(0, 65535))
MESSAGES = st.builds(
    StunMessage,
    kind=st.sampled_from(StunClass),
    transaction=st.binary(min_size=12, max_size=12),
    method=st.integers(0, 0x7F),
    xor_mapped=ENDPOINTS,
    mapped=ENDPOINTS,
    origin=ENDPOINTS,
    other=ENDPOINTS,
    change=st.none() | st.builds(lambda bits: Change(bits), st.sampled_from([0, 2, 4, 6])),
    response_port=st.none() | st.integers(0, 65535),
    error=st.none() | st.integers(300, 699),
    unknown=st.lists(st.integers(0, 65535), max_size=4).map(tuple),
    software=st.text(max_size=40),
    fingerprint=st.booleans(),
)


@pytest.mark.parametrize(
    ("datagram", "expected"),
    [
        (
            SAMPLE_REQUEST,
            StunMessage(
                StunClass.REQUEST,
                TRANSACTION,
                software="STUN test client",
                fingerprint=True,
                not_understood=(0x0024, 0x0006),
            ),
        ),
        (
            SAMPLE_IPV4_RESPONSE,
            StunMessage(
                StunClass.SUCCESS,
                TRANSACTION,
                xor_mapped=Endpoint("192.0.2.1", 32853),
                software="test vector",
                fingerprint=True,
            ),
        ),
        (
            SAMPLE_IPV6_RESPONSE,
            StunMessage(
                StunClass.SUCCESS,
                TRANSACTION,
                xor_mapped=Endpoint("2001:db8:1234:5678:11:2233:4455:6677", 32853),
                software="test vector",
                fingerprint=True,
            ),
        ),
    ],
    ids=["RFC 5769 2.1", "RFC 5769 2.2", "RFC 5769 2.3"],
)
def test_the_published_messages_are_read(datagram: bytes, expected: StunMessage) -> None:
    assert decode_stun(datagram) == expected


def test_of_messages_with_a_username_the_unknown_attributes_are_listed() -> None:
    """RFC 5769 section 2.4, and RFC 8489 appendix B.1: USERHASH, USERNAME and the like mean nothing to us."""
    assert decode_stun(SAMPLE_LONG_TERM_REQUEST).not_understood == (0x0006, 0x0015, 0x0014)
    assert decode_stun(SAMPLE_SHA256_REQUEST).not_understood == (0x001E, 0x0015, 0x0014, 0x001D)


@pytest.mark.parametrize(
    ("message", "datagram"),
    [
        (binding_request(TRANSACTION), "00010000 2112a442 b7e7a701bc34d686fa87dfae"),
        (
            binding_request(TRANSACTION, Change.PORT | Change.ADDRESS),
            "00010008 2112a442 b7e7a701bc34d686fa87dfae 00030004 00000006",
        ),
        (
            StunMessage(StunClass.ERROR, TRANSACTION, error=420, phrase="?", unknown=(0x24,)),
            "01110014 2112a442 b7e7a701bc34d686fa87dfae 00090005 00000414 3f000000 000a0002 00240000",
        ),
        (
            StunMessage(
                StunClass.SUCCESS,
                TRANSACTION,
                mapped=Endpoint("192.0.2.1", 1),
                origin=Endpoint("192.0.2.2", 2),
                other=Endpoint("192.0.2.3", 3),
                response_port=4,
            ),
            "0101002c 2112a442 b7e7a701bc34d686fa87dfae 00010008 00010001 c0000201 802b0008 00010002 c0000202"
            "802c0008 00010003 c0000203 00270004 00040000",
        ),
        (StunMessage(StunClass.INDICATION, TRANSACTION, method=0x7C), "00fc0000 2112a442 b7e7a701bc34d686fa87dfae"),
    ],
    ids=["request", "change request", "error", "addresses", "method bits"],
)
def test_a_message_is_these_bytes(message: StunMessage, datagram: str) -> None:
    assert encode_stun(message) == bytes.fromhex(datagram)
    assert decode_stun(bytes.fromhex(datagram)) == message


@given(MESSAGES)
def test_a_message_comes_back_as_it_was(message: StunMessage) -> None:
    datagram = encode_stun(message)
    assert decode_stun(datagram) == message
    assert is_stun(datagram)


@given(st.ip_addresses(), st.integers(0, 65535), st.binary(min_size=12, max_size=12))
def test_aioice_reads_what_we_write_and_we_read_what_it_writes(address: object, port: int, transaction: bytes) -> None:
    endpoint = Endpoint(str(address), port)
    ours = encode_stun(
        StunMessage(
            StunClass.SUCCESS,
            transaction,
            xor_mapped=endpoint,
            mapped=endpoint,
            origin=endpoint,
            other=endpoint,
            software="ours",
            fingerprint=True,
        )
    )
    theirs = aioice.stun.parse_message(ours)
    assert theirs.transaction_id == transaction
    assert (theirs.message_method, theirs.message_class) == (
        aioice.stun.Method.BINDING,
        aioice.stun.Class.RESPONSE,
    )
    for name in ("XOR-MAPPED-ADDRESS", "MAPPED-ADDRESS", "RESPONSE-ORIGIN", "OTHER-ADDRESS"):
        assert theirs.attributes[name] == tuple(endpoint)
    theirs.attributes["SOFTWARE"] = "theirs"
    theirs.add_message_integrity(b"secret")
    decoded = decode_stun(bytes(theirs))
    assert (decoded.xor_mapped, decoded.other, decoded.software) == (endpoint, endpoint, "theirs")


@given(st.binary(max_size=80), st.booleans())
def test_junk_is_a_message_or_malformed(junk: bytes, with_head: bool) -> None:
    if with_head:
        junk = bytes.fromhex("0101") + len(junk).to_bytes(2, "big") + SAMPLE_REQUEST[4:20] + junk
    try:
        decoded = decode_stun(junk)
    except MalformedFrame:
        return
    assert decoded.transaction == junk[8:20]


def test_a_damaged_message_is_a_message_or_malformed() -> None:
    """Mutations of good messages reach further into the attributes than random bytes do."""
    chance = random.Random(7)
    full = encode_stun(
        StunMessage(
            StunClass.ERROR,
            TRANSACTION,
            xor_mapped=Endpoint("2001:db8::1", 9),
            change=Change.PORT,
            response_port=1,
            error=420,
            unknown=(1, 2, 3),
            software="x",
        )
    )
    well_formed = 0
    for _ in range(3000):
        damaged = bytearray(chance.choice([full, SAMPLE_IPV4_RESPONSE]))
        for _ in range(chance.randrange(1, 4)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        try:
            decode_stun(bytes(damaged))
        except MalformedFrame:
            continue
        well_formed += 1
    assert 0 < well_formed < 3000


@pytest.mark.parametrize(
    "datagram",
    [
        b"",
        SAMPLE_IPV4_RESPONSE[:19],
        SAMPLE_IPV4_RESPONSE[:-4],
        SAMPLE_IPV4_RESPONSE + bytes(4),
        SAMPLE_IPV4_RESPONSE.replace(b"\x21\x12\xa4\x42", b"\x21\x12\xa4\x43"),
        b"\x81" + SAMPLE_IPV4_RESPONSE[1:],
        SAMPLE_IPV4_RESPONSE[:-1] + b"\x97",
        SAMPLE_IPV4_RESPONSE.replace(b"\x00\x20\x00\x08\x00\x01", b"\x00\x20\x00\x08\x00\x03"),
        bytes.fromhex("0101000821 12a442 b7e7a701bc34d686fa87dfae 00010008 00010001"),
        bytes.fromhex("0101000821 12a442 b7e7a701bc34d686fa87dfae 00030003 00000000"),
        bytes.fromhex("0111000821 12a442 b7e7a701bc34d686fa87dfae 00090004 00000200"),
        bytes.fromhex("0101001021 12a442 b7e7a701bc34d686fa87dfae 80280004 00000000 80280004 00000000"),
        bytes.fromhex("010105e021 12a442 b7e7a701bc34d686fa87dfae") + bytes(1504),
    ],
    ids=["empty", "short", "cut", "longer than it says", "cookie", "first bits", "fingerprint", "family", "overrun",
         "short number", "error 200", "fingerprint not last", "huge"],
)  # fmt: skip
def test_a_broken_message_is_malformed(datagram: bytes) -> None:
    with pytest.raises(MalformedFrame):
        decode_stun(datagram)


def test_the_first_of_two_equal_attributes_counts() -> None:
    head = "01010018 2112a442 b7e7a701bc34d686fa87dfae"
    datagram = bytes.fromhex(head + "00010008 00010001 c0000201 00010008 00010002 c0000202")
    assert decode_stun(datagram).mapped == Endpoint("192.0.2.1", 1)


def test_what_stands_behind_the_integrity_is_ignored() -> None:
    """RFC 8489 section 14.5: nobody vouches for it."""
    message = aioice.stun.Message(aioice.stun.Method.BINDING, aioice.stun.Class.RESPONSE)
    message.attributes["MESSAGE-INTEGRITY"] = bytes(20)
    message.attributes["XOR-MAPPED-ADDRESS"] = ("192.0.2.1", 1)
    message.add_fingerprint()
    decoded = decode_stun(bytes(message))
    assert decoded.observed is None
    assert decoded.fingerprint


def test_an_answer_belongs_to_its_request() -> None:
    request = decode_stun(SAMPLE_REQUEST)
    answer = binding_success(request, Endpoint("192.0.2.1", 1))
    assert (answer.transaction, answer.fingerprint, answer.observed) == (TRANSACTION, True, Endpoint("192.0.2.1", 1))


def test_data_of_ours_is_not_taken_for_stun() -> None:
    """First byte 0x10 and above is ours, whatever stands at the cookie's place."""
    assert not is_stun(b"\x10\x00\x00\x00\x21\x12\xa4\x42" + bytes(32))
    assert is_stun(SAMPLE_REQUEST)


def test_an_ipv4_address_inside_an_ipv6_one_is_an_ipv4_address() -> None:
    """So a server says it whose one socket takes both families."""
    mapped = Endpoint("::ffff:25.1.1.1", 40000)
    datagram = encode_stun(StunMessage(StunClass.SUCCESS, bytes(12), xor_mapped=mapped))
    assert decode_stun(datagram).observed == Endpoint("25.1.1.1", 40000)
