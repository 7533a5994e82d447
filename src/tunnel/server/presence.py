"""Which nodes are online, network by network, and what they last announced.

    Rendezvous --join--> Presence --peer_up / peer_down--> every other member of the same network

The server cannot read announcements: it keeps the newest sealed body of each member and passes it on. What others cause
goes through a member's `PeerUpdates` (peer_updates.py), so that its link's queue is left to its own answers.

No clock, no socket: members bring their links.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from tunnel.model.errors import Refused
from tunnel.model.identity import NetworkId, NodeId
from tunnel.model.protocol_version import PROTOCOL_VERSION
from tunnel.model.rates import TokenBucket
from tunnel.server.peer_updates import PeerUpdates
from tunnel.wire.signals import Announce, PeerUp, Signal

RTT_SAMPLES = 8


class Mailbox(Protocol):
    """Where a member's signals and relay frames go: the sending half of `network.link.Link`."""

    def send_signal(self, signal: Signal) -> None:
        """Queue a signal. Never fails: a full queue breaks the link, which its own connection then finds out."""
        ...

    def queue_relay(self, handle: bytes, datagram: bytes) -> bool:
        """Queue a relay frame until `flush_relay`; False when it was dropped."""
        ...

    def flush_relay(self) -> None:
        """Send what is queued."""
        ...


@dataclass(eq=False)
class Member:
    """One registered link of one node. A node that connects again is a new member that replaces the old one."""

    network: NetworkId
    node: NodeId
    mailbox: Mailbox
    end: Callable[[str, str], None]
    """Ends the link, with this error (code, text) as its last word."""
    allowance: TokenBucket
    """What the node may send through the relays, in bytes."""
    protocol_version: int = PROTOCOL_VERSION
    """What the node speaks with its peers."""
    announcement: Announce | None = None
    leaving: bool = False
    """Whether the node withdrew."""
    peer_up: PeerUp | None = None
    """The announcement as all others are told it."""
    updates: PeerUpdates = field(init=False)
    _rtts: deque[float] = field(default_factory=lambda: deque(maxlen=RTT_SAMPLES))

    def __post_init__(self) -> None:
        self.updates = PeerUpdates(self, {})

    @property
    def rtt(self) -> float | None:
        """Round trip to the node in seconds: the least of the latest samples, since queues only lengthen it."""
        return min(self._rtts, default=None)

    def add_rtt(self, seconds: float) -> None:
        """One more sample."""
        self._rtts.append(seconds)

    def tell(self, signal: Signal) -> None:
        """Queue a signal. A broken link is handled by its own connection, never by the sender."""
        self.mailbox.send_signal(signal)


class _Network:
    """The members of one network."""

    __slots__ = ("by_handle", "members")

    def __init__(self) -> None:
        self.members: dict[NodeId, Member] = {}
        self.by_handle: dict[bytes, Member] = {}


class Presence:
    """The members of all networks."""

    def __init__(self, max_nodes_per_network: int) -> None:
        self._max_nodes = max_nodes_per_network
        self._networks: dict[NetworkId, _Network] = {}
        self._listeners: list[Callable[[NetworkId, NodeId], None]] = []

    def watch(self, listener: Callable[[NetworkId, NodeId], None]) -> None:
        """Call this, at once and synchronously, whenever something about a node has changed."""
        self._listeners.append(listener)

    def check_room(self, network: NetworkId, node: NodeId) -> None:
        """Raise Refused (`network_full`, `handle_taken`) if this node could not join now."""
        found = self._networks.get(network)
        if found is None or node in found.members:
            return
        if len(found.members) >= self._max_nodes:
            raise Refused("network_full", f"this network has {self._max_nodes} nodes online")
        if node.handle in found.by_handle:
            raise Refused("handle_taken", "another node's id begins with the same 8 bytes: make a new node key")

    def join(self, member: Member) -> None:
        """Bring a member online; an older link of the same node is ended with the error `replaced`.

        The newcomer gets `peer_up` of everybody who has announced. Raises Refused as `check_room` does.
        """
        self.check_room(member.network, member.node)
        network = self._networks.setdefault(member.network, _Network())
        member.updates = PeerUpdates(member, network.members)
        old = network.members.get(member.node)
        network.members[member.node] = member
        network.by_handle[member.node.handle] = member
        if old is not None:
            old.end("replaced", "the same node has registered again")
        self._changed(member)
        for other in network.members.values():
            if other is not member and other.announcement is not None:
                member.updates.note_up(other.node)

    def leave(self, member: Member) -> None:
        """The member's link has ended. Nothing happens if another link of the node has replaced it."""
        network = self._networks.get(member.network)
        if network is None or network.members.get(member.node) is not member:
            return
        del network.members[member.node]
        del network.by_handle[member.node.handle]
        if not network.members:
            del self._networks[member.network]
        self._hide(network, member, "left" if member.leaving else "lost")
        self._changed(member)

    def announce(self, member: Member, announce: Announce) -> bool:
        """Keep an announcement, for `pass_on`. False if it is not newer than the kept one of the same epoch."""
        kept = member.announcement
        if kept is not None and kept.epoch == announce.epoch and announce.seq <= kept.seq:
            return False
        network = self._networks.get(member.network)
        if network is None or network.members.get(member.node) is not member:
            return False
        member.announcement = announce
        member.peer_up = PeerUp(member.node.raw, announce.epoch, announce.seq, announce.body)
        member.leaving = False
        self._changed(member)
        return True

    def pass_on(self, member: Member) -> int:
        """Tell all others in the network what the member announced last. Returns how many they are."""
        network = self._networks.get(member.network)
        if network is None or network.members.get(member.node) is not member or member.announcement is None:
            return 0
        for other in network.members.values():
            if other is not member:
                other.updates.note_up(member.node)
        return len(network.members) - 1

    def withdraw(self, member: Member) -> None:
        """The member leaves: its announcement is forgotten and the others are told, though its link is still up."""
        network = self._networks.get(member.network)
        if network is None or network.members.get(member.node) is not member:
            return
        member.announcement = member.peer_up = None
        member.leaving = True
        self._hide(network, member, "left")
        self._changed(member)

    def find(self, network: NetworkId, node: NodeId) -> Member | None:
        """The member that is this node, if it is online."""
        found = self._networks.get(network)
        return None if found is None else found.members.get(node)

    def handles_of(self, network: NetworkId) -> Mapping[bytes, Member]:
        """The members of this network by the 8 bytes that name them in relay frames."""
        found = self._networks.get(network)
        return {} if found is None else found.by_handle

    def members_of(self, network: NetworkId) -> tuple[NodeId, ...]:
        """The nodes that are online in this network, in the order of registration."""
        found = self._networks.get(network)
        return () if found is None else tuple(found.members)

    def members(self) -> Iterator[Member]:
        """All members that are online."""
        for network in self._networks.values():
            yield from network.members.values()

    def _changed(self, member: Member) -> None:
        for listener in self._listeners:
            listener(member.network, member.node)

    @staticmethod
    def _hide(network: _Network, member: Member, why: str) -> None:
        for other in network.members.values():
            if other is not member:
                other.updates.note_down(member.node, why)
