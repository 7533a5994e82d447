"""What the commands show to people: the JSON of the control socket as rich tables. All of it counts as untrusted.

States are told in plain words (words.py); the chart's own stand in --json, and in a column of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from tunnel.cli.text import printable
from tunnel.cli.words import announcement_words, is_offline, peer_words, reason_words, server_words

LONG_OFFLINE = 3600.0
"""Seconds after which an offline peer is only counted."""
_STYLES = {"connected": "green", "relayed": "yellow", "registered": "green", "acknowledged": "green"}
Json = Mapping[str, Any]


def status_view(status: Json, now: float) -> Group:
    """The whole `status --json` document. `now` is Unix time."""
    node, server = status["node"], status["server"]
    facts = Table.grid(padding=(0, 2))
    facts.add_row("node", _text(f"{node['name']}  {', '.join(node['addresses']) or 'no address yet'}"))
    facts.add_row("id", _text(node["id"]))
    facts.add_row("nat", _text(nat_words(node["nat"])))
    for mapping in node["port_mappings"]:
        if mapping["external"] is not None:
            facts.add_row("open port", _text(port_mapping_words(mapping)))
    facts.add_row("announcement", _state(announcement_words(node["announcement"]), node["announcement"]))
    reached = _state(server_words(server["state"]), server["state"])
    facts.add_row("server", reached.append(f"  {_plain(server['url'])}  {_rtt(server['rtt_ms'])}"))
    if server.get("reason"):
        facts.add_row("", _text(server["reason"]))
    for note in node.get("notes", ()):
        facts.add_row("note", _text(note))
    if not status["peers"]:
        return Group(facts, Text("no peers yet"))
    shown = [peer for peer in status["peers"] if not (is_offline(peer) and now - peer["since"] > LONG_OFFLINE)]
    more = len(status["peers"]) - len(shown)
    folded = [Text(f"{more} more offline for over an hour; --json has all", style="dim")] if more else []
    return Group(facts, Text(""), *([_peers(shown, now)] if shown else []), *folded)


def peer_view(peer: Json, now: float) -> Group:
    """One peer with its reason, what can be done about it, and its latest moves: the answer to `why`."""
    facts = Table.grid(padding=(0, 2))
    facts.add_row("peer", _text(f"{peer['name']}  {', '.join(peer['addresses'])}"))
    facts.add_row("state", _state(peer_words(peer), peer["state"]).append(f"  for {age(now - peer['since'])}"))
    facts.add_row("chart", Text(_plain(peer["state"]), style="dim"))
    facts.add_row("path", _text(_path_of(peer)))
    reason = peer["reason"]
    if reason is not None:
        facts.add_row("reason", _text(f"{reason_words(reason['code'])} ({reason['code']})"))
        if reason["evidence"]:
            facts.add_row("evidence", _text(reason["evidence"]))
        if reason.get("remedy"):
            facts.add_row("what to do", _text(reason["remedy"]))
    elif peer["path"] is not None and peer["path"]["kind"] == "direct":
        facts.add_row("reason", Text("none needed: the direct path carries"))
    elif peer["path"] is None and peer["state"] in ("detecting", "announced"):
        ping = f"`p2ptunnel-trio ping {peer['name'] or peer['id']}`"
        facts.add_row("reason", _text(f"nothing was sent to it yet; {ping} connects"))
    moves = [
        Text(
            f"  {age(now - move['at']):>7} ago  {_plain(move['from'])} -> {_plain(move['to'])}  {_plain(move['event'])}"
        )
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
    return " ".join(part for part in (path["kind"], path["endpoint"] or "", _rtt(path["rtt_ms"])) if part)


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


class Trimmed:
    """The same without blanks at the ends of lines: nobody sees them, but who copies or compares gets them."""

    def __init__(self, inner: RenderableType) -> None:
        self._inner = inner

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for line in console.render_lines(self._inner, options, pad=False):
            while line and not line[-1].text.strip():
                line.pop()
            if line:
                last = line.pop()
                line.append(Segment(last.text.rstrip(), last.style, last.control))
            yield from line
            yield Segment.line()


def _peers(peers: list[Json], now: float) -> Table:
    table = Table(
        "peer", "address", "reached", "since", "path", "sent", "received", "chart",
        box=None, header_style="bold", pad_edge=False,
    )  # fmt: skip
    for peer in peers:
        table.add_row(
            _text(peer["name"]),
            _text(next((a for a in peer["addresses"] if ":" not in a), ", ".join(peer["addresses"]))),
            _state(peer_words(peer), peer["state"]),
            age(now - peer["since"]),
            _text(_path_of(peer)),
            amount(peer["tx_bytes"]),
            amount(peer["rx_bytes"]),
            Text(_plain(peer["state"]), style="dim"),
        )
    return table


def _path_of(peer: Json) -> str:
    """A relayed peer that nothing was sent to for minutes has no path, and is none the worse for it."""
    away = peer["reason"] is not None and peer["reason"]["code"] in ("peer_offline", "server_unreachable")
    if peer["path"] is None and peer["state"] == "relayed" and not away:
        return "none now, the next packet brings it back"
    return path_words(peer["path"])


def _rtt(milliseconds: float | None) -> str:
    return "" if milliseconds is None else f"{milliseconds:.1f} ms"


def _state(words: str, state: str) -> Text:
    return Text(_plain(words), style=_STYLES.get(state, ""))


def _plain(text: object) -> str:
    return printable(str(text))


def _text(text: object) -> Text:
    return Text(_plain(text))
