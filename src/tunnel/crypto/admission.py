"""How a node registers at the server: it proves the network's secret and its own key, over the server's challenge.

    server -> node   challenge: nonce, one-time X25519 key
    node -> server   hello: signature by the network key, and an HMAC under DH(node's static key, one-time key),
                     both over everything that challenge and hello say

Without the secret there is no signature; without the node's private key there is no HMAC, so nobody takes another
node's id, lease or link. Both proofs cover both keys, so neither can be cut out and used with another. Both also cover
the `binding`, the SHA-256 of the server's certificate as each end knows it (empty without TLS): a hostile server that
passes on another server's challenge gets a hello that is of no use anywhere. The server learns no secret.
"""

from __future__ import annotations

import hmac

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from tunnel.crypto.derivation import derive_key, labeled
from tunnel.crypto.network_keys import NetworkKeys, network_id_of, network_name_digest
from tunnel.crypto.node_keys import NodeKeys, node_id_of
from tunnel.model.errors import NotAuthentic
from tunnel.model.identity import NetworkId, NodeId
from tunnel.model.protocol_version import PROTOCOL_VERSION
from tunnel.wire.signals import SIGNALS_VERSION, Challenge, Hello


def prove(
    challenge: Challenge,
    network: NetworkKeys,
    node: NodeKeys,
    *,
    binding: bytes,
    wanted_address: str = "",
    software: str = "",
    protocol_version: int = PROTOCOL_VERSION,
) -> Hello:
    """The answer to a challenge. `binding`: SHA-256 of the certificate that the server showed, empty without TLS.

    Raises NotAuthentic if no honest server would send such a key."""
    name_digest = network_name_digest(network.name)
    transcript = _transcript(
        challenge, binding, network.public_key, name_digest, node.public, wanted_address, SIGNALS_VERSION, software
    )
    return Hello(
        network_key=network.public_key,
        network_name=name_digest,
        node_key=node.public,
        signature=Ed25519PrivateKey.from_private_bytes(network.private_key).sign(transcript),
        proof=_proof(node.exchange(challenge.server_key), transcript),
        wanted_address=wanted_address,
        version=SIGNALS_VERSION,
        software=software,
        protocol_version=protocol_version,
    )


def verify_hello(
    hello: Hello, challenge: Challenge, server_private: bytes, *, binding: bytes
) -> tuple[NetworkId, NodeId]:
    """The network and node that answered the challenge of `server_private` (32 bytes). Raises NotAuthentic.

    A challenge is good for one hello: the caller draws nonce and key anew for each connection. `binding`: SHA-256 of
    our own certificate, empty without TLS.
    """
    transcript = _transcript(
        challenge,
        binding,
        hello.network_key,
        hello.network_name,
        hello.node_key,
        hello.wanted_address,
        hello.version,
        hello.software,
    )
    shared = NodeKeys(server_private).exchange(hello.node_key)
    if not hmac.compare_digest(_proof(shared, transcript), hello.proof):
        raise NotAuthentic("hello does not prove the node key")
    try:
        Ed25519PublicKey.from_public_bytes(hello.network_key).verify(hello.signature, transcript)
    except (ValueError, InvalidSignature):
        raise NotAuthentic("hello is not signed by the network key") from None
    return network_id_of(hello.network_key, hello.network_name), node_id_of(hello.node_key)


def _transcript(
    challenge: Challenge,
    binding: bytes,
    network_key: bytes,
    name_digest: bytes,
    node_key: bytes,
    wanted_address: str,
    version: int,
    software: str,
) -> bytes:
    return labeled(
        "hello",
        challenge.nonce,
        challenge.server_key,
        str(challenge.version).encode(),
        binding,
        str(version).encode(),
        network_key,
        name_digest,
        node_key,
        wanted_address.encode(errors="surrogatepass"),
        software.encode(errors="surrogatepass"),
    )


def _proof(shared: bytes, transcript: bytes) -> bytes:
    return hmac.digest(derive_key(shared, "hello proof"), transcript, "sha256")
