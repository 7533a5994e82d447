"""What follows from a network's secret: the keys of its members, and the addresses that are made from its id.

    secret (256 bits) + name --HKDF--> network key (Ed25519)   signs `hello`; the server sees its public half
                                   --> announcement key        seals announcements; members only
                                   --> psk                     of handshakes and probes; members only

The network id is a hash of the name's digest and the network's public key, so the invite, which carries it, shows a
wrong secret before anything is sent.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from ipaddress import IPv6Address

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tunnel.crypto.derivation import KEY_BYTES, derive_key, labeled
from tunnel.model.errors import SettingsError
from tunnel.model.identity import ID_BYTES, NetworkId, NodeId
from tunnel.model.invite import Invite
from tunnel.wire.invites import check_network_name, decode_invite

_PREFIX6_BYTES = 6
_LOCAL_PREFIX6 = b"\xfd"  # RFC 4193, section 3.1: locally assigned; 40 bits of global id follow


@dataclass(frozen=True, slots=True)
class NetworkKeys:
    """All keys of one network. Only its members hold this value."""

    network_id: NetworkId
    name: str
    public_key: bytes
    """Ed25519, 32 bytes."""
    private_key: bytes = field(repr=False)
    """Ed25519 seed, 32 bytes."""
    announcement_key: bytes = field(repr=False)
    """32 bytes."""
    psk: bytes = field(repr=False)
    """32 bytes."""


def derive_network_keys(name: str, secret: bytes) -> NetworkKeys:
    """The keys of the network with this name and 32-byte secret. Raises SettingsError."""
    check_network_name(name)
    if len(secret) != KEY_BYTES:
        raise SettingsError(f"a network's secret has {KEY_BYTES} bytes")
    digest = network_name_digest(name)
    private_key = derive_key(secret, "network key", salt=digest)
    public_key = Ed25519PrivateKey.from_private_bytes(private_key).public_key().public_bytes_raw()
    return NetworkKeys(
        network_id=network_id_of(public_key, digest),
        name=name,
        public_key=public_key,
        private_key=private_key,
        announcement_key=derive_key(secret, "announcement key", salt=digest),
        psk=derive_key(secret, "psk", salt=digest),
    )


def network_id_of(public_key: bytes, name_digest: bytes) -> NetworkId:
    """The id of the network with this Ed25519 key and name digest: 128 bits of their labeled SHA-256."""
    return NetworkId(sha256(labeled("network id", public_key, name_digest)).digest()[:ID_BYTES])


def network_name_digest(name: str) -> bytes:
    """SHA-256 of the name in UTF-8, 32 bytes: all that the server learns of the name."""
    return sha256(name.encode()).digest()


def new_invite(server: str, pin: bytes | None, network: str, secret: bytes) -> Invite:
    """The invite of a network that begins to exist with its secret, 32 random bytes. Raises SettingsError."""
    return Invite(server, pin, network, derive_network_keys(network, secret).network_id, secret)


def open_invite(text: str) -> tuple[Invite, NetworkKeys]:
    """An invite and the keys that it holds. Raises SettingsError when they do not belong together; nothing is sent."""
    invite = decode_invite(text)
    keys = derive_network_keys(invite.network, invite.secret)
    if keys.network_id != invite.network_id:
        raise SettingsError(
            f"the secret in this invite is not the one of network {invite.network!r}: ask for a new invite"
        )
    return invite, keys


def tunnel_prefix6(network_id: NetworkId) -> str:
    """The IPv6 prefix of all tunnel addresses of a network: fdxx:xxxx:xxxx::/48, 40 bits of the network id."""
    return f"{IPv6Address(_prefix6(network_id).ljust(16, bytes(1)))}/{8 * _PREFIX6_BYTES}"


def tunnel_address6(network_id: NetworkId, node_id: NodeId) -> str:
    """A node's own IPv6 tunnel address: the network's prefix and 80 bits of the node id. Nobody has to lease it."""
    return str(IPv6Address(_prefix6(network_id) + node_id.raw[: 16 - _PREFIX6_BYTES]))


def _prefix6(network_id: NetworkId) -> bytes:
    return _LOCAL_PREFIX6 + network_id.raw[: _PREFIX6_BYTES - 1]
