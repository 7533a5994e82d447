"""What the server says about other nodes: announcements are opened, peers met, and each signal reaches its peer.

The server may say anything. An announcement that is not sealed under our network's key is refused; one that is concerns
only the peer that made it. The connections to peers run here.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from itertools import islice

import trio

from tunnel.crypto.announcement_seal import open_announcement
from tunnel.crypto.network_keys import NetworkKeys
from tunnel.crypto.node_keys import node_id_of
from tunnel.machines.notifier import Notifier
from tunnel.model.announcement import MAX_CANDIDATES, Announcement, PeerCard
from tunnel.model.errors import MalformedFrame, NotAuthentic
from tunnel.model.identity import NodeId
from tunnel.network.nat64_resolver import Nat64Resolver
from tunnel.node.inboxes import Inboxes
from tunnel.node.peer_changes import PeerChanges
from tunnel.node.peer_table import MAX_PEERS, PeerTable
from tunnel.peer.connection import PeerConnection
from tunnel.peer.context import PeerContext
from tunnel.peer.ports import NodePorts
from tunnel.wire.announcement_body import decode_announcement
from tunnel.wire.signals import Introduced, PeerDown, PeerUp, Refusal, Signal

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What became of a node that the user wanted to forget."""

    id: str
    names: tuple[str, ...]
    """Names that stood for it and are free now. A present node keeps its name if nobody else bears it."""
    is_gone: bool
    """Whether it was dropped. A node that is present stays."""


class PeerSignals:
    """Run `run()`; then call `handle_untrusted` for each signal about a peer."""

    def __init__(
        self,
        network: NetworkKeys,
        peer_table: PeerTable,
        inboxes: Inboxes,
        nat64: Nat64Resolver,
        notifier: Notifier,
        *,
        context: PeerContext,
        ports: NodePorts,
        changes: PeerChanges,
    ) -> None:
        """`notifier` is notified when `status` may have changed."""
        self._network = network
        self._peer_table = peer_table
        self._inboxes = inboxes
        self._nat64 = nat64
        self._notifier = notifier
        self._context = context
        self._ports = ports
        self._changes = changes
        self._by_handle: dict[bytes, NodeId] = {}
        self._probe_counter = 0  # the highest of all forgotten peers: one that comes back counts from there
        self.refused = 0
        """Announcements that nobody in our network made, or for which there was no room."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Hold the connections, until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            await trio.sleep_forever()

    def note_registered(self) -> None:
        """The server has welcomed us, and now it tells who is there."""
        for peer in self._peer_table:
            peer.note_registered()
        self._nursery.start_soon(self._note_missing, self._ports.server.registrations)

    async def _note_missing(self, registration: int) -> None:
        """The server does not name peers that left while it, or we, were away: after a while they count as gone."""
        await trio.sleep(self._context.timings.return_patience)
        server = self._ports.server
        if server.is_registered and server.registrations == registration:
            for peer in self._peer_table:
                peer.note_missing()
            self._notifier.notify()

    def knows(self, handle: bytes) -> bool:
        """Whether relay frames under this handle come from a peer that we have met."""
        return handle in self._by_handle

    def handle_untrusted(self, signal: Signal) -> None:
        """One signal of the server. Whatever it holds, it reaches one peer at most."""
        match signal:
            case PeerUp(peer, epoch, seq, body):
                self._meet_untrusted(peer, epoch, seq, body)
            case Introduced(peer=peer, epoch=epoch, seq=seq, body=body):
                met = self._meet_untrusted(peer, epoch, seq, body)
                if met is not None:
                    met.note_introduced(signal)
            case Refusal(peer=peer):
                if (known := self._peer_table.at(NodeId(peer))) is not None:
                    known.note_refused(signal)
            case PeerDown(peer, why):
                if (known := self._peer_table.at(NodeId(peer))) is not None:
                    known.note_down(why)
            case _:
                log.debug("signal of no use here", extra={"kind": type(signal).__name__})

    def _meet_untrusted(self, peer: bytes, epoch: bytes, seq: int, sealed: bytes) -> PeerConnection | None:
        node = NodeId(peer)
        if node == self._context.keys.id:
            return None
        try:
            opened = open_announcement(self._network.announcement_key, node=node, epoch=epoch, seq=seq, sealed=sealed)
            body = decode_announcement(opened)
            if node_id_of(body.static_key) != node:
                raise NotAuthentic("an announcement with another node's key")
            known = self._peer_table.at(node)
            spoken = None if known is None or known.card is None else known.card.body.protocol_version
            if known is None:
                self._context.keys.exchange(body.static_key)  # no honest node has a key that this refuses
                known = self._admit(node)
            if known is None:
                return None
            card = PeerCard(node.raw, epoch, seq, self._reached(body))
            known.meet(card)
        except (NotAuthentic, MalformedFrame) as error:
            self._refuse(node, str(error))
            return None
        if known.card is card:
            self._peer_table.settle(card)
            mismatch = known.version_mismatch
            if mismatch is not None and card.body.protocol_version != spoken:
                log.warning("peer of another version", extra={"peer": node, "evidence": mismatch.evidence})
        return known

    def _reached(self, body: Announcement) -> Announcement:
        """With our ways to its candidates, which count as candidates: of too many the last are left out."""
        candidates = (
            replace(candidate, endpoint=endpoint)
            for candidate in body.candidates
            for endpoint in self._nat64.reach([candidate.endpoint])
        )
        return replace(body, candidates=tuple(islice(candidates, MAX_CANDIDATES)))

    def _admit(self, node: NodeId) -> PeerConnection | None:
        """A connection to a new peer, if there is room."""
        if self._by_handle.get(node.handle, node) != node:
            self._refuse(node, "another peer's id begins with the same 8 bytes")
            return None
        if len(self._peer_table) >= MAX_PEERS:
            gone = self._peer_table.evict()
            if gone is None:
                self._refuse(node, f"{MAX_PEERS} peers are present already")
                return None
            self._part_with(gone)
        connection = PeerConnection(
            node, self._context, self._ports, changed=self._changes.note_move, probe_counter=self._probe_counter
        )
        self._peer_table.add(connection)
        self._inboxes.admit(node)
        self._by_handle[node.handle] = node
        self._nursery.start_soon(connection.run)
        return connection

    def forget(self, wanted: str) -> Forgotten:
        """Set a node's names free, and drop it if it is away. Raises PeerUnreachable if `wanted` names nobody."""
        node = self._peer_table.resolve(wanted)
        names = self._peer_table.free_names(node)
        known = self._peer_table.at(node)
        is_gone = known is None or (not known.is_present and not known.can_carry)
        if known is not None and is_gone:
            self._peer_table.remove(known)
            self._part_with(known)
        return Forgotten(str(node), names, is_gone)

    def _part_with(self, gone: PeerConnection) -> None:
        gone.close()
        self._probe_counter = max(self._probe_counter, gone.probe_counter)
        del self._by_handle[gone.node.handle]
        self._inboxes.drop(gone.node)

    def _refuse(self, node: NodeId, why: str) -> None:
        """Logged the 1st, 2nd, 4th, 8th ... time: a hostile server must not fill our log."""
        self.refused += 1
        if self.refused & (self.refused - 1) == 0:
            log.warning("announcement refused", extra={"peer": node, "error": why, "times": self.refused})
