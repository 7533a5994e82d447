"""`why` for people: one peer, with its reason, what can be done about it, and its latest moves.

All of it counts as untrusted. States are told in plain words (status_words.py), beside the chart's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from tunnel.cli.formatting import age, colored, path_mtu_words, path_of, plain
from tunnel.cli.status_words import idle_words, peer_words, reason_words
from tunnel.model.safe_text import printable

Json = Mapping[str, Any]


def peer_view(peer: Json, now: float) -> Group:
    """The answer to `why`. `now` is Unix time."""
    facts = Table.grid(padding=(0, 2))
    facts.add_row("peer", plain(f"{peer['name']}  {', '.join(peer['addresses'])}"))
    facts.add_row(
        "state", colored(peer_words(peer) + idle_words(peer), peer["state"]).append(f"  for {age(now - peer['since'])}")
    )
    facts.add_row("chart", Text(printable(peer["state"]), style="dim"))
    facts.add_row("path", plain(path_of(peer)))
    if peer["path"] is not None:
        outside = path_mtu_words(peer["path"])
        facts.add_row("mtu", plain(f"{peer['path']['mtu']} inside{outside and f', {outside} on the path'}"))
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
