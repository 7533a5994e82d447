"""The states of the charts in words for people. A word that this version does not know is shown as it came."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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


def server_words(state: str) -> str:
    """The link to the server."""
    return _SERVER.get(state, state)


def announcement_words(state: str) -> str:
    """What the others can know of this node."""
    return _ANNOUNCEMENT.get(state, state)


def reason_words(code: str) -> str:
    """The code of a reason, as one reads it aloud."""
    return code.replace("_", " ")


def is_offline(peer: Mapping[str, Any]) -> bool:
    """Whether a peer (docs/status.md) is known to be away."""
    reason = peer["reason"]
    return peer["path"] is None and reason is not None and reason["code"] == "peer_offline"


def peer_words(peer: Mapping[str, Any]) -> str:
    """How a peer (docs/status.md) is reached."""
    state, path, reason = peer["state"], peer["path"], peer["reason"]
    because = "" if reason is None else f": {reason_words(reason['code'])}"
    match state:
        case "detecting" | "announced" if is_offline(peer):
            return "offline"
        case "detecting" | "announced":
            return f"not reached{because}" if because else "known, nothing sent yet"
        case "requested" | "punching":
            return "connecting" if path is None else "relayed, trying the direct way"
        case "connected":
            return "direct"
        case "relayed":
            return f"relayed{because}"
    return str(state)
