"""What one member is still to be told about its peers: notes on what changed, made into signals when they are sent.

    others' changes --note--> PeerUpdates of each reader --take_nowait: look up, make the signal--> its link

A note holds ids only, and a later note on a peer replaces an earlier one. A peer's announcement is looked up when the
note is taken, so the reader is told the newest. A peer that came and went in the meantime leaves no note. So a reader
that takes nothing falls behind by at most one note for each peer, whatever the others do and however long their
announcements are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import trio

from tunnel.model.identity import NodeId
from tunnel.model.reasons import ReasonCode
from tunnel.wire.signals import Announce, Circuit, Introduced, PeerDown, PeerUp, Refusal

PeerSignal = PeerUp | PeerDown | Introduced | Refusal | Circuit

_UP = "up"
"""The note that a peer is online; any other text is why it left."""


class Announcer(Protocol):
    """A member as its peers see it."""

    announcement: Announce | None
    peer_up: PeerUp | None
    """The announcement as a signal, made once for all peers."""


@dataclass(frozen=True, slots=True)
class Introduction:
    """A note that two members are to punch each other."""

    id: int
    begin: float
    """When to begin by the server's clock, less the one-way delay to the reader."""
    request: int | None
    """The id under which the reader asked for it, if it did."""


class PeerUpdates:
    """The notes of one reader, of three kinds that are taken in turn."""

    def __init__(self, reader: Announcer, online: Mapping[NodeId, Announcer]) -> None:
        """`online`: the members of the reader's network, as they come and go."""
        self._reader = reader
        self._online = online
        self._presence: dict[NodeId, str] = {}
        self._introductions: dict[NodeId, Introduction] = {}
        self._circuits: dict[NodeId, Circuit] = {}
        self._told: set[NodeId] = set()
        """Peers that the reader was told are online."""
        self._turn = 0
        self._some = trio.Event()

    def __len__(self) -> int:
        return len(self._presence) + len(self._introductions) + len(self._circuits)

    def note_up(self, peer: NodeId) -> None:
        """The peer has announced something."""
        self._presence[peer] = _UP
        self._some.set()

    def note_down(self, peer: NodeId, why: str) -> None:
        """The peer is gone."""
        self._circuits.pop(peer, None)
        introduction = self._introductions.get(peer)
        if introduction is not None and introduction.request is None:
            del self._introductions[peer]
        if peer in self._told:
            self._presence[peer] = why
            self._some.set()
        else:
            self._presence.pop(peer, None)

    def introduce(self, peer: NodeId, introduction: Introduction) -> None:
        """The peer and the reader are introduced."""
        self._introductions[peer] = introduction
        self._some.set()

    def note_circuit(self, peer: NodeId, circuit: Circuit) -> None:
        """There is a circuit of the UDP relay to the peer."""
        self._circuits[peer] = circuit
        self._some.set()

    async def wait_some(self) -> None:
        """Return when there is something to take."""
        while not len(self):
            self._some = trio.Event()
            await self._some.wait()

    def take_nowait(self) -> PeerSignal | None:
        """Take the next note and make its signal; None when there is none."""
        while len(self):
            self._turn = (self._turn + 1) % 3
            signal = (self._take_introduction, self._take_presence, self._take_circuit)[self._turn]()
            if signal is not None:
                return signal
        return None

    def _take_presence(self) -> PeerUp | PeerDown | None:
        if not self._presence:
            return None
        peer = next(iter(self._presence))
        note = self._presence.pop(peer)
        if note != _UP:
            self._told.discard(peer)
            return PeerDown(peer.raw, note)
        found = self._online.get(peer)
        if found is None or found.peer_up is None:
            return None  # it has registered anew, and will announce itself
        self._told.add(peer)
        return found.peer_up

    def _take_introduction(self) -> Introduced | Refusal | None:
        if not self._introductions:
            return None
        peer = next(iter(self._introductions))
        note = self._introductions.pop(peer)
        found, own = self._online.get(peer), self._reader.announcement
        theirs = None if found is None else found.announcement
        if theirs is None or own is None:
            if note.request is None:
                return None
            return Refusal(note.request, peer.raw, ReasonCode.PEER_OFFLINE.value, "it left before you were told")
        self._told.add(peer)
        start_in = max(0.0, note.begin - trio.current_time())
        return Introduced(note.id, peer.raw, theirs.epoch, theirs.seq, theirs.body, own.epoch, own.seq, start_in)

    def _take_circuit(self) -> Circuit | None:
        return self._circuits.pop(next(iter(self._circuits))) if self._circuits else None
