from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import MalformedFrame
from tunnel.wire.probes import MAX_SPANS, ProbeAnswer, ProbeHint, ProbeRequest, PunchPhase, decode_probe, encode_probe

TRANSACTION = bytes(range(8))
ENDPOINTS = st.sampled_from(
    [None, Endpoint("192.0.2.1", 3478), Endpoint("2001:db8::7", 65535), Endpoint("10.0.0.1", 1)]
)
TRANSACTIONS = st.binary(min_size=8, max_size=8)
PORTS = st.integers(1, 65535)
SPANS = st.lists(st.tuples(PORTS, PORTS).map(lambda ports: (min(ports), max(ports))), max_size=MAX_SPANS).map(tuple)
HINTS = st.builds(
    ProbeHint,
    st.sampled_from(PunchPhase),
    st.booleans(),
    st.integers(0, 255),
    ENDPOINTS,
    SPANS,
    st.integers(-(1 << 15), (1 << 15) - 1),
    st.integers(0, 65535),
    st.integers(0, 65535),
)
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
        "04 0001020304050607 00",
        "03 0000000000000000 00",
        "03 0000000000000000 00 00 00 00 0000 0000 0000 00",
        "03 0000000000000000 00 01 02 00 0000 0000 0000 00",
        "03 0000000000000000 00 01 00 00 0000 0000 0000 21",
        "03 0000000000000000 00 01 00 00 0000 0000 0000 01 0400",
        "03 0000000000000000 00 01 00 00 0000 0000 0000 01 0400 03ff",
        "03 0000000000000000 00 01 00 00 0000 0000 0000 01 0000 03ff",
        "01 0001020304050607 06 c0000201 12",
        "01 0001020304050607 05 c0000201 12",
        "01 0001020304050607 06 c0000201 0000",
        "02 0001020304050607 06 e0000001 1234",
        "02 0001020304050607 06 00000000 1234",
        "02 0001020304050607 12 00000000000000000000ffffc0000201 1234",
    ],
    ids=[
        "empty",
        "cut",
        "unknown word",
        "hint without fields",
        "no phase",
        "no role",
        "too many spans",
        "span cut",
        "span backwards",
        "span at 0",
        "cut endpoint",
        "odd size",
        "port 0",
        "multicast",
        "unspecified",
        "v4 in v6",
    ],
)
def test_a_broken_probe_is_malformed(plaintext: str) -> None:
    with pytest.raises(MalformedFrame):
        decode_probe(bytes.fromhex(plaintext))


def test_what_stands_behind_the_endpoint_is_not_looked_at() -> None:
    """A newer node may put something there."""
    assert decode_probe(bytes.fromhex("01 0001020304050607 00 ffff")) == ProbeRequest(TRANSACTION)


def test_a_hint_is_these_bytes() -> None:
    hint = ProbeHint(
        PunchPhase.UNDER_WAY,
        opens=True,
        attempt=2,
        place=Endpoint("192.0.2.1", 4660),
        spans=((1024, 1028), (2048, 2048)),
        step=-2,
        sockets=20,
        flows=515,
    )
    expected = "03 0000000000000000 06 c0000201 1234 02 01 02 0014 0203 fffe 02 0400 0404 0800 0800"
    assert encode_probe(hint) == bytes.fromhex(expected)
    assert decode_probe(bytes.fromhex(expected)) == hint
    assert decode_probe(bytes.fromhex(expected) + b"more") == hint, "a newer peer may say more"


@given(HINTS)
def test_a_hint_comes_back_as_it_was(hint: ProbeHint) -> None:
    assert decode_probe(encode_probe(hint)) == hint


def test_a_hint_of_more_spans_than_fit_tells_the_first_ones() -> None:
    spans = tuple((port, port) for port in range(1, 100))
    decoded = decode_probe(encode_probe(ProbeHint(PunchPhase.READY, spans=spans, step=1 << 20)))
    assert isinstance(decoded, ProbeHint)
    assert (decoded.spans, decoded.step) == (spans[:MAX_SPANS], (1 << 15) - 1)
