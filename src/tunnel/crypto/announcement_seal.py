"""Announcement bodies, sealed for the members of a network: the server routes them and can neither read nor forge them.

    | nonce (12) | AES-256-GCM ciphertext and tag |      key = HKDF(announcement key; node id, epoch), AD = seq

Each process start of each node thus has a key of its own, and a body opens only for the node, epoch and seq that it was
sealed for. A member could seal in another member's name, but it would only cause probes that nobody answers, since
paths and sessions are proved by the node's own key.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tunnel.crypto.derivation import derive_key
from tunnel.model.errors import NotAuthentic
from tunnel.model.identity import NodeId

NONCE_BYTES = 12
SEAL_BYTES = NONCE_BYTES + 16
"""By how much a sealed body is longer than the body."""


def seal_announcement(key: bytes, *, node: NodeId, epoch: bytes, seq: int, body: bytes, nonce: bytes) -> bytes:
    """Seal a body under the network's announcement key. `nonce`: 12 bytes, fresh from the entropy port."""
    if len(nonce) != NONCE_BYTES:
        raise ValueError(f"a nonce has {NONCE_BYTES} bytes")
    return nonce + _cipher(key, node, epoch).encrypt(nonce, body, _associated(seq))


def open_announcement(key: bytes, *, node: NodeId, epoch: bytes, seq: int, sealed: bytes) -> bytes:
    """The body that `node` sealed as number `seq` of `epoch`. Raises NotAuthentic."""
    if len(sealed) < SEAL_BYTES:
        raise NotAuthentic("a sealed announcement is shorter than its seal")
    nonce, ciphertext = sealed[:NONCE_BYTES], sealed[NONCE_BYTES:]
    try:
        return _cipher(key, node, epoch).decrypt(nonce, ciphertext, _associated(seq))
    except InvalidTag:
        raise NotAuthentic("an announcement that was not sealed for this node, epoch and seq") from None


def _cipher(key: bytes, node: NodeId, epoch: bytes) -> AESGCM:
    return AESGCM(derive_key(key, "announcement", node.raw, epoch))


def _associated(seq: int) -> bytes:
    return seq.to_bytes(8, "big")
