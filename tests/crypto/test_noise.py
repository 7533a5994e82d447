"""The classical core against published vectors, and against `noiseprotocol`, an independent implementation."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from noise.connection import Keypair, NoiseConnection

from tunnel.crypto.node_keys import NodeKeys
from tunnel.crypto.noise import MAX_MESSAGE, Exchange, Protocol
from tunnel.crypto.noise_state import CipherState
from tunnel.model.errors import LocalProtocolError, NotAuthentic

VECTORS: list[dict[str, Any]] = json.loads((Path(__file__).parent / "noise_vectors.json").read_text())["vectors"]
IK = Protocol(
    "Noise_IK_25519_AESGCM_SHA256",
    first=("e", "es", "s", "ss"),
    second=("e", "ee", "se"),
    cipher="AESGCM",
    hash="sha256",
)
IK_PSK2 = replace(IK, name="Noise_IKpsk2_25519_AESGCM_SHA256", second=("e", "ee", "se", "psk"))
PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        IK,
        IK_PSK2,
        replace(IK, name="Noise_IK_25519_ChaChaPoly_BLAKE2s", cipher="ChaChaPoly", hash="blake2s"),
        replace(IK_PSK2, name="Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s", cipher="ChaChaPoly", hash="blake2s"),
    )
}
PSK = bytes([0x33]) * 32
every_protocol = pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=PROTOCOLS)


def initiator(protocol: Protocol, here: NodeKeys, there: NodeKeys, token: Callable[[int], bytes]) -> Exchange:
    return Exchange(
        protocol,
        is_initiator=True,
        static=here,
        remote_static=there.public,
        psk=PSK if protocol.has_psk else b"",
        prologue=b"prologue",
        token=token,
    )


def responder(protocol: Protocol, there: NodeKeys, token: Callable[[int], bytes]) -> Exchange:
    return Exchange(
        protocol,
        is_initiator=False,
        static=there,
        remote_static=None,
        psk=PSK if protocol.has_psk else b"",
        prologue=b"prologue",
        token=token,
    )


def oracle(protocol: Protocol, private: bytes, remote: bytes | None) -> NoiseConnection:
    connection = NoiseConnection.from_name(protocol.name.encode())
    connection.set_keypair_from_private_bytes(Keypair.STATIC, private)
    if remote is None:
        connection.set_as_responder()
    else:
        connection.set_as_initiator()
        connection.set_keypair_from_public_bytes(Keypair.REMOTE_STATIC, remote)
    if protocol.has_psk:
        connection.set_psks(PSK)
    connection.set_prologue(b"prologue")
    connection.start_handshake()
    return connection


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["protocol_name"] for vector in VECTORS])
def test_a_published_handshake_comes_out_to_the_byte(vector: dict[str, Any]) -> None:
    def field(name: str) -> bytes:
        return bytes.fromhex(vector[name])

    def ephemeral(name: str) -> Callable[[int], bytes]:
        return lambda size: field(name)[:size]

    protocol = PROTOCOLS[vector["protocol_name"]]
    psk = bytes.fromhex(vector.get("init_psks", [""])[0])
    first = Exchange(
        protocol,
        is_initiator=True,
        static=NodeKeys(field("init_static")),
        remote_static=field("init_remote_static"),
        psk=psk,
        prologue=field("init_prologue"),
        token=ephemeral("init_ephemeral"),
    )
    second = Exchange(
        protocol,
        is_initiator=False,
        static=NodeKeys(field("resp_static")),
        remote_static=None,
        psk=psk,
        prologue=field("resp_prologue"),
        token=ephemeral("resp_ephemeral"),
    )
    messages = [(bytes.fromhex(each["payload"]), each["ciphertext"]) for each in vector["messages"]]
    for writer, reader, (payload, expected) in zip((first, second), (second, first), messages, strict=False):
        message = writer.write(payload)
        assert message.hex() == expected
        assert reader.read_untrusted(message) == payload
    assert first.keys().hash == second.keys().hash == field("handshake_hash")
    assert second.remote_static == NodeKeys(field("init_static")).public

    ways = [CipherState(key, protocol.cipher) for key in (first.keys().send, first.keys().receive)]
    assert len(messages) == 6
    for number, (payload, expected) in enumerate(messages[2:]):
        assert ways[number % 2].encrypt(b"", payload).hex() == expected


@every_protocol
def test_our_initiator_agrees_with_noiseprotocol(protocol: Protocol, here: NodeKeys, there: NodeKeys) -> None:
    ours = initiator(protocol, here, there, random.Random(1).randbytes)
    theirs = oracle(protocol, bytes([0x22]) * 32, None)
    assert theirs.read_message(ours.write(b"one")) == b"one"
    assert ours.read_untrusted(bytes(theirs.write_message(b"two"))) == b"two"
    agrees(ours, theirs)


@every_protocol
def test_our_responder_agrees_with_noiseprotocol(protocol: Protocol, here: NodeKeys, there: NodeKeys) -> None:
    ours = responder(protocol, there, random.Random(1).randbytes)
    theirs = oracle(protocol, bytes([0x11]) * 32, there.public)
    assert ours.read_untrusted(bytes(theirs.write_message(b"one"))) == b"one"
    assert ours.remote_static == here.public
    assert theirs.read_message(ours.write(b"two")) == b"two"
    agrees(ours, theirs)


def agrees(ours: Exchange, theirs: NoiseConnection) -> None:
    """Same transcript, same keys, each for its own direction."""
    keys = ours.keys()
    assert theirs.get_handshake_hash() == keys.hash
    cipher = ours._protocol.cipher
    assert theirs.decrypt(CipherState(keys.send, cipher).encrypt(b"", b"out")) == b"out"
    assert CipherState(keys.receive, cipher).decrypt(b"", theirs.encrypt(b"in")) == b"in"


@every_protocol
def test_a_forged_message_leaves_the_handshake_as_it_was(
    protocol: Protocol, here: NodeKeys, there: NodeKeys, token: Callable[[int], bytes]
) -> None:
    ours, theirs = initiator(protocol, here, there, token), responder(protocol, there, token)
    first = ours.write(b"one")
    for position in range(len(first)):
        with pytest.raises(NotAuthentic):
            theirs.read_untrusted(flipped(first, position))
    assert theirs.read_untrusted(first) == b"one"
    second = theirs.write(b"two")
    for position in range(len(second)):
        with pytest.raises(NotAuthentic):
            ours.read_untrusted(flipped(second, position))
    assert ours.read_untrusted(second) == b"two"
    assert ours.keys().send == theirs.keys().receive


def flipped(message: bytes, position: int) -> bytes:
    return message[:position] + bytes([message[position] ^ 1]) + message[position + 1 :]


@given(st.binary(max_size=200) | st.integers(0, 95).map(bytes))
def test_junk_is_not_authentic_and_nothing_worse(junk: bytes) -> None:
    here, there = NodeKeys(bytes([0x11]) * 32), NodeKeys(bytes([0x22]) * 32)
    with pytest.raises(NotAuthentic):
        responder(IK, there, random.Random(1).randbytes).read_untrusted(junk)
    ours = initiator(IK, here, there, random.Random(1).randbytes)
    ours.write(b"")
    with pytest.raises(NotAuthentic):
        ours.read_untrusted(junk)


def test_a_psk_that_differs_is_found_in_the_second_message(here: NodeKeys, there: NodeKeys) -> None:
    ours = initiator(IK_PSK2, here, there, random.Random(1).randbytes)
    theirs = Exchange(
        IK_PSK2,
        is_initiator=False,
        static=there,
        remote_static=None,
        psk=bytes(32),
        prologue=b"prologue",
        token=random.Random(2).randbytes,
    )
    theirs.read_untrusted(ours.write(b""))
    with pytest.raises(NotAuthentic):
        ours.read_untrusted(theirs.write(b""))


def test_a_message_out_of_turn_is_a_bug_here(here: NodeKeys, there: NodeKeys, token: Callable[[int], bytes]) -> None:
    ours, theirs = initiator(IK, here, there, token), responder(IK, there, token)
    for wrong in (lambda: ours.read_untrusted(b""), lambda: theirs.write(b""), ours.keys, theirs.keys):
        with pytest.raises(LocalProtocolError):
            wrong()
    theirs.read_untrusted(ours.write(b""))
    for wrong in (lambda: ours.write(b""), lambda: theirs.read_untrusted(b""), ours.keys, theirs.keys):
        with pytest.raises(LocalProtocolError):
            wrong()
    ours.read_untrusted(theirs.write(b""))
    assert ours.is_finished
    assert theirs.is_finished
    for wrong in (lambda: ours.write(b""), lambda: ours.read_untrusted(b""), lambda: theirs.write(b"")):
        with pytest.raises(LocalProtocolError):
            wrong()


def test_a_message_is_never_longer_than_noise_allows(
    here: NodeKeys, there: NodeKeys, token: Callable[[int], bytes]
) -> None:
    ours, theirs = initiator(IK, here, there, token), responder(IK, there, token)
    longest = bytes(MAX_MESSAGE - 32 - 48 - 16)
    with pytest.raises(LocalProtocolError):
        ours.write(longest + b"x")
    message = ours.write(longest)
    assert len(message) == MAX_MESSAGE
    with pytest.raises(NotAuthentic, match="too long"):
        theirs.read_untrusted(message + b"x")
    assert theirs.read_untrusted(message) == longest


@pytest.mark.parametrize(
    ("protocol", "psk", "remote"),
    [(IK, bytes(32), bytes(32)), (IK_PSK2, b"", bytes(32)), (IK_PSK2, bytes(31), bytes(32)), (IK, b"", None)],
    ids=["psk unused", "psk missing", "psk short", "remote missing"],
)
def test_keys_that_the_pattern_does_not_take_are_refused(
    protocol: Protocol, psk: bytes, remote: bytes | None, here: NodeKeys, token: Callable[[int], bytes]
) -> None:
    with pytest.raises(ValueError):
        Exchange(protocol, is_initiator=True, static=here, remote_static=remote, psk=psk, prologue=b"", token=token)


def test_a_finished_handshake_keeps_no_secret_but_the_sessions_keys(
    here: NodeKeys, there: NodeKeys, token: Callable[[int], bytes]
) -> None:
    """Whoever reads the memory later finds nothing from which older sessions follow."""
    ours, theirs = initiator(IK_PSK2, here, there, token), responder(IK_PSK2, there, token)
    theirs.read_untrusted(ours.write(b""))
    ours.read_untrusted(theirs.write(b""))
    for side in (ours, theirs):
        assert not {"_state", "_psk"} & vars(side).keys()
        assert vars(side)["_ephemeral"] is None
