"""The symmetric half of the Noise Protocol Framework (revision 34): the state that a handshake mixes everything into.

    CipherState     one key, one counter                             (section 5.1)
    SymmetricState  chaining key, transcript hash, a CipherState     (section 5.2)

Messages, patterns and Diffie-Hellman are in noise.py.
"""

from __future__ import annotations

import copy
import hashlib
import hmac
from typing import Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from tunnel.model.errors import NotAuthentic

TAG_BYTES = 16
HASH_BYTES = 32

Cipher = Literal["AESGCM", "ChaChaPoly"]
Hash = Literal["sha256", "blake2s"]


class CipherState:
    """AEAD under one key with a counting nonce; without a key it passes bytes through."""

    __slots__ = ("_aead", "_counter", "_nonce")

    def __init__(self, key: bytes | None, cipher: Cipher) -> None:
        self._aead: AESGCM | ChaCha20Poly1305 | None = None
        if key is not None:
            self._aead = AESGCM(key) if cipher == "AESGCM" else ChaCha20Poly1305(key)
        self._nonce: Literal["big", "little"] = "big" if cipher == "AESGCM" else "little"
        self._counter = 0

    @property
    def overhead(self) -> int:
        """By how much a ciphertext is longer than its plaintext."""
        return 0 if self._aead is None else TAG_BYTES

    def encrypt(self, associated: bytes, plaintext: bytes) -> bytes:
        """The ciphertext with its tag."""
        return plaintext if self._aead is None else self._aead.encrypt(self._next_nonce(), plaintext, associated)

    def decrypt(self, associated: bytes, ciphertext: bytes) -> bytes:
        """The plaintext. Raises NotAuthentic."""
        if self._aead is None:
            return ciphertext
        try:
            return self._aead.decrypt(self._next_nonce(), ciphertext, associated)
        except InvalidTag:
            raise NotAuthentic("a handshake message that does not open") from None

    def _next_nonce(self) -> bytes:
        nonce = bytes(4) + self._counter.to_bytes(8, self._nonce)
        self._counter += 1
        return nonce


class SymmetricState:
    """Chaining key and transcript hash."""

    __slots__ = ("_chaining", "_cipher_name", "_hash_name", "cipher", "hash")

    def __init__(self, protocol_name: str, cipher: Cipher, hash_name: Hash) -> None:
        name = protocol_name.encode()
        self._cipher_name: Cipher = cipher
        self._hash_name: Hash = hash_name
        is_short = len(name) <= HASH_BYTES
        self.hash: bytes = name.ljust(HASH_BYTES, bytes(1)) if is_short else hashlib.new(hash_name, name).digest()
        self._chaining = self.hash
        self.cipher = CipherState(None, cipher)

    def copy(self) -> SymmetricState:
        """An independent copy."""
        twin = copy.copy(self)
        twin.cipher = copy.copy(self.cipher)
        return twin

    def mix_hash(self, content: bytes) -> None:
        """The transcript now holds `content`."""
        self.hash = hashlib.new(self._hash_name, self.hash + content).digest()

    def mix_key(self, material: bytes) -> None:
        """The keys now depend on `material`."""
        self._chaining, key = self._expand(material, 2)
        self.cipher = CipherState(key, self._cipher_name)

    def mix_key_and_hash(self, material: bytes) -> None:
        """Keys and transcript now depend on `material`: for a psk."""
        self._chaining, mixed, key = self._expand(material, 3)
        self.mix_hash(mixed)
        self.cipher = CipherState(key, self._cipher_name)

    def encrypt_and_hash(self, plaintext: bytes) -> bytes:
        """Encrypt under the current key, if there is one yet."""
        ciphertext = self.cipher.encrypt(self.hash, plaintext)
        self.mix_hash(ciphertext)
        return ciphertext

    def decrypt_and_hash(self, ciphertext: bytes) -> bytes:
        """Raises NotAuthentic."""
        plaintext = self.cipher.decrypt(self.hash, ciphertext)
        self.mix_hash(ciphertext)
        return plaintext

    def split(self) -> tuple[bytes, bytes]:
        """The initiator's sending key and the responder's."""
        first, second = self._expand(b"", 2)
        return first, second

    def _expand(self, material: bytes, count: int) -> list[bytes]:
        """Noise's HKDF (section 4.3): RFC 5869 with the chaining key as salt and an empty info."""
        secret = hmac.digest(self._chaining, material, self._hash_name)
        blocks = [b""]
        for number in range(1, count + 1):
            blocks.append(hmac.digest(secret, blocks[-1] + bytes([number]), self._hash_name))
        return blocks[1:]
