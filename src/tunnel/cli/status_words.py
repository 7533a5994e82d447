"""The states of the charts in plain words. A state that this version does not know is shown as it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

IDLE_AFTER = 10.0
"""Seconds."""
_SERVER = {
    "offline": "not asked yet",
    "connecting": "connecting",
    "registered": "reached",
    "backing_off": "not reached, trying again",
}
_ANNOUNCEMENT = {
    "surveying": "not made yet",
    "announcing": "on its way to the server",
    "acknowledged": "known to the server",
    "stale": "changed, the server hears of it soon",
}
_UNHEARD = {
    "surveying": "waits for the server",
    "announcing": "waits for the server",
    "acknowledged": "was known to the server, is made again when it is reached",
    "stale": "changed, waits for the server",
}


def server_words(state: str) -> str:
    """The link to the server."""
    return _SERVER.get(state, state)


def announcement_words(state: str, *, is_registered: bool) -> str:
    """What others can know of this node. Without the server nobody learns anything new about it."""
    return _ANNOUNCEMENT.get(state, state) if is_registered else _UNHEARD.get(state, state)


def reason_words(code: str) -> str:
    """The code of a reason with blanks between its words."""
    return code.replace("_", " ")


def is_offline(peer: Mapping[str, Any]) -> bool:
    """Whether a peer (docs/status.md) is known to be away."""
    reason = peer["reason"]
    return peer["path"] is None and reason is not None and reason["code"] == "peer_offline"


def is_idle(peer: Mapping[str, Any]) -> bool:
    """Whether a peer (docs/status.md) that is reached has sent and received nothing for a while."""
    idle, is_kept = peer.get("idle_s"), peer.get("kept_path") is not None
    return is_kept or (peer["path"] is not None and idle is not None and idle >= IDLE_AFTER)


def idle_words(peer: Mapping[str, Any]) -> str:
    """Added to how a peer is reached while it is idle: its path is kept open, and not judged."""
    return ", idle" if is_idle(peer) else ""


def ip_words(peer: Mapping[str, Any]) -> str:
    """Added to how a peer is reached that takes no IP packets."""
    return "" if peer.get("takes_ip", True) else ", no IP"


def unconnected_words(peer: Mapping[str, Any]) -> str:
    """For a peer that is neither reached nor away: whether it was ever reached."""
    return "not connected" if peer.get("tx_bytes") or peer.get("rx_bytes") else "nothing sent yet"


def peer_words(peer: Mapping[str, Any]) -> str:
    """How a peer (docs/status.md) is reached."""
    state, path, reason = peer["state"], peer["path"], peer["reason"]
    because = "" if reason is None else f": {reason_words(reason['code'])}"
    match state:
        case "detecting" | "announced" if is_offline(peer):
            return "offline"
        case "detecting" | "announced":
            return f"not reached{because}" if because else f"known, {unconnected_words(peer)}"
        case "requested" | "punching":
            return "connecting" if path is None else "relayed, trying the direct way"
        case "connected" if because and path is not None and path["kind"] != "direct":
            return f"relayed{because}"
        case "connected":
            return "direct"
        case "relayed":
            return f"relayed{because}"
    return str(state)


def interface_words(interface: Mapping[str, Any]) -> str:
    """What takes this node's IP packets. A kind that this version does not know is shown as it is."""
    match interface["kind"]:
        case "kernel":
            return str(interface["name"])
        case "namespace":
            return f"{interface['name']}, in a network namespace of this node's own"
        case "python":
            return "none: this node's own program takes the packets"
        case kind:
            return f"{interface['name']} ({kind})"
