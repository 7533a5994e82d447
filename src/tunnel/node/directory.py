"""The peers of our network: by id, by name, by tunnel address. Of two claims to one address the older holds."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from tunnel.crypto.network_keys import tunnel_address6
from tunnel.model.announcement import PeerCard
from tunnel.model.errors import PeerUnreachable
from tunnel.model.identity import NetworkId, NodeId
from tunnel.peer.connection import PeerConnection

MAX_PEERS = 4096


class Directory:
    """Who is in our network and who holds which tunnel address."""

    def __init__(self, network: NetworkId, own: NodeId) -> None:
        self._network = network
        self._own = own
        self._peers: dict[NodeId, PeerConnection] = {}
        self._claims: dict[bytes, dict[NodeId, float]] = {}
        self._holders: dict[bytes, PeerConnection] = {}
        self.notes: tuple[str, ...] = ()
        """Clashes of names and addresses, in words."""
        self._own_claims: dict[bytes, float] = {}
        self._own_name = ""

    def __iter__(self) -> Iterator[PeerConnection]:
        return iter(self._peers.values())

    def __len__(self) -> int:
        return len(self._peers)

    def at(self, node: NodeId) -> PeerConnection | None:
        """The peer with this id."""
        return self._peers.get(node)

    def holder_of(self, address: bytes) -> PeerConnection | None:
        """The peer that holds a packed tunnel address (4 or 16 bytes): what the data plane asks for each packet."""
        return self._holders.get(address)

    def add(self, connection: PeerConnection) -> None:
        """A peer that was not known."""
        self._peers[connection.node] = connection

    def claim_own(self, name: str, addresses: tuple[str, ...], since: float) -> None:
        """What we ourselves are called and claim."""
        self._own_name = name
        self._own_claims = {_packed(address): since for address in addresses}
        self._settle()

    def settle(self, card: PeerCard) -> None:
        """A peer's announcement changed: take its claims over. A foreign IPv6 address is nobody's."""
        node = NodeId(card.node)
        for claims in self._claims.values():
            claims.pop(node, None)
        for address in card.body.addresses:
            if ":" in address and address != tunnel_address6(self._network, node):
                continue
            since = 0.0 if ":" in address else card.body.claimed_since
            self._claims.setdefault(_packed(address), {})[node] = since
        self._settle()

    def find(self, wanted: str) -> PeerConnection:
        """By id, name or tunnel address. Raises PeerUnreachable, naming who there is."""
        matches = [
            peer
            for peer in self
            if wanted in (str(peer.node), *((peer.card.body.name, *peer.card.body.addresses) if peer.card else ()))
        ]
        present = [peer for peer in matches if peer.is_present]
        if len(present) == 1 or len(matches) == 1:
            return (present or matches)[0]
        if matches:
            ids = ", ".join(str(peer.node) for peer in matches)
            raise PeerUnreachable(f"{wanted!r} is the name of {len(matches)} peers: use an id instead ({ids})")
        names = ", ".join(sorted(peer.card.body.name for peer in self if peer.card)) or "nobody yet"
        raise PeerUnreachable(f"no peer {wanted!r} here; known: {names}")

    def _settle(self) -> None:
        notes = []
        holders: dict[bytes, PeerConnection] = {}
        for address, claims in self._claims.items():
            everybody = {**claims, **({self._own: self._own_claims[address]} if address in self._own_claims else {})}
            ranked = sorted(everybody, key=lambda node: (everybody[node], node))
            if ranked and ranked[0] in self._peers:
                holders[address] = self._peers[ranked[0]]
            if len(ranked) > 1:
                text = ipaddress.ip_address(address)
                notes.append(f"address {text} is claimed by {len(ranked)} nodes; {ranked[0]} holds it, being the older")
        self._holders = holders
        self._claims = {address: claims for address, claims in self._claims.items() if claims}
        names = [self._own_name, *(peer.card.body.name for peer in self if peer.card and peer.is_present)]
        notes += [
            f"{names.count(name)} nodes are called {name!r}" for name in sorted(set(names)) if names.count(name) > 1
        ]
        self.notes = tuple(notes)


def _packed(address: str) -> bytes:
    return ipaddress.ip_address(address.partition("/")[0]).packed
