"""What `up` reports: its name and addresses, new notes, and how each peer is reached whenever that changes."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from tunnel.cli.standard_streams import mute_stdout
from tunnel.cli.status_words import peer_words
from tunnel.model.identity import NodeId
from tunnel.model.interface_kind import InterfaceKind
from tunnel.model.rates import TokenBucket
from tunnel.model.safe_text import printable
from tunnel.model.status import peer_to_json

if TYPE_CHECKING:
    from tunnel.embedding import Node

NOTES_RATE, NOTES_BURST, NOTES_GAP = 1 / 60, 8, 1.0
"""Notes a second, at once, and seconds between two looks. Limited, since other members cause them."""
SERVER_PATIENCE = 2.0
"""Seconds for which the first line waits for the server, so that it can name the lease."""

log = logging.getLogger(__name__)


async def report_up(node: Node, network: str, control: Path) -> None:
    """Print name and addresses on stdout. Log them too, with the control socket and whether the server is reached."""
    with trio.move_on_after(SERVER_PATIENCE) as patience:
        await node.wait_registered()
    server = "not reached yet" if patience.cancelled_caught else "reached"
    _print_addresses(node, network, is_reached=not patience.cancelled_caught)
    facts = {"node": node.name, "id": node.id, "network": network, "control": control, "server": server}
    log.info("node is up", extra={**facts, "addresses": " ".join(node.addresses)})
    if patience.cancelled_caught:
        await node.wait_registered()
        _print_addresses(node, network, is_reached=True)


def _print_addresses(node: Node, network: str, *, is_reached: bool) -> None:
    has_lease = any(":" not in address for address in node.addresses)
    status = node.status()
    is_namespace = status.interface.kind is InterfaceKind.NAMESPACE
    bare = "" if status.takes_ip else "no interface, so no IP"
    alone = "in a network namespace of its own" if is_namespace else ""
    later = "" if is_reached else "server not reached yet" + ("" if has_lease else ": an IPv4 address comes with it")
    remarks = "; ".join(filter(None, (bare, alone, later)))
    told = ", ".join(node.addresses) + (f" ({remarks})" if remarks else "")
    try:
        print(printable(f"{node.name} is up in network {network}: {told}"), flush=True)
    except OSError:  # nobody reads it: no reason to end, nor for an error at the end
        mute_stdout()


def name_of(node: Node, peer: str) -> str:
    """The name of the peer with this id; empty if there is no such peer, or if it may not have its name here."""
    try:
        known = node.program.peer_table.at(NodeId.parse(peer))
    except ValueError:
        return ""
    return "" if known is None else known.name


async def report_notes(node: Node) -> None:
    """Log a warning for each new note of `status`: a name or an address that two nodes claim, for example."""
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
    """Log a line each time a peer becomes direct, relayed or lost. Attempts in between are not logged."""
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
