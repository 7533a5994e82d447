"""All that a machine needs to join a network, in one value."""

from __future__ import annotations

from dataclasses import dataclass, field

from tunnel.model.identity import NetworkId


@dataclass(frozen=True, slots=True)
class Invite:
    """Server, network and secret. Its text form is in wire/invites.py; the secret never shows in `repr`."""

    server: str
    """wss://HOST:PORT, or ws:// in a simulation."""
    pin: bytes | None
    """SHA-256 of the server's certificate (DER), 32 bytes; None asks the system's certificate authorities."""
    network: str
    network_id: NetworkId
    secret: bytes = field(repr=False)
    """256 bits, known to the members of the network only."""
