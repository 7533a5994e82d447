"""Noise handshakes of two messages (revision 34, section 5.3), with psk and the tokens of the HFS extension.

    Protocol   a pattern and its functions, as data
    Exchange   one side of one handshake: tokens -> bytes

Sans I/O; randomness comes from an injected `token`. A message that cannot be read leaves its Exchange as it was, so a
forged one cannot end a handshake in progress. Our own protocol is one `Protocol` value in handshake.py; tests run
others through the same code, against published vectors.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey

from tunnel.crypto.node_keys import NodeKeys
from tunnel.crypto.noise_state import Cipher, Hash, SymmetricState
from tunnel.model.errors import LocalProtocolError, NotAuthentic

KEY_BYTES = 32
KEM_SEED_BYTES = 64
KEM_PUBLIC_BYTES = 1184
KEM_CIPHERTEXT_BYTES = 1088
MAX_MESSAGE = 65535

Token = Literal["e", "s", "ee", "es", "se", "ss", "psk", "e1", "ekem1"]
Encapsulate = Callable[[bytes], tuple[bytes, bytes]]
"""ML-KEM-768 public key -> (shared secret, ciphertext). Raises ValueError for an invalid public key."""


@dataclass(frozen=True, slots=True)
class Protocol:
    """A pattern whose initiator knows the responder's static key (`<- s`), and the functions it runs on."""

    name: str
    first: tuple[Token, ...]
    second: tuple[Token, ...]
    cipher: Cipher
    hash: Hash

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
        """`remote_static`: 32 bytes at the initiator, None at the responder. `psk`: 32 bytes, or empty if unused."""
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
        self._keys: SessionKeys | None = None
        self._state = SymmetricState(protocol.name, protocol.cipher, protocol.hash)
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
        """Our next message. Raises LocalProtocolError out of turn, NotAuthentic if the peer's keys are invalid."""
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
        """The keys of the finished handshake. Raises LocalProtocolError before it is finished."""
        if self._keys is None:
            raise LocalProtocolError("a handshake has no keys before both messages passed")
        return self._keys

    def _next_message(self, *, is_ours: bool) -> tuple[Token, ...]:
        is_initiators = len(self._messages) == 2
        if self.is_finished or (is_initiators == self._is_initiator) != is_ours:
            raise LocalProtocolError("a handshake message out of turn")
        return self._messages[0]

    def _trial(self) -> Exchange:
        """A copy to work on. Keys are values and are shared; only the symmetric state changes in place."""
        trial = copy.copy(self)
        trial._state = self._state.copy()
        return trial

    def _adopt(self, trial: Exchange) -> None:
        """The message was good: take over the copy's state. After the last message only the session's keys are kept."""
        vars(self).update(vars(trial))
        self._messages = self._messages[1:]
        if self.is_finished:
            first, second = self._state.split()
            send, receive = (first, second) if self._is_initiator else (second, first)
            self._keys = SessionKeys(send, receive, self._state.hash)
            del self._state, self._psk
            self._ephemeral = self._kem = None

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
                    raise NotAuthentic("an invalid ML-KEM key") from None
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
        """The tokens that send nothing. In a DH token the initiator's key is named first."""
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
    """Reads a message from its beginning."""

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
