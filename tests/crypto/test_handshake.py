from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from noise.backends.default import noise_backend
from noise.noise_protocol import NoiseProtocol
from noise.state import SymmetricState

from tunnel.crypto.fragments import MAX_CHUNK, MAX_FRAGMENTS
from tunnel.crypto.handshake import FIRST_OVERHEAD, HYBRID, SECOND_OVERHEAD, Initiator, Responder
from tunnel.crypto.node_keys import NodeKeys
from tunnel.crypto.noise import SessionKeys, encapsulate
from tunnel.model.errors import LocalProtocolError, NotAuthentic

HERE_PRIVATE, THERE_PRIVATE = bytes([0x11]) * 32, bytes([0x22]) * 32
HERE, THERE = NodeKeys(HERE_PRIVATE), NodeKeys(THERE_PRIVATE)
PSK = bytes([0x33]) * 32
PROLOGUE = b"prologue"
VECTOR: dict[str, str] = json.loads((Path(__file__).parent / "hybrid_vector.json").read_text())


def pair(psk: bytes = PSK, prologue: bytes = PROLOGUE) -> tuple[Initiator, Responder]:
    """Two sides; the responder's secrets are the arguments, the initiator's are the true ones."""
    ours = Initiator(HERE, THERE.public, PSK, PROLOGUE, random.Random(1).randbytes)
    return ours, Responder(THERE, psk, prologue, random.Random(2).randbytes)


def agreed() -> tuple[SessionKeys, SessionKeys]:
    ours, theirs = pair()
    theirs.read_first(ours.write_first(b""))
    ours.read_second(theirs.write_second(b""))
    return ours.keys, theirs.keys


@given(st.binary(max_size=100), st.binary(max_size=100))
def test_both_sides_agree_and_learn_each_others_payloads(first: bytes, second: bytes) -> None:
    ours, theirs = pair()
    opening = ours.write_first(first)
    assert len(opening) == len(first) + FIRST_OVERHEAD
    assert theirs.read_first(opening) == first
    assert theirs.remote_static == HERE.public
    answer = theirs.write_second(second)
    assert len(answer) == len(second) + SECOND_OVERHEAD
    assert ours.read_second(answer) == second
    assert ours.keys == SessionKeys(theirs.keys.receive, theirs.keys.send, theirs.keys.hash)
    assert {len(ours.keys.send), len(ours.keys.receive), len(ours.keys.hash)} == {32}
    assert len({ours.keys.send, ours.keys.receive, ours.keys.hash}) == 3


def test_the_hybrid_gives_these_bytes() -> None:
    """Fixed for good. The ML-KEM ciphertext is one that the library once made for this seed."""
    secret, ciphertext = bytes.fromhex(VECTOR["kem_secret"]), bytes.fromhex(VECTOR["kem_ciphertext"])
    ours = Initiator(HERE, THERE.public, PSK, PROLOGUE, tokens("initiator_ephemeral", "kem_seed"))
    theirs = Responder(THERE, PSK, PROLOGUE, tokens("responder_ephemeral"), lambda public: (secret, ciphertext))
    first = ours.write_first(b"first")
    assert first.hex() == VECTOR["first"]
    assert theirs.read_first(first) == b"first"
    second = theirs.write_second(b"second")
    assert second.hex() == VECTOR["second"]
    assert ours.read_second(second) == b"second"
    assert ours.keys.send.hex() == VECTOR["initiator_sends"]
    assert ours.keys.receive.hex() == VECTOR["responder_sends"]
    assert ours.keys.hash.hex() == VECTOR["hash"]


def tokens(*names: str) -> Callable[[int], bytes]:
    """Chance that deals out these values of the vector, in order, each of the size that is asked for."""
    values = iter([bytes.fromhex(VECTOR[name]) for name in names])

    def token(size: int) -> bytes:
        value = next(values)
        assert len(value) == size
        return value

    return token


def test_the_fixed_bytes_follow_from_the_specification_by_another_hand() -> None:
    """The tokens of IKhfs+psk2, written out in a row over noiseprotocol's SymmetricState."""
    protocol: Any = NoiseProtocol(b"Noise_IKpsk2_25519_AESGCM_SHA256", noise_backend)
    protocol.name = b"Noise_IKhfs+psk2_25519+MLKEM768_AESGCM_SHA256"
    assert protocol.name.decode() == HYBRID.name
    state: Any = SymmetricState.initialize_symmetric(protocol)
    state.mix_hash(PROLOGUE)
    state.mix_hash(THERE.public)

    ephemeral = NodeKeys(bytes.fromhex(VECTOR["initiator_ephemeral"]))
    first = ephemeral.public
    state.mix_hash(ephemeral.public)
    state.mix_key(ephemeral.public)
    state.mix_key(ephemeral.exchange(THERE.public))
    kem = MLKEM768PrivateKey.from_seed_bytes(bytes.fromhex(VECTOR["kem_seed"]))
    first += state.encrypt_and_hash(kem.public_key().public_bytes_raw())
    first += state.encrypt_and_hash(HERE.public)
    state.mix_key(HERE.exchange(THERE.public))
    first += state.encrypt_and_hash(b"first")
    assert first.hex() == VECTOR["first"]

    answering = NodeKeys(bytes.fromhex(VECTOR["responder_ephemeral"]))
    second = answering.public
    state.mix_hash(answering.public)
    state.mix_key(answering.public)
    state.mix_key(answering.exchange(ephemeral.public))
    second += state.encrypt_and_hash(bytes.fromhex(VECTOR["kem_ciphertext"]))
    state.mix_key(kem.decapsulate(bytes.fromhex(VECTOR["kem_ciphertext"])))
    state.mix_key(answering.exchange(HERE.public))
    state.mix_key_and_hash(PSK)
    second += state.encrypt_and_hash(b"second")
    assert second.hex() == VECTOR["second"]
    assert [key.hex() for key in protocol.hkdf(state.ck, b"", 2)] == [
        VECTOR["initiator_sends"],
        VECTOR["responder_sends"],
    ]
    assert state.h.hex() == VECTOR["hash"]


def test_the_messages_fit_their_datagrams() -> None:
    """With 1000 bytes of payload to spare: what a handshake has to say must never be cut."""
    assert FIRST_OVERHEAD + 1000 <= 2 * MAX_CHUNK
    assert SECOND_OVERHEAD + 1000 <= 2 * MAX_CHUNK
    assert MAX_FRAGMENTS == 4


def test_two_handshakes_never_give_the_same_keys() -> None:
    one, other = agreed()[0], agreed()[0]
    assert len({one.send, one.receive, one.hash, other.send, other.receive, other.hash}) == 6


@pytest.mark.parametrize("position", [*range(64), *range(64, FIRST_OVERHEAD, 37), FIRST_OVERHEAD - 1])
def test_no_byte_of_the_first_message_can_be_changed(position: int) -> None:
    ours, theirs = pair()
    first = ours.write_first(b"")
    with pytest.raises(NotAuthentic):
        theirs.read_first(flipped(first, position))
    assert theirs.read_first(first) == b""


@pytest.mark.parametrize("position", [*range(64), *range(64, SECOND_OVERHEAD, 37), SECOND_OVERHEAD - 1])
def test_no_byte_of_the_second_message_can_be_changed(position: int) -> None:
    """And the true answer is still taken after a forged one."""
    ours, theirs = pair()
    theirs.read_first(ours.write_first(b""))
    second = theirs.write_second(b"")
    with pytest.raises(NotAuthentic):
        ours.read_second(flipped(second, position))
    assert ours.read_second(second) == b""
    assert ours.keys.send == theirs.keys.receive


def flipped(message: bytes, position: int) -> bytes:
    return message[:position] + bytes([message[position] ^ 1]) + message[position + 1 :]


def test_another_prologue_is_found_in_the_first_message() -> None:
    ours, theirs = pair(prologue=b"other")
    with pytest.raises(NotAuthentic):
        theirs.read_first(ours.write_first(b""))


def test_another_psk_is_found_in_the_second_message() -> None:
    ours, theirs = pair(psk=bytes(32))
    theirs.read_first(ours.write_first(b""))
    with pytest.raises(NotAuthentic):
        ours.read_second(theirs.write_second(b""))


def test_a_message_for_another_node_does_not_open() -> None:
    ours = Initiator(HERE, NodeKeys(bytes([9]) * 32).public, PSK, PROLOGUE, random.Random(1).randbytes)
    with pytest.raises(NotAuthentic):
        pair()[1].read_first(ours.write_first(b""))


def test_who_only_claims_to_be_the_responder_finishes_nothing() -> None:
    """It knows the psk and every public key, and lacks the node's private one."""
    ours, _ = pair()
    thief = NodeKeys(bytes([9]) * 32)
    thief.public = THERE.public
    with pytest.raises(NotAuthentic):
        Responder(thief, PSK, PROLOGUE, random.Random(3).randbytes).read_first(ours.write_first(b""))


def test_a_broken_post_quantum_secret_breaks_the_handshake() -> None:
    """ML-KEM is no ornament: a wrong shared secret leaves both sides without a session."""
    ours = Initiator(HERE, THERE.public, PSK, PROLOGUE, random.Random(1).randbytes)
    theirs = Responder(
        THERE, PSK, PROLOGUE, random.Random(2).randbytes, lambda public: (bytes(32), encapsulate(public)[1])
    )
    theirs.read_first(ours.write_first(b""))
    with pytest.raises(NotAuthentic):
        ours.read_second(theirs.write_second(b""))


def test_an_ml_kem_key_that_is_none_is_not_authentic() -> None:
    """A member could send one: FIPS 203, section 7.2, has the responder look."""
    with pytest.raises(ValueError):
        encapsulate(b"\xff" * 1184)

    def refuse(public: bytes) -> tuple[bytes, bytes]:
        return encapsulate(b"\xff" * len(public))

    ours, _ = pair()
    theirs = Responder(THERE, PSK, PROLOGUE, random.Random(2).randbytes, refuse)
    theirs.read_first(ours.write_first(b""))
    with pytest.raises(NotAuthentic, match="ML-KEM"):
        theirs.write_second(b"")


def test_a_remote_static_key_of_low_order_is_refused() -> None:
    with pytest.raises(NotAuthentic):
        Initiator(HERE, bytes(32), PSK, PROLOGUE, random.Random(1).randbytes).write_first(b"")


@given(st.binary(max_size=100) | st.integers(1000, 1500).map(lambda size: random.Random(size).randbytes(size)))
def test_junk_is_not_authentic_and_nothing_worse(junk: bytes) -> None:
    ours, theirs = pair()
    ours.write_first(b"")
    with pytest.raises(NotAuthentic):
        theirs.read_first(junk)
    with pytest.raises(NotAuthentic):
        ours.read_second(junk)


def test_what_is_not_known_yet_is_a_bug_to_ask_for() -> None:
    ours, theirs = pair()
    for ask in (lambda: ours.keys, lambda: theirs.keys, lambda: theirs.remote_static):
        with pytest.raises(LocalProtocolError):
            ask()


def test_no_text_shows_a_secret() -> None:
    ours, _ = pair()
    assert repr(agreed()[0]) == "SessionKeys()"
    assert repr(ours._exchange) == f"Exchange({HYBRID.name}, initiator, 2 messages to go)"
