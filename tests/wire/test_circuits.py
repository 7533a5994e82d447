from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnel.model.errors import MalformedFrame
from tunnel.wire.circuits import (
    BINDING_BYTES,
    COOKIE_BYTES,
    HEAD_BYTES,
    MAC_BYTES,
    Binding,
    Word,
    decode_binding,
    decode_head,
    encode_binding,
    encode_passed,
)
from tunnel.wire.frames import BASE_SIZE

CIRCUIT = 0x0102030405060708
NUMBERS = st.integers(0, 2**64 - 1)
COOKIE = bytes.fromhex("c0c1c2c3c4c5c6c7")
COOKIES = st.binary(min_size=COOKIE_BYTES, max_size=COOKIE_BYTES)
BINDINGS = st.builds(Binding, st.sampled_from([*Word][1:]), NUMBERS, NUMBERS, st.booleans(), COOKIES)
IPV6_AND_UDP = 48


@pytest.mark.parametrize(
    ("binding", "expected"),
    [
        (Binding(Word.BIND, CIRCUIT, 7), "14 01 0102030405060708 0000000000000007 00 0000000000000000"),
        (
            Binding(Word.BOUND, CIRCUIT, 7, is_whole=True, cookie=COOKIE),
            "14 02 0102030405060708 0000000000000007 01 c0c1c2c3c4c5c6c7",
        ),
        (Binding(Word.PROVE, CIRCUIT, 7, cookie=COOKIE), "14 03 0102030405060708 0000000000000007 00 c0c1c2c3c4c5c6c7"),
    ],
)
def test_a_binding_is_these_bytes(binding: Binding, expected: str) -> None:
    assert encode_binding(binding) == bytes.fromhex(expected)
    assert decode_binding(bytes.fromhex(expected) + bytes(MAC_BYTES)) == binding


def test_what_is_passed_on_is_these_bytes() -> None:
    assert encode_passed(CIRCUIT, b"\x10inner") == bytes.fromhex("14 00 0102030405060708") + b"\x10inner"


@given(NUMBERS, st.binary(min_size=1, max_size=64))
def test_what_is_passed_on_comes_back(circuit: int, datagram: bytes) -> None:
    relayed = encode_passed(circuit, datagram)
    assert decode_head(relayed) == (Word.PASS, circuit)
    assert relayed[HEAD_BYTES:] == datagram


@given(BINDINGS, st.binary(min_size=MAC_BYTES, max_size=MAC_BYTES))
def test_a_binding_comes_back(binding: Binding, mac: bytes) -> None:
    datagram = encode_binding(binding) + mac
    assert len(datagram) == BINDING_BYTES
    assert decode_binding(datagram) == binding
    assert decode_head(datagram) == (binding.word, binding.circuit)


@given(
    st.binary(max_size=64)
    | st.binary(max_size=40).map(lambda rest: b"\x14" + rest)
    | st.binary(min_size=41, max_size=41).map(lambda rest: b"\x14\x01" + rest)
)
def test_junk_is_a_binding_or_malformed(junk: bytes) -> None:
    try:
        binding = decode_binding(junk)
    except MalformedFrame:
        return
    assert encode_binding(binding) == junk[:-MAC_BYTES]


@pytest.mark.parametrize(
    "datagram",
    [
        b"",
        bytes.fromhex("14 00 0102030405060708"),  # nothing inside
        bytes.fromhex("10 00 0102030405060708 00"),  # another kind
        bytes.fromhex("14 04 0102030405060708 00"),  # no such word
    ],
)
def test_what_has_no_head_is_malformed(datagram: bytes) -> None:
    with pytest.raises(MalformedFrame):
        decode_head(datagram)


@pytest.mark.parametrize(
    "datagram",
    [
        bytes.fromhex("14 00 0102030405060708 0000000000000007 00 0000000000000000") + bytes(MAC_BYTES),  # passed on
        bytes.fromhex("14 01 0102030405060708 0000000000000007 00 0000000000000000") + bytes(MAC_BYTES - 1),
        bytes.fromhex("14 01 0102030405060708 0000000000000007 00 0000000000000000") + bytes(MAC_BYTES + 1),
        bytes.fromhex("14 02 0102030405060708 0000000000000007 02 0000000000000000") + bytes(MAC_BYTES),
    ],
)
def test_what_is_no_binding_is_malformed(datagram: bytes) -> None:
    with pytest.raises(MalformedFrame):
        decode_binding(datagram)


def test_a_datagram_of_the_base_size_fits_1280_bytes_on_ipv6() -> None:
    """So whatever carries IPv6 carries a circuit, as it does a direct path."""
    assert len(encode_passed(CIRCUIT, bytes(BASE_SIZE))) + IPV6_AND_UDP == 1258
