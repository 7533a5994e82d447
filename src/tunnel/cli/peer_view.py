"""What the commands show to people: the JSON of the control socket as rich tables. All of it counts as untrusted.

States are told in plain words (status_words.py); the chart's own stand in --json, and in a column of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from tunnel.cli.status_words import idle_words, peer_words, reason_words
from tunnel.model.safe_text import printable

_STYLES = {"connected": "green", "relayed": "yellow", "registered": "green", "acknowledged": "green"}
Json = Mapping[str, Any]


def peer_view(peer: Json, now: float) -> Group:
    """One peer with its reason, what can be done about it, and its latest moves: the answer to `why`."""
    facts = Table.grid(padding=(0, 2))
    facts.add_row("peer", plain(f"{peer['name']}  {', '.join(peer['addresses'])}"))
    facts.add_row(
        "state", colored(peer_words(peer) + idle_words(peer), peer["state"]).append(f"  for {age(now - peer['since'])}")
    )
    facts.add_row("chart", Text(printable(peer["state"]), style="dim"))
    facts.add_row("path", plain(path_of(peer)))
    if not peer.get("takes_ip", True):
        facts.add_row("ip", Text("none: no interface there (--userspace); ping of this program and the library only"))
    for note in peer.get("notes", ()):
        facts.add_row("note", plain(note))
    reason = peer["reason"]
    if reason is not None:
        facts.add_row("reason", plain(f"{reason_words(reason['code'])} ({reason['code']})"))
        if reason["evidence"]:
            facts.add_row("evidence", plain(reason["evidence"]))
        if reason.get("remedy"):
            facts.add_row("what to do", plain(reason["remedy"]))
    elif peer["path"] is not None and peer["path"]["kind"] == "direct":
        facts.add_row("reason", Text("none needed: the direct path carries"))
    elif peer.get("kept_path") is not None:
        facts.add_row("reason", Text("none needed: the direct path is kept open, the next packet makes new keys"))
    elif peer["path"] is None and peer["state"] in ("detecting", "announced"):
        ping = f"`p2ptunnel-trio ping {peer['name'] or peer['id']}`"
        known = "it is not connected now" if peer["tx_bytes"] or peer["rx_bytes"] else "nothing was sent to it yet"
        facts.add_row("reason", plain(f"{known}; {ping} connects"))
    moves = [
        plain(f"  {age(now - move['at']):>7} ago  {move['from']} -> {move['to']}  {move['event']}")
        for move in peer["history"]
    ]
    return Group(facts, *([Text("\nhow it came here"), *moves] if moves else []))


def nat_words(nat: Mapping[str, str]) -> str:
    """A NAT report in one line, what is unknown left out."""
    known = [f"{key.replace('_', ' ')} {value}" for key, value in nat.items() if value not in ("unknown", "none")]
    if nat.get("mapping") == "none":
        known.insert(0, "no NAT")
    return ", ".join(word.replace("_", " ") for word in known) or "not known yet"


def port_mapping_words(mapping: Json) -> str:
    """What a gateway opened, and for how long."""
    left = mapping["lease_s"]
    lease = "until we leave" if left is None else f"for {age(left)}"
    note = f" ({mapping['note']})" if mapping["note"] else ""
    return f"{mapping['external']} by {mapping['protocol']}, {lease}{note}"


def path_words(path: Json | None) -> str:
    """A path in a few words."""
    if path is None:
        return "none"
    return " ".join(part for part in (path["kind"], path["endpoint"] or "", milliseconds(path["rtt_ms"])) if part)


def age(seconds: float) -> str:
    """A duration as people say it."""
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
    """A relayed peer that nothing was sent to for minutes has no path, and is none the worse for it."""
    away = peer["reason"] is not None and peer["reason"]["code"] in ("peer_offline", "server_unreachable")
    if peer["path"] is None and peer["state"] == "relayed" and not away:
        return "none now, the next packet brings it back"
    return path_words(peer["path"] or peer.get("kept_path"))


def milliseconds(value: float | None) -> str:
    """A round trip; nothing where none is known."""
    return "" if value is None else f"{value:.1f} ms"


def colored(words: str, state: str) -> Text:
    """What a state is called, in the colour of that state."""
    return Text(printable(words), style=_STYLES.get(state, ""))


def plain(text: object) -> Text:
    """Text from outside, fit for a terminal."""
    return Text(printable(str(text)))
