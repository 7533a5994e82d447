"""A peer-to-peer tunnel on Trio: relay first, direct once proved, and it says why.

    async with tunnel.open_node(invite=invite, name="desk") as node:
        peer = await node.connect("laptop")

All public names are here. Each is loaded when it is first used, so that the command starts quickly.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tunnel.embedding import Node, Peer, PingResult, open_node
    from tunnel.model.endpoint import Endpoint
    from tunnel.model.errors import (
        DeviceError,
        LocalProtocolError,
        PeerUnreachable,
        Refused,
        RemoteProtocolError,
        ServerUnreachable,
        SettingsError,
        TunnelError,
        Unreachable,
    )
    from tunnel.model.interface_kind import Userspace
    from tunnel.model.invite import Invite
    from tunnel.model.reasons import Reason, ReasonCode
    from tunnel.model.settings import NodeSettings
    from tunnel.model.status import Move, NodeStatus, PathStatus, PeerStatus
    from tunnel.node.peer_changes import PeerChange

__all__ = [
    "DeviceError",
    "Endpoint",
    "Invite",
    "LocalProtocolError",
    "Move",
    "Node",
    "NodeSettings",
    "NodeStatus",
    "PathStatus",
    "Peer",
    "PeerChange",
    "PeerStatus",
    "PeerUnreachable",
    "PingResult",
    "Reason",
    "ReasonCode",
    "Refused",
    "RemoteProtocolError",
    "ServerUnreachable",
    "SettingsError",
    "TunnelError",
    "Unreachable",
    "Userspace",
    "open_node",
]

_HOMES = {
    **dict.fromkeys(("Node", "Peer", "PingResult", "open_node"), "embedding"),
    **dict.fromkeys(("Move", "NodeStatus", "PathStatus", "PeerStatus"), "model.status"),
    **dict.fromkeys(("Reason", "ReasonCode"), "model.reasons"),
    "Endpoint": "model.endpoint",
    "Invite": "model.invite",
    "NodeSettings": "model.settings",
    "PeerChange": "node.peer_changes",
    "Userspace": "model.interface_kind",
}


if not TYPE_CHECKING:  # else every misspelled name would pass type checks

    def __getattr__(name: str) -> Any:
        if name not in __all__:
            raise AttributeError(f"module 'tunnel' has no attribute {name!r}")
        from importlib import import_module

        return getattr(import_module(f"tunnel.{_HOMES.get(name, 'model.errors')}"), name)
