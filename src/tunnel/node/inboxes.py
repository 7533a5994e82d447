"""Application datagrams that nobody has read yet: bounded for each peer and for the node, in bytes.

A peer that sends more than is read loses its own oldest datagrams. When all peers together have more than the node
keeps, the one with most waiting loses first: a member with many keys takes no room from peers that send little.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import trio

from tunnel.dataplane.flow import Flow
from tunnel.machines.notifier import Notifier
from tunnel.model.identity import NodeId
from tunnel.wire.records import APPLICATION
from tunnel.wire.session_packets import MAX_APPLICATION_DATAGRAM

PEER_DATAGRAMS = 256
PEER_BYTES = 256 * 1024
NODE_BYTES = 1024 * 1024
OVERHEAD = 64
"""Bytes that count for a waiting datagram in addition to its own, so that empty ones are bounded too."""


@dataclass(slots=True)
class InboxCounts:
    """What was not kept."""

    dropped: int = 0
    """The oldest datagrams of full inboxes."""
    too_long: int = 0
    """Those that are longer than any honest sender makes them."""
    unread: int = 0
    """Those that came where nobody reads, or from a peer that was dropped."""


@dataclass(slots=True)
class _Inbox:
    waiting: deque[bytes] = field(default_factory=deque)
    size: int = 0


class Inboxes:
    """`put` what arrived, `take` from one peer or `take_any` from all in turn.

    Only a peer that is admitted has room here: `admit` with the peer's connection, `drop` with its end.
    """

    def __init__(self, *, is_read: bool) -> None:
        """`is_read`: whether somebody may take what is put; else nothing is kept."""
        self.is_read = is_read
        self._admitted: set[NodeId] = set()
        self._inboxes: dict[NodeId, _Inbox] = {}
        """One for each peer with waiting datagrams; the first is next to be read."""
        self._size = 0
        self._notifier = Notifier()
        self.counts = InboxCounts()

    @property
    def size(self) -> int:
        """Bytes that wait, with each datagram's overhead."""
        return self._size

    def __len__(self) -> int:
        """How many peers have an entry of any kind here."""
        return len(self._admitted | self._inboxes.keys())

    def admit(self, peer: NodeId) -> None:
        """The peer is known from now on."""
        self._admitted.add(peer)

    def deliver(self, flow: Flow, plaintext: bytes) -> None:
        """A record of a peer that begins with `APPLICATION`."""
        self.put(flow.node, plaintext[len(APPLICATION) :])

    def put(self, peer: NodeId, datagram: bytes) -> None:
        """A datagram of this peer has come."""
        if not self.is_read or peer not in self._admitted:
            self.counts.unread += 1
            return
        if len(datagram) > MAX_APPLICATION_DATAGRAM:
            self.counts.too_long += 1
            return
        inbox = self._inboxes.setdefault(peer, _Inbox())
        inbox.waiting.append(datagram)
        self._count(inbox, _cost(datagram))
        while inbox.size > PEER_BYTES or len(inbox.waiting) > PEER_DATAGRAMS:
            self._drop_oldest(peer)
        while self._size > NODE_BYTES:
            self._drop_oldest(max(self._inboxes, key=lambda node: self._inboxes[node].size))
        self._notifier.notify()

    async def take(self, peer: NodeId) -> bytes:
        """The next datagram of this peer."""
        if peer in self._inboxes:
            await trio.lowlevel.checkpoint()
        await self._notifier.wait_until(lambda: peer in self._inboxes)
        return self._pop(peer)

    async def take_any(self) -> tuple[NodeId, bytes]:
        """The next datagram from any peer. Peers with waiting datagrams take turns."""
        if self._inboxes:
            await trio.lowlevel.checkpoint()
        await self._notifier.wait_until(lambda: bool(self._inboxes))
        peer = next(iter(self._inboxes))
        datagram = self._pop(peer)
        if (rest := self._inboxes.pop(peer, None)) is not None:
            self._inboxes[peer] = rest
        return peer, datagram

    def drop(self, peer: NodeId) -> None:
        """The peer is dropped: nobody will read what it sent, or still sends."""
        self._admitted.discard(peer)
        gone = self._inboxes.pop(peer, None)
        if gone is not None:
            self._size -= gone.size

    def _pop(self, peer: NodeId) -> bytes:
        inbox = self._inboxes[peer]
        datagram = inbox.waiting.popleft()
        self._count(inbox, -_cost(datagram))
        if not inbox.waiting:
            del self._inboxes[peer]
        return datagram

    def _drop_oldest(self, peer: NodeId) -> None:
        self._pop(peer)
        self.counts.dropped += 1

    def _count(self, inbox: _Inbox, change: int) -> None:
        inbox.size += change
        self._size += change


def _cost(datagram: bytes) -> int:
    return len(datagram) + OVERHEAD
