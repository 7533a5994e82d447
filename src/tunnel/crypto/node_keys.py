"""A node's static X25519 key (RFC 7748), and the node id that follows from its public half."""

from __future__ import annotations

from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from tunnel.crypto.derivation import derive_key, labeled
from tunnel.model.errors import NotAuthentic
from tunnel.model.identity import ID_BYTES, NodeId


class NodeKeys:
    """A node's static key pair, made from 32 secret bytes, which never show in `repr`."""

    __slots__ = ("_private", "id", "public")

    def __init__(self, private: bytes) -> None:
        self._private = X25519PrivateKey.from_private_bytes(private)
        self.public: bytes = self._private.public_key().public_bytes_raw()
        """32 bytes."""
        self.id: NodeId = node_id_of(self.public)

    def __repr__(self) -> str:
        return f"NodeKeys(id={self.id})"

    def derive(self, purpose: str, *, size: int) -> bytes:
        """`size` bytes that only this node can know, the same at each start."""
        return derive_key(self._private.private_bytes_raw(), purpose, size=size)

    def exchange(self, public: bytes) -> bytes:
        """The 32-byte secret shared with the owner of `public`.

        Raises NotAuthentic if that is not a public key, or one of the few that give the same secret with every private
        key (RFC 7748, section 6.1).
        """
        try:
            return self._private.exchange(X25519PublicKey.from_public_bytes(public))
        except ValueError:
            raise NotAuthentic("a public key that no honest node has") from None


def node_id_of(public: bytes) -> NodeId:
    """The id of the node with this static public key: 128 bits of its labeled SHA-256."""
    return NodeId(sha256(labeled("node id", public)).digest()[:ID_BYTES])
