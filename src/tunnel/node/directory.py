"""The peers of our network: by id, by name, by tunnel address. Of two claims to one address the older holds.

Who may claim what: its own IPv6 address, which follows from its id, and an IPv4 one from the prefix that the server
leases us ours from. So no member can take an address that is not the tunnel's.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Iterable, Iterator
from difflib import get_close_matches

from tunnel.crypto.network_keys import tunnel_address6
from tunnel.model.announcement import PeerCard
from tunnel.model.endpoint import packed_host
from tunnel.model.errors import PeerUnreachable
from tunnel.model.identity import NetworkId, NodeId
from tunnel.peer.connection import PeerConnection

MAX_PEERS = 4096


class Directory:
    """Who is in our network and who holds which tunnel address. What one peer claims costs what its claims cost."""

    def __init__(self, network: NetworkId, own: NodeId) -> None:
        self._network = network
        self._own = own
        self._peers: dict[NodeId, PeerConnection] = {}
        self._claimed: dict[NodeId, tuple[bytes, ...]] = {}
        self._claims: dict[bytes, dict[NodeId, float]] = {}
        self._holders: dict[bytes, PeerConnection] = {}
        self._own_name = ""
        self._prefix: ipaddress.IPv4Network | None = None

    def __iter__(self) -> Iterator[PeerConnection]:
        return iter(self._peers.values())

    def __len__(self) -> int:
        return len(self._peers)

    @property
    def notes(self) -> tuple[str, ...]:
        """Clashes of names and addresses, in words."""
        clashes = [
            f"address {ipaddress.ip_address(address)} is claimed by {len(claims)} nodes; "
            f"{_oldest(claims)} holds it, being the older"
            for address, claims in self._claims.items()
            if len(claims) > 1
        ]
        names = Counter((self._own_name, *(peer.card.body.name for peer in self if peer.card and peer.is_present)))
        twins = [f"{count} nodes are called {name!r}" for name, count in sorted(names.items()) if count > 1]
        return (*clashes, *twins)

    def at(self, node: NodeId) -> PeerConnection | None:
        """The peer with this id."""
        return self._peers.get(node)

    def holder_of(self, address: bytes) -> PeerConnection | None:
        """The peer that holds a packed tunnel address (4 or 16 bytes): what the data plane asks for each packet."""
        return self._holders.get(address)

    def add(self, connection: PeerConnection) -> None:
        """A peer that was not known."""
        self._peers[connection.node] = connection

    def evict(self) -> PeerConnection | None:
        """Make room: forget the peer that has been known for longest of those that are neither present nor reached."""
        for peer in self:
            if not peer.is_present and not peer.can_carry:
                self._claim(peer.node, {})
                del self._peers[peer.node]
                return peer
        return None

    def claim_own(self, name: str, interfaces: Iterable[str], since: float) -> None:
        """What we are called and claim, ADDRESS/PREFIX each. In a new prefix all claims are looked at again."""
        self._own_name = name
        own = [ipaddress.ip_interface(text) for text in interfaces]
        self._claim(self._own, {one.ip.packed: since if one.version == 4 else 0.0 for one in own})
        prefix = next((one.network for one in own if isinstance(one, ipaddress.IPv4Interface)), None)
        if prefix != self._prefix:
            self._prefix = prefix
            for peer in self:
                if peer.card is not None:
                    self.settle(peer.card)

    def settle(self, card: PeerCard) -> None:
        """A peer's announcement changed: take over those of its claims that it may make."""
        node = NodeId(card.node)
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

    def find(self, wanted: str) -> PeerConnection:
        """By id, by tunnel address, or by name: nobody can call himself what another is. Raises PeerUnreachable."""
        found = next((peer for peer in self if str(peer.node) == wanted), None) or self._holder_at(wanted)
        if found is not None:
            return found
        matches = [peer for peer in self if peer.card is not None and peer.card.body.name == wanted]
        present = [peer for peer in matches if peer.is_present]
        if len(present) == 1 or len(matches) == 1:
            return (present or matches)[0]
        if matches:
            ids = ", ".join(str(peer.node) for peer in matches)
            raise PeerUnreachable(f"{wanted!r} is the name of {len(matches)} peers: use an id instead ({ids})")
        if wanted in (str(self._own), self._own_name, *map(_text, self._claimed.get(self._own, ()))):
            raise PeerUnreachable(f"{wanted!r} is this node itself")
        names = sorted({peer.card.body.name for peer in self if peer.card})
        folded = {name.casefold(): name for name in names}
        nearest = get_close_matches(wanted.casefold(), folded, n=1)
        hint = f"did you mean {folded[nearest[0]]!r}" if nearest else f"known: {', '.join(names) or 'nobody yet'}"
        raise PeerUnreachable(f"no peer {wanted!r} here; {hint}")

    def _holder_at(self, text: str) -> PeerConnection | None:
        if "." not in text and ":" not in text:
            return None
        try:
            return self.holder_of(_packed(text))
        except ValueError:
            return None

    def _claim(self, node: NodeId, claims: dict[bytes, float]) -> None:
        """These are the node's claims from now on."""
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


def _text(packed: bytes) -> str:
    return str(ipaddress.ip_address(packed))


def _packed(address: str) -> bytes:
    return packed_host(address.partition("/")[0])
