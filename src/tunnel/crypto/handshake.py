"""How two nodes agree on session keys: Noise IK with the network's psk and, post-quantum, ML-KEM-768.

    <- s                                     the initiator knows the responder's static key from its announcement
    ...
    -> e, es, e1, s, ss                      1296 bytes and the payload
    <- e, ee, ekem1, se, psk                 1152 bytes and the payload

The `hfs` tokens are where the HFS extension of Noise puts them: e1 after the DH that follows the first e, so that it
travels encrypted; ekem1 after ee. To read a recorded session one must break X25519 *and* ML-KEM *and* know the psk.
Message 1 can be replayed, so its payload must hold what tells old from new (an epoch, a counter).
"""

from __future__ import annotations

from collections.abc import Callable

from tunnel.crypto.node_keys import NodeKeys
from tunnel.crypto.noise import Encapsulate, Exchange, Protocol, SessionKeys, encapsulate
from tunnel.model.errors import LocalProtocolError

HYBRID = Protocol(
    name="Noise_IKhfs+psk2_25519+MLKEM768_AESGCM_SHA256",
    first=("e", "es", "e1", "s", "ss"),
    second=("e", "ee", "ekem1", "se", "psk"),
    cipher="AESGCM",
    hash="sha256",
)
FIRST_OVERHEAD = 32 + (1184 + 16) + (32 + 16) + 16
"""Bytes of the first message around its payload."""
SECOND_OVERHEAD = 32 + (1088 + 16) + 16
"""Bytes of the second message around its payload."""


class Initiator:
    """The side that begins: `write_first`, then `read_second`, then `keys`."""

    def __init__(
        self, static: NodeKeys, remote_static: bytes, psk: bytes, prologue: bytes, token: Callable[[int], bytes]
    ) -> None:
        self._exchange = Exchange(
            HYBRID,
            is_initiator=True,
            static=static,
            remote_static=remote_static,
            psk=psk,
            prologue=prologue,
            token=token,
        )

    def write_first(self, payload: bytes) -> bytes:
        """The first message. Raises NotAuthentic if no honest node would have the key `remote_static`."""
        return self._exchange.write(payload)

    def read_second(self, message: bytes) -> bytes:
        """The payload of the answer. Raises NotAuthentic; then the true answer may still come."""
        return self._exchange.read_untrusted(message)

    @property
    def keys(self) -> SessionKeys:
        """After `read_second`; before, LocalProtocolError."""
        return self._exchange.keys()


class Responder:
    """The side that answers: `read_first`, look at `remote_static`, then `write_second`, then `keys`."""

    def __init__(
        self,
        static: NodeKeys,
        psk: bytes,
        prologue: bytes,
        token: Callable[[int], bytes],
        encapsulate: Encapsulate = encapsulate,
    ) -> None:
        self._exchange = Exchange(
            HYBRID,
            is_initiator=False,
            static=static,
            remote_static=None,
            psk=psk,
            prologue=prologue,
            token=token,
            encapsulate=encapsulate,
        )

    def read_first(self, message: bytes) -> bytes:
        """The payload. Raises NotAuthentic; then the true message may still come.

        It proves who wrote it, not when, and not that the writer knows the psk: the session's first packet proves that.
        """
        return self._exchange.read_untrusted(message)

    @property
    def remote_static(self) -> bytes:
        """The initiator's static public key, 32 bytes, after `read_first`; before, LocalProtocolError."""
        if self._exchange.remote_static is None:
            raise LocalProtocolError("the initiator is not known before its message is read")
        return self._exchange.remote_static

    def write_second(self, payload: bytes) -> bytes:
        """The answer. Raises NotAuthentic if the initiator's ML-KEM key is invalid."""
        return self._exchange.write(payload)

    @property
    def keys(self) -> SessionKeys:
        """After `write_second`; before, LocalProtocolError."""
        return self._exchange.keys()
