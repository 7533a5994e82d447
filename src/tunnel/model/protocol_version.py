"""The version of what nodes exchange with each other: records, fragments, handshakes, probes. Only equal ones can.

Each side tells its own: a node in `hello` and in its announcement, a server in `welcome`. Servers pass on sealed bytes,
so a server of another version still serves.
"""

from __future__ import annotations

PROTOCOL_VERSION = 2
"""1: a datagram is sealed for each packet. 2: a record is sealed, and cut into fragments."""
FIRST_VERSION = 1
"""That of a node or server that tells none."""
LAST_VERSION = 65535


def mismatch_evidence(who: str, theirs: int) -> str:
    """Why this node and `who` exchange no data, and where p2ptunnel-trio must be updated: where it is older."""
    where = "there" if theirs < PROTOCOL_VERSION else "here"
    return f"{who} speaks version {theirs}, this node {PROTOCOL_VERSION}: update p2ptunnel-trio {where}"


def server_note(theirs: int) -> str:
    """What a node notes about its server's version; empty if it is our own."""
    if theirs == PROTOCOL_VERSION:
        return ""
    where = "on the server" if theirs < PROTOCOL_VERSION else "here"
    told = f"the server is of version {theirs}, this node of version {PROTOCOL_VERSION}"
    return f"{told}: it serves this node, but update p2ptunnel-trio {where}"


def refusal_evidence(peers: int, askers: int) -> str:
    """What a server tells a node that asks for a peer of another version. Versions before 2 show it, too."""
    where = "here" if askers < peers else "there"
    return f"the peer speaks version {peers}, this node {askers}: update p2ptunnel-trio {where}"
