from __future__ import annotations

import dataclasses
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnel.crypto.admission import prove, verify_hello
from tunnel.crypto.network_keys import derive_network_keys
from tunnel.crypto.node_keys import NodeKeys
from tunnel.model.errors import NotAuthentic
from tunnel.model.protocol_version import FIRST_VERSION, PROTOCOL_VERSION
from tunnel.wire.signals import Challenge, Hello, decode_signal, encode_signal

BINDING = bytes([8]) * 32
SERVER_PRIVATE = bytes([1]) * 32
CHALLENGE = Challenge(nonce=bytes([2]) * 32, server_key=NodeKeys(SERVER_PRIVATE).public)
NETWORK = derive_network_keys("home", bytes([3]) * 32)
STRANGERS = derive_network_keys("home", bytes([4]) * 32)
NODE = NodeKeys(bytes([5]) * 32)
OTHER = NodeKeys(bytes([6]) * 32)


def hello(wanted_address: str = "10.86.0.7", software: str = "test") -> Hello:
    return prove(CHALLENGE, NETWORK, NODE, wanted_address=wanted_address, software=software, binding=BINDING)


def test_a_member_is_known_by_its_network_and_its_key() -> None:
    assert verify_hello(hello(), CHALLENGE, SERVER_PRIVATE, binding=BINDING) == (NETWORK.network_id, NODE.id)


def test_a_hello_still_holds_after_the_wire() -> None:
    arrived = decode_signal(encode_signal(hello()))
    assert isinstance(arrived, Hello)
    assert verify_hello(arrived, CHALLENGE, SERVER_PRIVATE, binding=BINDING) == (NETWORK.network_id, NODE.id)


@pytest.mark.parametrize(
    "challenge",
    [
        replace(CHALLENGE, nonce=bytes(32)),
        replace(CHALLENGE, server_key=OTHER.public),
        replace(CHALLENGE, version=2),
    ],
    ids=["nonce", "server key", "version"],
)
def test_a_hello_to_another_challenge_is_refused(challenge: Challenge) -> None:
    """A recorded hello opens no second connection."""
    with pytest.raises(NotAuthentic):
        verify_hello(hello(), challenge, SERVER_PRIVATE, binding=BINDING)


def test_a_hello_to_another_server_key_is_refused() -> None:
    with pytest.raises(NotAuthentic):
        verify_hello(hello(), CHALLENGE, bytes([9]) * 32, binding=BINDING)


@pytest.mark.parametrize("binding", [b"", bytes([9]) * 32], ids=["no TLS", "another certificate"])
def test_a_hello_said_to_a_server_with_another_certificate_is_refused(binding: bytes) -> None:
    """A hostile server passes an honest one's challenge on to a node, and the node's hello back."""
    with pytest.raises(NotAuthentic):
        verify_hello(hello(), CHALLENGE, SERVER_PRIVATE, binding=binding)


@pytest.mark.parametrize(
    "change",
    [
        {"network_key": STRANGERS.public_key},
        {"network_name": bytes(32)},
        {"node_key": OTHER.public},
        {"signature": bytes(64)},
        {"proof": bytes(32)},
        {"wanted_address": "10.86.0.8"},
        {"version": 2},
        {"software": "other"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_field_of_a_hello_is_covered(change: dict[str, object]) -> None:
    with pytest.raises(NotAuthentic):
        verify_hello(replace(hello(), **change), CHALLENGE, SERVER_PRIVATE, binding=BINDING)  # type: ignore[arg-type]


def test_every_field_of_a_hello_was_tried_above_but_the_one_that_old_servers_do_not_know() -> None:
    tried = {"network_key", "network_name", "node_key", "signature", "proof", "wanted_address", "version", "software"}
    assert {field.name for field in dataclasses.fields(Hello)} == tried | {"protocol_version"}


def test_a_server_of_before_admits_a_node_of_now() -> None:
    """It skips the field, so what it verifies is a hello without it."""
    assert hello().protocol_version == PROTOCOL_VERSION
    skipped = replace(hello(), protocol_version=FIRST_VERSION)
    assert verify_hello(skipped, CHALLENGE, SERVER_PRIVATE, binding=BINDING)[1] == NODE.id


def test_a_member_cannot_enter_as_another_node() -> None:
    """It can sign anything with the network's key, yet has no proof for a key that is not its own."""

    class Thief(NodeKeys):
        """Shows the victim's public key; holds its own private one."""

    thief = Thief(bytes([7]) * 32)
    thief.public = NODE.public
    with pytest.raises(NotAuthentic, match="node key"):
        verify_hello(prove(CHALLENGE, NETWORK, thief, binding=BINDING), CHALLENGE, SERVER_PRIVATE, binding=BINDING)


def test_a_stranger_cannot_enter_a_network_without_its_secret() -> None:
    """It may prove its own node key as it likes, but signs with a key that is not the network's."""
    forged = replace(STRANGERS, public_key=NETWORK.public_key)
    with pytest.raises(NotAuthentic, match="signed"):
        verify_hello(prove(CHALLENGE, forged, NODE, binding=BINDING), CHALLENGE, SERVER_PRIVATE, binding=BINDING)


def test_a_server_key_of_low_order_is_refused_by_the_node() -> None:
    with pytest.raises(NotAuthentic):
        prove(replace(CHALLENGE, server_key=bytes(32)), NETWORK, NODE, binding=BINDING)


def test_a_node_key_of_low_order_is_refused_by_the_server() -> None:
    with pytest.raises(NotAuthentic):
        verify_hello(replace(hello(), node_key=bytes(32)), CHALLENGE, SERVER_PRIVATE, binding=BINDING)


@given(
    st.builds(
        Hello,
        network_key=st.binary(max_size=40),
        network_name=st.binary(max_size=40),
        node_key=st.binary(max_size=40) | st.just(NODE.public),
        signature=st.binary(max_size=70),
        proof=st.binary(max_size=40),
        wanted_address=st.text(max_size=20),
        version=st.integers(),
        software=st.text(max_size=20),
    )
)
def test_junk_is_not_authentic_and_nothing_worse(junk: Hello) -> None:
    with pytest.raises(NotAuthentic):
        verify_hello(junk, CHALLENGE, SERVER_PRIVATE, binding=BINDING)
