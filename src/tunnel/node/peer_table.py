"""The peers of our network: by id, by name, by tunnel address. Of two claims to one address the older holds.

A name stands for the first node that bore it (name_holders.py). Another node with that name, or with ours, is found
only by its id. A node may claim the IPv6 address that follows from its id, and an IPv4 address in the prefix from which
the server leases. So no member can take an address that is not the tunnel's.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from difflib import get_close_matches

from tunnel.crypto.network_keys import tunnel_address6
from tunnel.dataplane.flow import Flow
from tunnel.machines.notifier import Notifier
from tunnel.model.announcement import PeerCard
from tunnel.model.endpoint import packed_host
from tunnel.model.errors import PeerUnreachable
from tunnel.model.identity import NetworkId, NodeId
from tunnel.model.node_name import folded, reads_as_address_or_id
from tunnel.model.way import Way
from tunnel.node.name_holders import NameHolders
from tunnel.peer.connection import PeerConnection

MAX_PEERS = 4096
_MOST_SHOWN = 3
"""Ids in one note: any number of nodes may bear one name."""
_UNTOLD = "the server, which tells who is here, is not reached: `p2ptunnel-trio status` says why, and what to do"


class PeerTable:
    """The peers that we know, and which of them holds which tunnel address."""

    def __init__(self, network: NetworkId, own: NodeId, own_name: str, names: NameHolders, notifier: Notifier) -> None:
        """`notifier` is notified when anything that `status` shows may have changed."""
        self._network = network
        self._own = own
        self._own_name = own_name
        self._names = names
        self._notifier = notifier
        self._peers: dict[NodeId, PeerConnection] = {}
        self._claimed: dict[NodeId, tuple[bytes, ...]] = {}
        self._claims: dict[bytes, dict[NodeId, float]] = {}
        self._holders: dict[bytes, PeerConnection] = {}
        self._ipv4_held: tuple[str, ...] | None = None
        """None: to be computed again."""
        self._prefix: ipaddress.IPv4Network | None = None

    def __iter__(self) -> Iterator[PeerConnection]:
        return iter(self._peers.values())

    def __len__(self) -> int:
        return len(self._peers)

    @property
    def notes(self) -> tuple[str, ...]:
        """Clashes of names and addresses, for people."""
        clashes = [
            f"address {ipaddress.ip_address(address)} is claimed by {len(claims)} nodes; "
            f"{_oldest(claims)} holds it, being the older"
            for address, claims in self._claims.items()
            if len(claims) > 1
        ]
        claimants: dict[str, list[PeerConnection]] = {}
        for peer in self:
            if peer.card is not None and not peer.name and peer.is_present:
                claimants.setdefault(folded(peer.card.body.name), []).append(peer)
        twins = [self._note_of(peers) for _, peers in sorted(claimants.items())]
        return (*clashes, *twins)

    def at(self, node: NodeId) -> PeerConnection | None:
        """The peer with this id."""
        return self._peers.get(node)

    def is_present(self, node: NodeId) -> bool:
        """Whether the server says that this node is here."""
        peer = self.at(node)
        return peer is not None and peer.is_present

    def note_change(self) -> None:
        """The server link, our announcement, our NAT or our keys changed: each connection looks at them again."""
        for peer in self:
            peer.note_change()
        self._notifier.notify()

    def note_circuit(self, node: NodeId, way: Way | None) -> None:
        """A circuit of the UDP relay leads to this peer from now on; None: none does."""
        if (peer := self.at(node)) is not None:
            peer.note_circuit(way)

    def holder_of(self, address: bytes) -> PeerConnection | None:
        """The peer that holds a packed tunnel address (4 or 16 bytes)."""
        return self._holders.get(address)

    def flow_of(self, address: bytes) -> Flow | None:
        """The flow of that peer. Called for each packet."""
        holder = self._holders.get(address)
        return None if holder is None else holder.flow

    def ipv4_held(self) -> tuple[str, ...]:
        """The IPv4 tunnel addresses that peers hold."""
        if self._ipv4_held is None:
            self._ipv4_held = tuple(_text(address) for address in self._holders if len(address) == 4)
        return self._ipv4_held

    def ipv4_names(self) -> dict[str, str]:
        """The IPv4 tunnel addresses that peers hold, and what the holder of each is called."""
        return {
            _text(address): peer.name or str(peer.node) for address, peer in self._holders.items() if len(address) == 4
        }

    def add(self, connection: PeerConnection) -> None:
        """A peer that was not known."""
        self._peers[connection.node] = connection

    def evict(self) -> PeerConnection | None:
        """Make room: drop the peer that has been known longest of those that are neither present nor reached."""
        for peer in self:
            if not peer.is_present and not peer.can_carry:
                self.remove(peer)
                return peer
        return None

    def remove(self, peer: PeerConnection) -> None:
        """Drop the peer. Its names stay its own."""
        self._claim(peer.node, {})
        del self._peers[peer.node]

    def resolve(self, wanted: str) -> NodeId:
        """The node that an id, a tunnel address or a name stands for, known or away. Raises PeerUnreachable."""
        try:
            return self.find(wanted).node
        except PeerUnreachable:
            holder = self._names.holder_of(wanted) or _parsed(wanted)
            if holder is None or not self._names.names_of(holder):
                raise
            return holder

    def free_names(self, node: NodeId) -> tuple[str, ...]:
        """Set the names of a node free, and return them. Of the others that bear one the longest known keeps it."""
        names = self._names.free(node)
        others = [peer for peer in self if peer.node != node]
        for peer in sorted(others, key=lambda peer: not peer.is_present):
            self._settle_name(peer)
        if (known := self.at(node)) is not None:
            known.note_name("")
            if known.is_present:
                self._settle_name(known)
        return names

    def claim_own(self, interfaces: Iterable[str], since: float) -> None:
        """What we claim, ADDRESS/PREFIX each. With a new prefix all claims are checked again."""
        own = [ipaddress.ip_interface(text) for text in interfaces]
        self._claim(self._own, {one.ip.packed: since if one.version == 4 else 0.0 for one in own})
        prefix = next((one.network for one in own if isinstance(one, ipaddress.IPv4Interface)), None)
        if prefix != self._prefix:
            self._prefix = prefix
            for peer in self:
                if peer.card is not None:
                    self.settle(peer.card)

    def settle(self, card: PeerCard) -> None:
        """A peer's announcement changed: take its name, and those of its claims that it may make."""
        node = NodeId(card.node)
        if (peer := self.at(node)) is not None:
            self._settle_name(peer)
        own6 = tunnel_address6(self._network, node)
        claims: dict[bytes, float] = {}
        for address in card.body.addresses:
            if address == own6:
                claims[_packed(address)] = 0.0
            elif ":" not in address and self._may_lease(ipaddress.IPv4Address(address)):
                claims[_packed(address)] = card.body.claimed_since
        self._claim(node, claims)

    def _may_lease(self, address: ipaddress.IPv4Address) -> bool:
        prefix = self._prefix
        return (
            prefix is not None
            and address in prefix
            and address not in (prefix.network_address, prefix.broadcast_address)
        )

    def _settle_name(self, peer: PeerConnection) -> None:
        if peer.card is None:
            return
        name = peer.card.body.name
        is_free = folded(name) != folded(self._own_name) and not reads_as_address_or_id(name)
        taken = is_free and self._names.take(name, peer.node, is_present=self.is_present)
        peer.note_name(name if taken else "")
        if taken and taken.lost is not None:
            loser = self.at(taken.lost[0])
            if loser is not None and folded(loser.name) == folded(taken.lost[1]):
                loser.note_name("")

    def find(self, wanted: str, *, is_told: bool = True) -> PeerConnection:
        """By id, by tunnel address, or by name, in this order. Raises PeerUnreachable.

        `is_told`: the server is reached, so a peer that is not known here is not there.
        """
        found = next((peer for peer in self if str(peer.node) == wanted), None) or self._holder_at(wanted)
        found = found or next((peer for peer in self if peer.name == wanted), None)
        if found is not None:
            return found
        is_own = wanted in (str(self._own), self._own_name, *map(_text, self._claimed.get(self._own, ())))
        claimants = [peer for peer in self if peer.card and not peer.name and peer.card.body.name == wanted]
        if claimants:
            raise PeerUnreachable(self._note_of(claimants))
        if is_own:
            raise PeerUnreachable(f"{wanted!r} is this node itself")
        if (holder := self._names.holder_of(wanted)) is not None and self.at(holder) is None:
            away = "which is not here" if is_told else f"of which nothing more is known yet; {_UNTOLD}"
            raise PeerUnreachable(f"{wanted!r} is {holder}, {away}")
        names = sorted({peer.name for peer in self if peer.name})
        by_folded = {folded(name): name for name in names}
        nearest = get_close_matches(folded(wanted), by_folded, n=1)
        hint = f"did you mean {by_folded[nearest[0]]!r}" if nearest else f"known: {', '.join(names) or 'nobody yet'}"
        raise PeerUnreachable(f"no peer {wanted!r} here; {hint}" + ("" if is_told else f"; {_UNTOLD}"))

    def note_on(self, name: str) -> str:
        """Who is present and bears this name although it is another's, for people; empty if nobody does."""
        claimants = [
            peer
            for peer in self
            if peer.card and not peer.name and peer.is_present and folded(peer.card.body.name) == folded(name)
        ]
        return self._note_of(claimants) if claimants else ""

    def _note_of(self, claimants: list[PeerConnection]) -> str:
        """Why these peers, which bear one name, are shown by their ids."""
        card = claimants[0].card
        assert card is not None
        name = card.body.name
        ids = ", ".join(str(peer.node) for peer in claimants[:_MOST_SHOWN])
        if len(claimants) > _MOST_SHOWN:
            ids += f" and {len(claimants) - _MOST_SHOWN} more"
        if reads_as_address_or_id(name):
            return f"a node calls itself {name!r}, which reads as an address or an id: use its id ({ids})"
        if folded(name) == folded(self._own_name):
            way = f"use its id ({ids}), or start one of the two with another --name"
            return f"{name!r} is this node; another node calls itself that, too: {way}"
        holder = self._names.holder_of(name)
        if holder is None:
            return f"there is no room for the name {name!r} beside {len(self._names)} others: use the id ({ids})"
        return (
            f"{name!r} is {holder}, which bore this name first; another node calls itself that, too: "
            f"use its id ({ids}), or set the name free with `p2ptunnel-trio forget {holder}`"
        )

    def _holder_at(self, text: str) -> PeerConnection | None:
        if "." not in text and ":" not in text:
            return None
        try:
            return self.holder_of(_packed(text))
        except ValueError:
            return None

    def _claim(self, node: NodeId, claims: dict[bytes, float]) -> None:
        """Replace the node's claims."""
        self._ipv4_held = None
        before = self._claimed.pop(node, ())
        if claims:
            self._claimed[node] = tuple(claims)
        for address in dict.fromkeys((*before, *claims)):
            everybody = self._claims.setdefault(address, {})
            everybody.pop(node, None)
            if address in claims:
                everybody[node] = claims[address]
            holder = self._peers.get(_oldest(everybody)) if everybody else None
            if holder is not None:
                self._holders[address] = holder
            else:
                self._holders.pop(address, None)
            if not everybody:
                del self._claims[address]


def _oldest(claims: dict[NodeId, float]) -> NodeId:
    return min(claims, key=lambda node: (claims[node], node))


def _parsed(text: str) -> NodeId | None:
    try:
        return NodeId.parse(text)
    except ValueError:
        return None


def _text(packed: bytes) -> str:
    return str(ipaddress.ip_address(packed))


def _packed(address: str) -> bytes:
    return packed_host(address.partition("/")[0])
