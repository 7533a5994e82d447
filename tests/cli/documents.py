"""What a node answers: a peer, and a `status` document."""

from __future__ import annotations

from typing import Any

NAT = {
    "mapping": "endpoint_independent",
    "filtering": "unknown",
    "allocation": "preserving",
    "hairpin": "unknown",
    "udp": "open",
    "port_mapping": "none",
}
OPEN_PORT = {
    "family": "ipv4",
    "state": "mapped",
    "protocol": "upnp",
    "gateway": "192.168.1.1",
    "external": "198.51.100.4:40000",
    "lease_s": 7200,
    "note": "",
}
NO_PORT = {
    **OPEN_PORT,
    "state": "unsupported",
    "protocol": None,
    "gateway": None,
    "external": None,
    "lease_s": None,
    "note": "upnp: no UPnP gateway answers",
}
DIRECT = {"kind": "direct", "endpoint": "192.0.2.7:4242", "rtt_ms": 12.5, "mtu": 1400, "path_mtu": 1500}
RELAYED: dict[str, Any] = {"kind": "relay-websocket", "endpoint": None, "rtt_ms": None, "mtu": 1400, "path_mtu": None}


def peer(name: str = "laptop", **changed: Any) -> dict[str, Any]:
    """A peer as the node tells it."""
    return {
        "id": "laptopid",
        "name": name,
        "addresses": ["fd00::2", "10.86.0.2"],
        "state": "connected",
        "path": DIRECT,
        "reason": None,
        "since": 0.0,
        "tx_bytes": 1500,
        "rx_bytes": 7,
        "idle_s": 1.0,
        "history": [{"at": 0.0, "from": "punching", "event": "path_verified", "to": "connected"}],
        **changed,
    }


BLOCKED = {"code": "udp_blocked", "evidence": "eleven asked, none answered", "remedy": "Let UDP leave."}


def document(*peers: dict[str, Any], name: str = "desk") -> dict[str, Any]:
    """`status --json`."""
    return {
        "version": 1,
        "node": {
            "id": "deskid",
            "name": name,
            "addresses": ["10.86.0.1"],
            "nat": NAT,
            "port_mappings": [],
            "announcement": "acknowledged",
            "notes": ["the address 10.86.0.1 is claimed by shed too"],
        },
        "server": {"url": "wss://192.0.2.1:8443", "state": "registered", "rtt_ms": 20.0, "reason": "just so"},
        "peers": list(peers),
    }
