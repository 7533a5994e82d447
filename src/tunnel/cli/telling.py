"""What `up` logs for people: whether the server is reached, and how each peer is, each time that it changes."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from tunnel.cli.words import peer_words
from tunnel.model.status import peer_to_json

if TYPE_CHECKING:
    from tunnel.embedding import Node

SERVER_PATIENCE = 2.0
"""Seconds that the first line waits for the server, so that it can say more than that it asks."""

log = logging.getLogger(__name__)


async def tell_up(node: Node, network: str, control: Path) -> None:
    """One line: who we are, where to ask us, and whether the server has us."""
    with trio.move_on_after(SERVER_PATIENCE) as patience:
        await node.wait_registered()
    server = "not reached yet" if patience.cancelled_caught else "reached"
    facts = {"node": node.name, "id": node.id, "network": network, "control": control, "server": server}
    log.info("node is up", extra=facts)


async def tell_peers(node: Node) -> None:
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
