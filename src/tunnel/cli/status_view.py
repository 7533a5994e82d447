"""`status` for people: the node, its link to the server, and its peers. All of it counts as untrusted.

Addresses, endpoints and paths are never cut: a terminal that is too narrow for a line a peer gets three.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tunnel.cli.formatting import (
    age,
    amount,
    colored,
    milliseconds,
    nat_words,
    path_mtu_words,
    path_of,
    plain,
    port_mapping_words,
)
from tunnel.cli.layout import FirstFitting, table_of
from tunnel.cli.status_words import (
    announcement_words,
    idle_words,
    interface_words,
    ip_words,
    is_offline,
    peer_words,
    server_words,
)

LONG_OFFLINE = 3600.0
"""Seconds after which an offline peer is only counted."""
_COLUMNS = (
    ("peer", "address", "ipv6 address", "reached", "since", "path", "path mtu", "sent", "received", "chart"),
    ("peer", "address", "ipv6 address", "reached", "since", "path", "sent", "received", "chart"),
    ("peer", "address", "reached", "since", "path", "sent", "received", "chart"),
    ("peer", "address", "reached", "since", "path", "sent", "received"),
    ("peer", "address", "reached", "since", "path"),
    ("peer", "address", "reached", "path"),
)
"""What a line a peer holds, where there is room for it."""
_INDENT = 4
Json = Mapping[str, Any]


def status_view(status: Json, now: float) -> Group:
    """The whole `status --json` document. `now` is Unix time."""
    facts = _facts(status)
    if not status["peers"]:
        return Group(facts, Text("no peers yet"))
    shown = [peer for peer in status["peers"] if not (is_offline(peer) and now - peer["since"] > LONG_OFFLINE)]
    more = len(status["peers"]) - len(shown)
    folded = [Text(f"{more} more offline for over an hour; --json has all", style="dim")] if more else []
    return Group(facts, Text(""), *([_peers(sorted(shown, key=_order), now)] if shown else []), *folded)


def _facts(status: Json) -> Table:
    node, server = status["node"], status["server"]
    facts = Table.grid(padding=(0, 2))
    facts.add_row("node", plain(f"{node['name']}  {', '.join(node['addresses']) or 'no address yet'}"))
    facts.add_row("id", plain(node["id"]))
    if not node.get("takes_ip", True):
        facts.add_row("ip", Text("none: no interface here (--userspace); ping of this program and the library only"))
    elif (interface := node.get("interface")) is not None and interface["kind"] != "kernel":
        facts.add_row("interface", plain(interface_words(interface)))
    if (node.get("interface") or {}).get("reason"):
        facts.add_row("", plain(node["interface"]["reason"]))
    nat = nat_words(node["nat"]) if node.get("uses_udp", True) else "does not matter: no UDP is used (--no-udp)"
    facts.add_row("nat", plain(nat))
    if "offloads" in node:
        facts.add_row("offloads", plain(", ".join(node["offloads"]) or "none: one packet at a time, which is slower"))
    for mapping in node["port_mappings"]:
        if mapping["external"] is not None:
            facts.add_row("open port", plain(port_mapping_words(mapping)))
    announcement = announcement_words(node["announcement"], is_registered=server["state"] == "registered")
    facts.add_row("announcement", colored(announcement, node["announcement"]))
    reached = f"{server_words(server['state'])}  {server['url']}  {milliseconds(server['rtt_ms'])}"
    facts.add_row("server", colored(reached, server["state"]))
    if server.get("reason"):
        facts.add_row("", plain(server["reason"]))
        if server.get("remedy"):
            facts.add_row("what to do", plain(server["remedy"]))
    for note in node.get("notes", ()):
        facts.add_row("note", plain(note))
    return facts


def _order(peer: Json) -> tuple[bool, str, str]:
    """By name, those that are away at the end."""
    return is_offline(peer), peer["name"].casefold(), peer["id"]


def _peers(peers: list[Json], now: float) -> RenderableType:
    rows = [_row(peer, now) for peer in peers]
    tables = [table_of(rows, columns) for columns in _COLUMNS]
    return FirstFitting(*tables, Group(*(_block(peer, row) for peer, row in zip(peers, rows, strict=True))))


def _row(peer: Json, now: float) -> dict[str, Text]:
    ipv4 = [address for address in peer["addresses"] if ":" not in address]
    ipv6 = [address for address in peer["addresses"] if ":" in address]
    return {
        "peer": plain(peer["name"] or peer["id"]),
        "address": plain(", ".join(ipv4 or ipv6)),
        "ipv6 address": plain(", ".join(ipv6)),
        "reached": colored(peer_words(peer) + idle_words(peer) + ip_words(peer), peer["state"]),
        "since": plain(age(now - peer["since"])),
        "path": plain(path_of(peer).removeprefix("direct ")),
        "path mtu": plain(path_mtu_words(peer["path"])),
        "sent": plain(amount(peer["tx_bytes"])),
        "received": plain(amount(peer["rx_bytes"])),
        "chart": Text(plain(peer["state"]).plain, style="dim"),
    }


def _block(peer: Json, row: dict[str, Text]) -> RenderableType:
    """One peer in lines of its own: who and how, its addresses, its path."""
    lines = [Text.assemble(row["peer"], "  ", row["reached"], ", for ", row["since"])]
    if peer["addresses"]:
        lines.append(plain("  ".join(sorted(peer["addresses"], key=lambda address: ":" in address))))
    if peer["path"] is not None or peer.get("kept_path") is not None or peer["state"] == "relayed":
        lines.append(Text.assemble(row["path"], f"  sent {row['sent']}, received {row['received']}"))
    first, *others = lines
    first.overflow = "fold"
    return Group(first, *(_indented(line) for line in others))


def _indented(line: Text) -> Table:
    """The line, and what it wraps to, a little to the right."""
    indented = Table.grid(padding=0)
    indented.add_column(width=_INDENT)
    indented.add_column(overflow="fold")
    indented.add_row("", line)
    return indented
