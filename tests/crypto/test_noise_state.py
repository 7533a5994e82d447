from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from tunnel.crypto.noise_state import CipherState, SymmetricState
from tunnel.model.errors import NotAuthentic


def test_a_cipher_without_a_key_passes_bytes_through() -> None:
    """Section 5.1: so a pattern may send before any secret is shared."""
    cipher = CipherState(None, "AESGCM")
    assert cipher.overhead == 0
    assert cipher.decrypt(b"ad", cipher.encrypt(b"ad", b"clear")) == cipher.encrypt(b"ad", b"clear") == b"clear"


def test_aes_gcm_counts_big_endian_and_chacha_little_endian() -> None:
    """Sections 12.3 and 12.4; the handshakes of the vectors count no further than 1."""
    key, nonces = bytes(range(32)), (bytes(12), bytes(11) + b"\x01", bytes(4) + b"\x01" + bytes(7))
    gcm, chacha = CipherState(key, "AESGCM"), CipherState(key, "ChaChaPoly")
    assert gcm.encrypt(b"ad", b"one") == AESGCM(key).encrypt(nonces[0], b"one", b"ad")
    assert gcm.encrypt(b"ad", b"two") == AESGCM(key).encrypt(nonces[1], b"two", b"ad")
    assert chacha.encrypt(b"ad", b"one") == ChaCha20Poly1305(key).encrypt(nonces[0], b"one", b"ad")
    assert chacha.encrypt(b"ad", b"two") == ChaCha20Poly1305(key).encrypt(nonces[2], b"two", b"ad")


def test_what_does_not_open_is_not_authentic() -> None:
    ciphertext = CipherState(bytes(32), "AESGCM").encrypt(b"ad", b"words")
    assert CipherState(bytes(32), "AESGCM").decrypt(b"ad", ciphertext) == b"words"
    for associated, content in ((b"AD", ciphertext), (b"ad", ciphertext[:-1]), (b"ad", b"")):
        with pytest.raises(NotAuthentic):
            CipherState(bytes(32), "AESGCM").decrypt(associated, content)


def test_a_copy_goes_its_own_way() -> None:
    """A message is read on a copy: what fails there must not show here."""
    state = SymmetricState("Noise_Test", "AESGCM", "sha256")
    state.mix_key(b"key")
    twin = state.copy()
    before = state.hash
    sealed = twin.encrypt_and_hash(b"words")
    twin.mix_key(b"more")
    assert state.hash == before != twin.hash
    assert state.split() != twin.split()
    assert state.encrypt_and_hash(b"words") == sealed
