"""The Noise Protocol Framework (revision 34), as much of it as we use: two-message patterns, psk, and the HFS tokens.

    CipherState     one key, one counter                             (section 5.1)
    SymmetricState  chaining key, transcript hash, a CipherState     (section 5.2)
    Exchange        one side of one handshake: tokens -> bytes       (section 5.3, HandshakeState)

Sans I/O; chance comes from an injected `token`. A message that fails to read leaves its Exchange as it was, so a forged
one cannot end a handshake in flight. Our own protocol is one `Protocol` value in handshake.py; tests run others through
the same code, against published vectors.
"""

from __future__ import annotations

import copy
import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from tunnel.crypto.node_keys import NodeKeys
from tunnel.model.errors import LocalProtocolError, NotAuthentic

KEY_BYTES = 32
TAG_BYTES = 16
KEM_SEED_BYTES = 64
KEM_PUBLIC_BYTES = 1184
KEM_CIPHERTEXT_BYTES = 1088
MAX_MESSAGE = 65535

Token = Literal["e", "s", "ee", "es", "se", "ss", "psk", "e1", "ekem1"]
Encapsulate = Callable[[bytes], tuple[bytes, bytes]]
"""ML-KEM-768 public key -> (shared secret, ciphertext). Raises ValueError for what is no public key."""


@dataclass(frozen=True, slots=True)
class Protocol:
    """A pattern whose initiator knows the responder's static key (`<- s`), and the functions it runs on."""

    name: str
    first: tuple[Token, ...]
    second: tuple[Token, ...]
    cipher: Literal["AESGCM", "ChaChaPoly"]
    hash: Literal["sha256", "blake2s"]

    @property
    def has_psk(self) -> bool:
        """Whether the pattern mixes in a psk, and with it every ephemeral key (section 9.2)."""
        return "psk" in self.first + self.second


@dataclass(frozen=True, slots=True)
class SessionKeys:
    """What a finished handshake yields."""

    send: bytes = field(repr=False)
    """32 bytes."""
    receive: bytes = field(repr=False)
    """32 bytes."""
    hash: bytes = field(repr=False)
    """32 bytes, the same on both sides, different for each handshake (channel binding, section 11.2)."""


def encapsulate(public: bytes) -> tuple[bytes, bytes]:
    """ML-KEM-768 (FIPS 203) with the library's own randomness, which cannot be seeded."""
    return MLKEM768PublicKey.from_public_bytes(public).encapsulate()


class CipherState:
    """AEAD under one key with a counting nonce; without a key it passes bytes through."""

    __slots__ = ("_aead", "_counter", "_nonce")

    def __init__(self, key: bytes | None, cipher: Literal["AESGCM", "ChaChaPoly"]) -> None:
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

    __slots__ = ("_chaining", "_protocol", "cipher", "hash")

    def __init__(self, protocol: Protocol) -> None:
        name = protocol.name.encode()
        self._protocol = protocol
        self.hash: bytes = name.ljust(32, bytes(1)) if len(name) <= 32 else hashlib.new(protocol.hash, name).digest()
        self._chaining = self.hash
        self.cipher = CipherState(None, protocol.cipher)

    def mix_hash(self, content: bytes) -> None:
        """The transcript now holds `content`."""
        self.hash = hashlib.new(self._protocol.hash, self.hash + content).digest()

    def mix_key(self, material: bytes) -> None:
        """The keys now depend on `material`."""
        self._chaining, key = self._expand(material, 2)
        self.cipher = CipherState(key, self._protocol.cipher)

    def mix_key_and_hash(self, material: bytes) -> None:
        """Keys and transcript now depend on `material`: for a psk."""
        self._chaining, mixed, key = self._expand(material, 3)
        self.mix_hash(mixed)
        self.cipher = CipherState(key, self._protocol.cipher)

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
        secret = hmac.digest(self._chaining, material, self._protocol.hash)
        blocks = [b""]
        for number in range(1, count + 1):
            blocks.append(hmac.digest(secret, blocks[-1] + bytes([number]), self._protocol.hash))
        return blocks[1:]


class Exchange:
    """One side of one two-message handshake. The initiator writes then reads, the responder reads then writes."""

    def __init__(
        self,
        protocol: Protocol,
        *,
        is_initiator: bool,
        static: NodeKeys,
        remote_static: bytes | None,
        psk: bytes,
        prologue: bytes,
        token: Callable[[int], bytes],
        encapsulate: Encapsulate = encapsulate,
    ) -> None:
        """`remote_static`: 32 bytes on the initiator, None on the responder. `psk`: 32 bytes, or none if unused."""
        if len(psk) != (KEY_BYTES if protocol.has_psk else 0):
            raise ValueError(f"{protocol.name} takes a psk of 32 bytes if any")
        if (remote_static is not None) != is_initiator:
            raise ValueError("the initiator knows the responder's static key, the responder learns the initiator's")
        self._protocol = protocol
        self._is_initiator = is_initiator
        self._static, self.remote_static = static, remote_static
        self._ephemeral: NodeKeys | None = None
        self._remote_ephemeral = b""
        self._kem: MLKEM768PrivateKey | None = None
        self._remote_kem = b""
        self._psk, self._token, self._encapsulate = psk, token, encapsulate
        self._messages = [protocol.first, protocol.second]
        self._state = SymmetricState(protocol)
        self._state.mix_hash(prologue)
        self._state.mix_hash(static.public if remote_static is None else remote_static)

    def __repr__(self) -> str:
        role = "initiator" if self._is_initiator else "responder"
        return f"Exchange({self._protocol.name}, {role}, {len(self._messages)} messages to go)"

    @property
    def is_finished(self) -> bool:
        """Whether both messages passed."""
        return not self._messages

    def write(self, payload: bytes) -> bytes:
        """Our next message. Raises LocalProtocolError out of turn, NotAuthentic if the peer's keys are none."""
        tokens = self._next_message(is_ours=True)
        trial = self._trial()
        message = b"".join([trial._write_token(token) for token in tokens]) + trial._state.encrypt_and_hash(payload)
        if len(message) > MAX_MESSAGE:
            raise LocalProtocolError("a Noise message has at most 65535 bytes")
        self._adopt(trial)
        return message

    def read_untrusted(self, message: bytes) -> bytes:
        """The payload of the peer's next message. Raises NotAuthentic, and then nothing has changed."""
        tokens = self._next_message(is_ours=False)
        if len(message) > MAX_MESSAGE:
            raise NotAuthentic("a handshake message that is too long")
        trial = self._trial()
        reader = _Reader(message)
        for token in tokens:
            trial._read_token(token, reader)
        payload = trial._state.decrypt_and_hash(reader.rest())
        self._adopt(trial)
        return payload

    def keys(self) -> SessionKeys:
        """Of the finished handshake. Raises LocalProtocolError before."""
        if not self.is_finished:
            raise LocalProtocolError("a handshake has no keys before both messages passed")
        first, second = self._state.split()
        send, receive = (first, second) if self._is_initiator else (second, first)
        return SessionKeys(send, receive, self._state.hash)

    def _next_message(self, *, is_ours: bool) -> tuple[Token, ...]:
        is_initiators = len(self._messages) == 2
        if self.is_finished or (is_initiators == self._is_initiator) != is_ours:
            raise LocalProtocolError("a handshake message out of turn")
        return self._messages[0]

    def _trial(self) -> Exchange:
        """A copy to work on. Keys are values and are shared; only the symmetric state changes in place."""
        trial = copy.copy(self)
        trial._state = copy.copy(self._state)
        trial._state.cipher = copy.copy(self._state.cipher)
        return trial

    def _adopt(self, trial: Exchange) -> None:
        self.__dict__.update(trial.__dict__)
        self._messages = self._messages[1:]

    def _write_token(self, token: Token) -> bytes:
        state = self._state
        match token:
            case "e":
                self._ephemeral = NodeKeys(self._token(KEY_BYTES))
                self._mix_ephemeral(self._ephemeral.public)
                return self._ephemeral.public
            case "s":
                return state.encrypt_and_hash(self._static.public)
            case "e1":
                self._kem = MLKEM768PrivateKey.from_seed_bytes(self._token(KEM_SEED_BYTES))
                return state.encrypt_and_hash(self._kem.public_key().public_bytes_raw())
            case "ekem1":
                try:
                    secret, ciphertext = self._encapsulate(self._remote_kem)
                except ValueError:
                    raise NotAuthentic("an ML-KEM key that is none") from None
                sealed = state.encrypt_and_hash(ciphertext)
                state.mix_key(secret)
                return sealed
            case _:
                self._mix_secret(token)
                return b""

    def _read_token(self, token: Token, reader: _Reader) -> None:
        state = self._state
        match token:
            case "e":
                self._remote_ephemeral = reader.take(KEY_BYTES)
                self._mix_ephemeral(self._remote_ephemeral)
            case "s":
                self.remote_static = state.decrypt_and_hash(reader.take(KEY_BYTES + state.cipher.overhead))
            case "e1":
                self._remote_kem = state.decrypt_and_hash(reader.take(KEM_PUBLIC_BYTES + state.cipher.overhead))
            case "ekem1":
                ciphertext = state.decrypt_and_hash(reader.take(KEM_CIPHERTEXT_BYTES + state.cipher.overhead))
                assert self._kem is not None
                state.mix_key(self._kem.decapsulate(ciphertext))
            case _:
                self._mix_secret(token)

    def _mix_ephemeral(self, public: bytes) -> None:
        self._state.mix_hash(public)
        if self._protocol.has_psk:
            self._state.mix_key(public)

    def _mix_secret(self, token: Literal["ee", "es", "se", "ss", "psk"]) -> None:
        """The tokens that put nothing on the wire. In a DH token the initiator's key is named first."""
        if token == "psk":  # noqa: S105
            self._state.mix_key_and_hash(self._psk)
            return
        initiators, responders = token
        mine, theirs = (initiators, responders) if self._is_initiator else (responders, initiators)
        own = self._ephemeral if mine == "e" else self._static
        remote = self._remote_ephemeral if theirs == "e" else self.remote_static
        assert own is not None
        assert remote is not None
        self._state.mix_key(own.exchange(remote))


class _Reader:
    """Takes a message apart from the front."""

    def __init__(self, message: bytes) -> None:
        self._message = message
        self._offset = 0

    def take(self, size: int) -> bytes:
        part = self._message[self._offset : self._offset + size]
        if len(part) < size:
            raise NotAuthentic("a handshake message that is too short")
        self._offset += size
        return part

    def rest(self) -> bytes:
        return self._message[self._offset :]
