"""What `up` says to people: who and where it is, new notes, and how each peer is, each time that it changes."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from tunnel.cli.standard_streams import mute_stdout
from tunnel.cli.status_words import peer_words
from tunnel.model.identity import NodeId
from tunnel.model.rates import TokenBucket
from tunnel.model.safe_text import printable
from tunnel.model.status import peer_to_json

if TYPE_CHECKING:
    from tunnel.embedding import Node

NOTES_RATE, NOTES_BURST, NOTES_GAP = 1 / 60, 8, 1.0
"""Notes a second, at once, and seconds between two looks: other members cause them."""
SERVER_PATIENCE = 2.0
"""Seconds that the first line waits for the server, so that it can say more than that it asks."""

log = logging.getLogger(__name__)


async def report_up(node: Node, network: str, control: Path) -> None:
    """Who we are and where we are reached, on stdout; the log also says where to ask us, and how the server is."""
    with trio.move_on_after(SERVER_PATIENCE) as patience:
        await node.wait_registered()
    server = "not reached yet" if patience.cancelled_caught else "reached"
    _say(node, network, is_reached=not patience.cancelled_caught)
    facts = {"node": node.name, "id": node.id, "network": network, "control": control, "server": server}
    log.info("node is up", extra={**facts, "addresses": " ".join(node.addresses)})
    if patience.cancelled_caught:
        await node.wait_registered()
        _say(node, network, is_reached=True)


def _say(node: Node, network: str, *, is_reached: bool) -> None:
    has_lease = any(":" not in address for address in node.addresses)
    bare = "" if node.status().takes_ip else "no interface, so no IP"
    later = "" if is_reached else "server not reached yet" + ("" if has_lease else ": an IPv4 address comes with it")
    remarks = "; ".join(filter(None, (bare, later)))
    told = ", ".join(node.addresses) + (f" ({remarks})" if remarks else "")
    try:
        print(printable(f"{node.name} is up in network {network}: {told}"), flush=True)
    except OSError:  # nobody reads it: no reason to end, and none for an error in the end
        mute_stdout()


def name_of(node: Node, peer: str) -> str:
    """What the peer with this id is called here; empty for nobody that is known, and where it may bear no name."""
    try:
        known = node.program.peer_table.at(NodeId.parse(peer))
    except ValueError:
        return ""
    return "" if known is None else known.name


async def report_notes(node: Node) -> None:
    """A warning for each note of `status` when it is new: a name or an address that two nodes claim, and the like."""
    told: set[str] = set()
    allowance = TokenBucket(NOTES_RATE, NOTES_BURST, trio.current_time())
    while True:
        notes = set(node.status().notes)
        for note in sorted(notes - told):
            if allowance.take(trio.current_time()):
                told.add(note)
                log.warning(note)
        told &= notes
        await node.program.notifier.wait()
        await trio.sleep(NOTES_GAP)


async def report_peers(node: Node) -> None:
    """A line each time that a peer gets direct, relayed or lost. The tries in between are not told."""
    told: dict[str, str] = {}
    changes = node.watch()
    try:
        async for change in changes:
            peer = change.peer
            words = peer_words(peer_to_json(peer))
            settled = peer.state in ("connected", "relayed") or (peer.state == "announced" and peer.reason is not None)
            if settled and told.get(peer.id) != words:
                told[peer.id] = words
                log.info("%s is %s", peer.name or "a peer", words, extra={"peer": peer.id})
    finally:
        if isinstance(changes, AsyncGenerator):
            await changes.aclose()
