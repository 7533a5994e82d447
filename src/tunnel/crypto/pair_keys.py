"""Keys that two nodes have before they have a session: one set for each direction, derived and never sent.

What one node derives as `send` the other derives as `receive`. The receiver index, by which the keys for a datagram are
found, is derived too, so it is not announced and tells a stranger nothing. It has 32 bits: two peers may share one, so
a lookup by index must be ready to try several entries.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tunnel.crypto.derivation import KEY_BYTES, derive_key
from tunnel.model.identity import NodeId

_INDEX_BYTES = 4


@dataclass(frozen=True, slots=True)
class HandshakeKeys:
    """Keys of the MACs on handshake datagrams, which keep strangers out before anything is stored."""

    send_mac: bytes = field(repr=False)
    """32 bytes."""
    receive_mac: bytes = field(repr=False)
    """32 bytes."""
    send_index: int
    """`receiver_index` of the handshake datagrams that we send: 32 bits."""
    receive_index: int


@dataclass(frozen=True, slots=True)
class ProbeKeys:
    """Keys of probes between one process start here and one there."""

    send_key: bytes = field(repr=False)
    """AES-256-GCM, 32 bytes."""
    receive_key: bytes = field(repr=False)
    """AES-256-GCM, 32 bytes."""
    send_index: int
    """`receiver_index` of the probes that we send: 32 bits."""
    receive_index: int


def derive_handshake_keys(
    shared: bytes, psk: bytes, *, own: NodeId, own_epoch: bytes, peer: NodeId, peer_epoch: bytes
) -> HandshakeKeys:
    """From `shared` (static-static DH, 32 bytes), the network's psk, and both process starts.

    So no other member of the network can write in the peer's name, and recordings of an earlier start are worthless.
    """
    _refuse_mirror(own, peer)
    here, there = (own.raw, own_epoch), (peer.raw, peer_epoch)
    send_mac, send_index = _key_and_index(shared, "handshake", *here, *there, salt=psk)
    receive_mac, receive_index = _key_and_index(shared, "handshake", *there, *here, salt=psk)
    return HandshakeKeys(send_mac, receive_mac, send_index, receive_index)


def derive_probe_keys(
    shared: bytes, psk: bytes, *, own: NodeId, own_epoch: bytes, peer: NodeId, peer_epoch: bytes
) -> ProbeKeys:
    """From `shared` (static-static DH, 32 bytes) and the network's psk; one of them alone is not enough.

    The epochs are part of them, so the keys change whenever either process restarts, and counters may begin at 0 then.
    """
    _refuse_mirror(own, peer)
    here, there = (own.raw, own_epoch), (peer.raw, peer_epoch)
    send_key, send_index = _key_and_index(shared, "probe", *here, *there, salt=psk)
    receive_key, receive_index = _key_and_index(shared, "probe", *there, *here, salt=psk)
    return ProbeKeys(send_key, receive_key, send_index, receive_index)


def _key_and_index(secret: bytes, purpose: str, *facts: bytes, salt: bytes = b"") -> tuple[bytes, int]:
    """Key and receiver index of the direction that `facts` name, the sender first."""
    material = derive_key(secret, purpose, *facts, salt=salt, size=KEY_BYTES + _INDEX_BYTES)
    return material[:KEY_BYTES], int.from_bytes(material[KEY_BYTES:], "big")


def _refuse_mirror(own: NodeId, peer: NodeId) -> None:
    if own == peer:
        raise ValueError("a node shares no keys with itself: both directions would have the same")
