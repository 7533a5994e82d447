from __future__ import annotations

import itertools
import random
import string
from dataclasses import fields
from typing import Any, get_args, get_type_hints

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import MalformedFrame
from tunnel.wire.signals import (
    MAX_BODY,
    MAX_SIGNAL,
    MAX_TEXT,
    TAGS,
    Announce,
    Challenge,
    Connect,
    ErrorSignal,
    Introduced,
    PeerUp,
    Ping,
    Signal,
    Welcome,
    Withdraw,
    decode_signal,
    encode_signal,
    tag_of,
)

KEYS = {
    **dict.fromkeys(("nonce", "server_key", "network_key", "network_name", "node_key", "proof", "key"), 32),
    **dict.fromkeys(("peer", "epoch", "own_epoch"), 16),
    "signature": 64,
}
ENDPOINTS = st.builds(Endpoint, st.sampled_from(["0.0.0.0", "::", "192.0.2.1", "2001:db8::1"]), st.integers(0, 65535))


def values(name: str, hint: Any) -> st.SearchStrategy[Any]:
    if hint is bytes:
        return st.binary(min_size=KEYS[name], max_size=KEYS[name]) if name in KEYS else st.binary(max_size=64)
    by_hint: dict[Any, st.SearchStrategy[Any]] = {
        int: st.integers(0, 2**63 - 1),
        float: st.floats(0, 1e11),
        str: st.text(string.printable + "äλ東", max_size=40),
        Endpoint: ENDPOINTS,
        tuple[Endpoint, ...]: st.lists(ENDPOINTS, max_size=8).map(tuple),
    }
    return by_hint[hint]


def signals(kind: type) -> st.SearchStrategy[Any]:
    hints = get_type_hints(kind)
    return st.builds(kind, **{field.name: values(field.name, hints[field.name]) for field in fields(kind)})


SIGNALS = st.one_of([signals(kind) for kind in TAGS.values()])
PEER = bytes(range(16))


@pytest.mark.parametrize(
    ("signal", "expected"),
    [
        (Withdraw(), b"\x92\xa8withdraw\x80"),
        (Ping(7), b"\x92\xa4ping\x81\xa5token\x07"),
        (Connect(1, PEER), b"\x92\xa7connect\x82\xa2id\x01\xa4peer\xc4\x10" + PEER),
        (
            Announce(PEER, 300, b"body"),
            b"\x92\xa8announce\x83\xa5epoch\xc4\x10" + PEER + b"\xa3seq\xcd\x01\x2c\xa4body\xc4\x04body",
        ),
        (ErrorSignal("replaced"), b"\x92\xa5error\x82\xa4code\xa8replaced\xa4text\xa0"),
        (
            Welcome("10.86.0.7/16", 1.0, Endpoint("192.0.2.1", 80), (Endpoint("::", 3478),), (), 2),
            b"\x92\xa7welcome\x86\xa7address\xac10.86.0.7/16\xacleased_since\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00"
            b"\xa8observed\x92\xa9192.0.2.1\x50\xa4stun\x91\x92\xa2::\xcd\x0d\x96\xa5relay\x90"
            b"\xb0protocol_version\x02",
        ),
    ],
    ids=lambda value: tag_of(value) if not isinstance(value, bytes) else "",
)
def test_a_signal_is_these_bytes(signal: Signal, expected: bytes) -> None:
    assert encode_signal(signal) == expected
    assert decode_signal(expected) == signal


@given(SIGNALS)
def test_a_signal_comes_back_as_it_was(signal: Signal) -> None:
    message = encode_signal(signal)
    assert len(message) <= MAX_SIGNAL
    assert decode_signal(message) == signal


def test_each_signal_has_a_tag_and_each_tag_a_signal() -> None:
    assert set(TAGS.values()) == set(get_args(Signal))


@given(st.binary(max_size=60) | st.tuples(st.sampled_from(sorted(TAGS)), st.binary(max_size=40)))
def test_junk_is_a_signal_or_malformed(junk: bytes | tuple[str, bytes]) -> None:
    message = junk if isinstance(junk, bytes) else b"\x92" + msgpack.packb(junk[0]) + junk[1]
    try:
        decoded = decode_signal(message)
    except MalformedFrame:
        return
    assert decoded is None or decode_signal(encode_signal(decoded)) == decoded


def test_a_damaged_signal_is_a_signal_or_malformed() -> None:
    chance = random.Random(3)
    good = [
        encode_signal(Introduced(1, PEER, PEER, 2, b"body", PEER, 3, 0.25)),
        encode_signal(Welcome("10.0.0.1/8", 1.0, Endpoint("192.0.2.1", 80), (Endpoint("::", 3478),))),
    ]
    outcomes = {"signal": 0, "unknown": 0, "malformed": 0}
    for _ in range(4000):
        damaged = bytearray(chance.choice(good))
        for _ in range(chance.randrange(1, 4)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        try:
            decoded = decode_signal(bytes(damaged))
        except MalformedFrame:
            outcomes["malformed"] += 1
        else:
            outcomes["unknown" if decoded is None else "signal"] += 1
    assert all(outcomes.values())


def test_a_signal_of_a_newer_peer_is_skipped() -> None:
    assert decode_signal(msgpack.packb(["sing", {"song": 1}])) is None


def test_a_field_of_a_newer_peer_is_ignored() -> None:
    assert decode_signal(msgpack.packb(["ping", {"token": 7, "color": "red"}])) == Ping(7)


def test_a_field_that_has_a_default_may_be_missing() -> None:
    message = msgpack.packb(["challenge", {"nonce": bytes(32), "server_key": bytes(32)}])
    assert decode_signal(message) == Challenge(bytes(32), bytes(32))


def packed(tag: Any, body: Any) -> bytes:
    message: bytes = msgpack.packb([tag, body])
    return message


WELCOME = {"address": "10.0.0.1/8", "leased_since": 1.0, "observed": ["192.0.2.1", 80], "stun": []}
PEER_UP = {"peer": PEER, "epoch": PEER, "seq": 1, "body": b""}


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\xc1",
        b"\x92\xa4ping",
        b"\x91" * 100,
        b"\x91" * 5000,
        b"\xdd\xff\xff\xff\xff",
        b"\x92\xa4ping\xc7\x01\x05\x00",
        b"\x92\xa4ping\x81\xa5token\xd4\x05\x00",
        packed("ping", {"token": msgpack.Timestamp(1)}),
        packed("ping", {1: 2}),
        packed("ping", []),
        packed(1, {}),
        packed("ping", {}),
        packed("ping", {"token": -1}),
        packed("ping", {"token": 2**63}),
        packed("ping", {"token": True}),
        packed("ping", {"token": 1.0}),
        packed("ping", {"token": None}),
        packed("error", {"code": b"bytes"}),
        packed("error", {"code": "x" * (MAX_TEXT + 1)}),
        packed("connect", {"id": 1, "peer": bytes(15)}),
        packed("peer_up", PEER_UP | {"body": bytes(MAX_BODY + 1)}),
        packed("peer_up", PEER_UP | {"epoch": "x" * 16}),
        packed("welcome", WELCOME | {"leased_since": float("nan")}),
        packed("welcome", WELCOME | {"leased_since": float("inf")}),
        packed("welcome", WELCOME | {"leased_since": -1.0}),
        packed("welcome", WELCOME | {"leased_since": 10**19}),
        packed("welcome", WELCOME | {"leased_since": True}),
        packed("welcome", WELCOME | {"observed": ["192.0.2.1", 65536]}),
        packed("welcome", WELCOME | {"observed": ["192.0.2.1", -1]}),
        packed("welcome", WELCOME | {"observed": ["192.0.2.1", True]}),
        packed("welcome", WELCOME | {"observed": ["example.org", 80]}),
        packed("welcome", WELCOME | {"observed": ["x" * 65, 80]}),
        packed("welcome", WELCOME | {"observed": "192.0.2.1:80"}),
        packed("welcome", WELCOME | {"stun": [["::", 3478]] * 9}),
        packed("peer_up", PEER_UP) + b"\x00",
        bytes(MAX_SIGNAL + 1),
    ],
    ids=itertools.count(),
)
def test_a_broken_signal_is_malformed(message: bytes) -> None:
    with pytest.raises(MalformedFrame):
        decode_signal(message)


def test_the_largest_body_fits_a_signal() -> None:
    signal = PeerUp(PEER, PEER, 2**63 - 1, bytes(MAX_BODY))
    assert decode_signal(encode_signal(signal)) == signal
