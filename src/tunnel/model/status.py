"""What a node reports about itself. `status --json` prints exactly these values (docs/status.md, version 1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tunnel.model.endpoint import Endpoint
from tunnel.model.interface_kind import InterfaceKind, InterfaceStatus
from tunnel.model.nat import NatReport
from tunnel.model.port_mapping import PortMappingStatus
from tunnel.model.reasons import REMEDIES, Reason
from tunnel.model.way import PathKind

STATUS_VERSION = 1


@dataclass(frozen=True, slots=True)
class PathStatus:
    """The path that carries data now."""

    kind: PathKind
    endpoint: Endpoint | None
    rtt: float | None
    """Seconds."""
    mtu: int
    """Bytes of the largest IP packet inside the tunnel."""
    path_mtu: int | None
    """Bytes of the largest IP packet that is known to pass outside, headers included; None over the link to the server.
    """


@dataclass(frozen=True, slots=True)
class Move:
    """One transition that a chart took."""

    at: float
    """Unix time."""
    source: str
    event: str
    target: str


@dataclass(frozen=True, slots=True)
class PeerStatus:
    """One peer, seen from here."""

    id: str
    name: str
    """The name by which commands here know it. Empty if it may not have the name that it claims."""
    addresses: tuple[str, ...]
    state: str
    path: PathStatus | None
    reason: Reason | None
    since: float
    tx_bytes: int
    rx_bytes: int
    history: tuple[Move, ...]
    claimed_name: str = ""
    """What it calls itself, if that is another node's name, or ours, or looks like an address or an id."""
    idle: float | None = None
    """Seconds since data last went either way; None: it never did."""
    kept_path: PathStatus | None = None
    """The direct path that is kept open after unused keys have expired; the next packet makes new ones."""
    notes: tuple[str, ...] = ()
    """What the user should know about it, such as that it cannot be reached by IPv4 from here."""
    takes_ip: bool = True
    """Whether it accepts IP packets: False without an interface."""


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """The link to the server."""

    url: str
    state: str
    rtt: float | None
    reason: str | None = None
    remedy: str | None = None
    """What a person can do about the reason."""


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """The whole node."""

    id: str
    name: str
    addresses: tuple[str, ...]
    nat: NatReport
    announcement: str
    server: ServerStatus
    peers: tuple[PeerStatus, ...]
    notes: tuple[str, ...] = ()
    """What the user should know: address clashes, peers of the same name, fallbacks in use."""
    takes_ip: bool = True
    """Whether this node takes IP packets, so that others can reach it by IP."""
    port_mappings: tuple[PortMappingStatus, ...] = ()
    """One for each address family; empty if no gateway is asked."""
    uses_udp: bool = True
    """Whether it sends UDP at all. If not, no NAT matters and `nat` stays unknown."""
    interface: InterfaceStatus = InterfaceStatus(InterfaceKind.KERNEL, "")
    """What takes its IP packets."""
    offloads: tuple[str, ...] = ()
    """Names of what the kernel does for it, on the interface and the sockets (model/offload.py)."""


def status_to_json(status: NodeStatus) -> dict[str, Any]:
    """The documented JSON form: stable keys, times in Unix seconds, round trips in milliseconds."""
    return {
        "version": STATUS_VERSION,
        "node": {
            "id": status.id,
            "name": status.name,
            "addresses": list(status.addresses),
            "nat": nat_to_json(status.nat),
            "announcement": status.announcement,
            "notes": list(status.notes),
            "takes_ip": status.takes_ip,
            "interface": interface_to_json(status.interface),
            "uses_udp": status.uses_udp,
            "offloads": list(status.offloads),
            "port_mappings": [port_mapping_to_json(one) for one in status.port_mappings],
        },
        "server": server_to_json(status.server),
        "peers": [peer_to_json(peer) for peer in status.peers],
    }


def interface_to_json(interface: InterfaceStatus) -> dict[str, str | None]:
    """The value of `interface`."""
    return {"kind": interface.kind.value, "name": interface.name, "reason": interface.reason}


def server_to_json(server: ServerStatus) -> dict[str, Any]:
    """The value of `server`."""
    return {
        "url": server.url,
        "state": server.state,
        "rtt_ms": _milliseconds(server.rtt),
        "reason": server.reason,
        "remedy": server.remedy,
    }


def peer_to_json(peer: PeerStatus) -> dict[str, Any]:
    """One entry of `peers`."""
    path, reason = peer.path, peer.reason
    return {
        "id": peer.id,
        "name": peer.name,
        "claimed_name": peer.claimed_name or None,
        "addresses": list(peer.addresses),
        "state": peer.state,
        "path": None if path is None else path_to_json(path),
        "reason": None
        if reason is None
        else {"code": reason.code.value, "evidence": reason.evidence, "remedy": REMEDIES[reason.code]},
        "since": peer.since,
        "tx_bytes": peer.tx_bytes,
        "rx_bytes": peer.rx_bytes,
        "idle_s": None if peer.idle is None else round(peer.idle, 1),
        "kept_path": None if peer.kept_path is None else path_to_json(peer.kept_path),
        "notes": list(peer.notes),
        "takes_ip": peer.takes_ip,
        "history": [
            {"at": move.at, "from": move.source, "event": move.event, "to": move.target} for move in peer.history
        ],
    }


def nat_to_json(nat: NatReport) -> dict[str, str]:
    """The value of `nat`."""
    return {
        "mapping": nat.mapping.value,
        "filtering": nat.filtering.value,
        "allocation": nat.allocation.value,
        "hairpin": nat.hairpin.value,
        "udp": nat.udp.value,
        "port_mapping": nat.port_mapping,
    }


def port_mapping_to_json(mapping: PortMappingStatus) -> dict[str, Any]:
    """One entry of `port_mappings`."""
    return {
        "family": mapping.family,
        "state": mapping.state,
        "protocol": None if mapping.protocol is None else mapping.protocol.value,
        "gateway": mapping.gateway,
        "external": None if mapping.external is None else str(mapping.external),
        "lease_s": None if mapping.seconds_left is None else round(mapping.seconds_left),
        "note": mapping.note,
    }


def path_to_json(path: PathStatus) -> dict[str, Any]:
    """The value of `path`."""
    return {
        "kind": path.kind,
        "endpoint": None if path.endpoint is None else str(path.endpoint),
        "rtt_ms": _milliseconds(path.rtt),
        "mtu": path.mtu,
        "path_mtu": path.path_mtu,
    }


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)
