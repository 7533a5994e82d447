from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import MalformedFrame
from tunnel.wire.probes import ProbeAnswer, ProbeRequest, decode_probe, encode_probe

TRANSACTION = bytes(range(8))
ENDPOINTS = st.sampled_from(
    [None, Endpoint("192.0.2.1", 3478), Endpoint("2001:db8::7", 65535), Endpoint("10.0.0.1", 1)]
)
TRANSACTIONS = st.binary(min_size=8, max_size=8)
PROBES = st.builds(ProbeRequest, TRANSACTIONS, ENDPOINTS) | st.builds(ProbeAnswer, TRANSACTIONS, ENDPOINTS)


@pytest.mark.parametrize(
    ("probe", "size", "expected"),
    [
        (ProbeRequest(TRANSACTION), 0, "01 0001020304050607 00"),
        (ProbeAnswer(TRANSACTION), 12, "02 0001020304050607 00 0000"),
        (ProbeRequest(TRANSACTION, Endpoint("192.0.2.1", 4660)), 0, "01 0001020304050607 06 c0000201 1234"),
        (
            ProbeAnswer(TRANSACTION, Endpoint("2001:db8::1", 4660)),
            30,
            "02 0001020304050607 12 20010db8000000000000000000000001 1234 0000",
        ),
    ],
)
def test_a_probe_is_these_bytes(probe: ProbeRequest | ProbeAnswer, size: int, expected: str) -> None:
    assert encode_probe(probe, size) == bytes.fromhex(expected)
    assert decode_probe(bytes.fromhex(expected)) == probe


@given(PROBES, st.integers(0, 1400))
def test_a_probe_comes_back_as_it_was_with_its_size(probe: ProbeRequest | ProbeAnswer, size: int) -> None:
    plaintext = encode_probe(probe, size)
    decoded = decode_probe(plaintext)
    assert decoded == probe
    assert decoded.size == len(plaintext) >= size


@given(st.binary(max_size=64) | st.binary(max_size=40).map(lambda rest: b"\x01" + rest))
def test_junk_is_a_probe_or_malformed(junk: bytes) -> None:
    try:
        decoded = decode_probe(junk)
    except MalformedFrame:
        return
    assert decode_probe(encode_probe(decoded)) == decoded


@pytest.mark.parametrize(
    "plaintext",
    [
        "",
        "01 0001020304050607",
        "03 0001020304050607 00",
        "01 0001020304050607 06 c0000201 12",
        "01 0001020304050607 05 c0000201 12",
        "01 0001020304050607 06 c0000201 0000",
        "02 0001020304050607 06 e0000001 1234",
        "02 0001020304050607 06 00000000 1234",
        "02 0001020304050607 12 00000000000000000000ffffc0000201 1234",
    ],
    ids=["empty", "cut", "unknown word", "cut endpoint", "odd size", "port 0", "multicast", "unspecified", "v4 in v6"],
)
def test_a_broken_probe_is_malformed(plaintext: str) -> None:
    with pytest.raises(MalformedFrame):
        decode_probe(bytes.fromhex(plaintext))


def test_what_stands_behind_the_endpoint_is_not_looked_at() -> None:
    """A newer node may put something there."""
    assert decode_probe(bytes.fromhex("01 0001020304050607 00 ffff")) == ProbeRequest(TRANSACTION)
