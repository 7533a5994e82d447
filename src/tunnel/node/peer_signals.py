"""What the server says of the others: announcements are opened, peers met, and each word reaches whom it is about.

The server may say anything. What is not sealed under our network's announcement key is nobody's word; what is concerns
the one peer whose it is.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import islice

from tunnel.crypto.announcement_seal import open_announcement
from tunnel.crypto.network_keys import NetworkKeys
from tunnel.crypto.node_keys import NodeKeys, node_id_of
from tunnel.model.announcement import MAX_CANDIDATES, Announcement, PeerCard
from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import MalformedFrame, NotAuthentic
from tunnel.model.identity import NodeId
from tunnel.node.peer_table import MAX_PEERS, PeerTable
from tunnel.peer.connection import PeerConnection
from tunnel.wire.announcement_body import decode_announcement
from tunnel.wire.signals import Introduced, PeerDown, PeerUp, Refusal, Signal

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What became of a node that the user wants to forget."""

    id: str
    names: tuple[str, ...]
    """Names that stood for it, and are free now; a node that is here and bears one keeps it if nobody else does."""
    is_gone: bool
    """Whether it is known no more; one that is present stays."""


class PeerSignals:
    """Call `handle_untrusted` for each signal about a peer.

    `open_peer(node, probe_counter)` makes a connection, `start` runs it, `parted(node)` is told that it ends. `reach`
    adds to endpoints the ways by which this machine gets to them (NAT64).
    """

    def __init__(
        self,
        network: NetworkKeys,
        keys: NodeKeys,
        peer_table: PeerTable,
        *,
        open_peer: Callable[[NodeId, int], PeerConnection],
        start: Callable[[PeerConnection], None],
        parted: Callable[[NodeId], None],
        reach: Callable[[Iterable[Endpoint]], tuple[Endpoint, ...]] = tuple,
    ) -> None:
        self._network = network
        self._keys = keys
        self._peer_table = peer_table
        self._open_peer = open_peer
        self._start = start
        self._parted = parted
        self._reach = reach
        self._by_handle: dict[bytes, NodeId] = {}
        self._probe_counter = 0  # the highest of all peers that were forgotten: whoever comes back counts from there
        self.refused = 0
        """Announcements that nobody of our network made, or that found no room."""

    def knows(self, handle: bytes) -> bool:
        """Whether relay frames under this handle come from a peer that we have met."""
        return handle in self._by_handle

    def handle_untrusted(self, signal: Signal) -> None:
        """One signal of the server. Whatever it holds, it reaches one peer at most, and ends nothing but that."""
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
        if node == self._keys.id:
            return None
        try:
            opened = open_announcement(self._network.announcement_key, node=node, epoch=epoch, seq=seq, sealed=sealed)
            body = decode_announcement(opened)
            if node_id_of(body.static_key) != node:
                raise NotAuthentic("an announcement with another node's key")
            known = self._peer_table.at(node)
            if known is None:
                self._keys.exchange(body.static_key)  # no honest node has a key that this refuses
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
        return known

    def _reached(self, body: Announcement) -> Announcement:
        """With our ways to its candidates. They count as candidates: the last ones go where there are too many."""
        candidates = (
            replace(candidate, endpoint=endpoint)
            for candidate in body.candidates
            for endpoint in self._reach([candidate.endpoint])
        )
        return replace(body, candidates=tuple(islice(candidates, MAX_CANDIDATES)))

    def _admit(self, node: NodeId) -> PeerConnection | None:
        """A connection to somebody new, if there is room."""
        if self._by_handle.get(node.handle, node) != node:
            self._refuse(node, "another peer's id begins with the same 8 bytes")
            return None
        if len(self._peer_table) >= MAX_PEERS:
            gone = self._peer_table.evict()
            if gone is None:
                self._refuse(node, f"{MAX_PEERS} peers are present already")
                return None
            self._part_with(gone)
        connection = self._open_peer(node, self._probe_counter)
        self._peer_table.add(connection)
        self._by_handle[node.handle] = node
        self._start(connection)
        return connection

    def forget(self, wanted: str) -> Forgotten:
        """Set a node's names free, and know it no more if it is away. Raises PeerUnreachable if nobody is meant."""
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
        self._parted(gone.node)

    def _refuse(self, node: NodeId, why: str) -> None:
        """Told at the 1st, 2nd, 4th, 8th... time: a hostile server must not fill our log."""
        self.refused += 1
        if self.refused & (self.refused - 1) == 0:
            log.warning("announcement refused", extra={"peer": node, "error": why, "times": self.refused})
