"""Values from the control socket as short text, fit for a terminal: addresses, paths, durations, amounts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.text import Text

from tunnel.model.safe_text import printable

_STYLES = {"connected": "green", "relayed": "yellow", "registered": "green", "acknowledged": "green"}
Json = Mapping[str, Any]


def nat_words(nat: Mapping[str, str]) -> str:
    """A NAT report in one line, without what is unknown."""
    known = [f"{key.replace('_', ' ')} {value}" for key, value in nat.items() if value not in ("unknown", "none")]
    if nat.get("mapping") == "none":
        known.insert(0, "no NAT")
    return ", ".join(word.replace("_", " ") for word in known) or "not known yet"


def port_mapping_words(mapping: Json) -> str:
    """The port that a gateway opened, and for how long."""
    left = mapping["lease_s"]
    lease = "until we leave" if left is None else f"for {age(left)}"
    note = f" ({mapping['note']})" if mapping["note"] else ""
    return f"{mapping['external']} by {mapping['protocol']}, {lease}{note}"


def path_words(path: Json | None) -> str:
    """A path in a few words."""
    if path is None:
        return "none"
    return " ".join(part for part in (path["kind"], path["endpoint"] or "", milliseconds(path["rtt_ms"])) if part)


def path_mtu_words(path: Json | None) -> str:
    """The largest packet outside; empty where it is not known. Nodes of older versions do not tell it."""
    mtu = None if path is None else path.get("path_mtu")
    return "" if mtu is None else f"{mtu}"


def age(seconds: float) -> str:
    """A duration in the largest unit that fits twice."""
    whole = max(0, int(seconds))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if whole >= 2 * size:
            return f"{whole // size} {unit}"
    return f"{whole} s"


def amount(count: int) -> str:
    """Bytes with a decimal prefix."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def path_of(peer: Json) -> str:
    """A peer's path. A relayed peer to which nothing was sent for minutes has none, which is no fault."""
    away = peer["reason"] is not None and peer["reason"]["code"] in ("peer_offline", "server_unreachable")
    if peer["path"] is None and peer["state"] == "relayed" and not away:
        return "none now, the next packet brings it back"
    return path_words(peer["path"] or peer.get("kept_path"))


def milliseconds(value: float | None) -> str:
    """A round trip; empty where none is known."""
    return "" if value is None else f"{value:.1f} ms"


def colored(words: str, state: str) -> Text:
    """Words for a state, in the color of that state."""
    return Text(printable(words), style=_STYLES.get(state, ""))


def plain(text: object) -> Text:
    """Text from outside, fit for a terminal."""
    return Text(printable(str(text)))
