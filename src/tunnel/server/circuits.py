"""Circuits of the UDP relay: which exist, whose they are, when they end. Datagrams are udp_relay.py's.

    A -- allocate --> server -- circuit(id, key of A) --> A        each side then binds its end, under its key,
                             -- circuit(id, key of B) --> B        to the endpoint that the server sees it at

A circuit is made only for two members of one network that are online. It ends when no side has bound it for
`BIND_LIFE`, or when one of the two has been away for `ABSENCE`. Their number is bounded for each node, each network and
in all. At the limit for all, the network that has most gives way, as with introductions.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import NamedTuple

import trio

from tunnel.crypto.circuit_seal import KEY_BYTES
from tunnel.model.endpoint import Endpoint
from tunnel.model.identity import NetworkId, NodeId
from tunnel.model.rates import TokenBucket
from tunnel.network.ports import Entropy
from tunnel.server.pair import Pair
from tunnel.server.presence import Member, Presence
from tunnel.wire.signals import Allocate, Circuit, NoCircuit

MAX_CIRCUITS = 16384
MAX_CIRCUITS_PER_NETWORK = 4096
MAX_CIRCUITS_PER_NODE = 1024
BIND_LIFE = 45.0
"""Seconds for which a side counts as bound: three binds of an idle node."""
ABSENCE = 60.0
"""Seconds after which a member without a link loses its circuits."""
REPEAT_WINDOW = 5.0
"""Seconds in which both sides' requests get the same circuit. Later ones get a new one: one side has lost the old."""
SWEEP_INTERVAL = 5.0
PROVES_A_SECOND = 10.0
"""Cookies sent to one side, and as many in a burst: a node that binds a circuit asks for four in four seconds."""
SWEPT_AT_ONCE = 256
"""Circuits that are checked before other tasks get their turn."""


class FiveTuple(NamedTuple):
    """Where a side is: the socket and the address of ours that it sends to, and the endpoint it sends from (UDP)."""

    socket: int
    own: str
    remote: Endpoint


@dataclass(slots=True, eq=False)
class Side:
    """One end of a circuit."""

    member: Member
    """As registered when the circuit was made."""
    key: bytes
    allowance: TokenBucket
    """Shared with what the node sends through the WebSocket relay."""
    present_at: float
    proves: TokenBucket
    """Limits the cookies that are sent to 5-tuples not proved yet."""
    five_tuple: FiveTuple | None = None
    """Where it is bound; None: it is not."""
    bound_at: float = float("-inf")
    counter: int = -1
    """Of the latest bind."""

    def bind(self, five_tuple: FiveTuple, counter: int, now: float) -> None:
        """It is bound there from now on, by the bind with this counter."""
        self.five_tuple, self.counter, self.bound_at = five_tuple, counter, now

    def unbind(self) -> None:
        """It is bound nowhere."""
        self.five_tuple = None


@dataclass(slots=True, eq=False)
class CircuitEntry:
    """A circuit as the server keeps it."""

    id: int
    network: NetworkId
    low: Side
    high: Side
    made_at: float

    @property
    def is_whole(self) -> bool:
        """Whether both sides are bound."""
        return self.low.five_tuple is not None and self.high.five_tuple is not None

    @property
    def last_bound(self) -> float:
        """When a side was last bound, or when the circuit was made."""
        return max(self.made_at, self.low.bound_at, self.high.bound_at)


@dataclass(slots=True)
class CircuitStatistics:
    """Counts since the start."""

    made: int = 0
    refused: int = 0
    ended: int = 0


class Circuits:
    """All circuits of the server. `allocate` answers nodes, `find` the datagrams; run `sweep_often` in a task."""

    def __init__(self, presence: Presence, entropy: Entropy) -> None:
        """`entropy`: ids and keys are unguessable."""
        self._presence = presence
        self._entropy = entropy
        self._by_id: dict[int, CircuitEntry] = {}
        self._networks: dict[NetworkId, OrderedDict[int, CircuitEntry]] = {}
        self._pairs: dict[Pair, list[CircuitEntry]] = {}
        self._counts: dict[tuple[NetworkId, NodeId], int] = {}
        self.statistics = CircuitStatistics()

    def __len__(self) -> int:
        return len(self._by_id)

    def find(self, circuit: int) -> CircuitEntry | None:
        """The circuit with this id."""
        return self._by_id.get(circuit)

    def allocate(self, asker: Member, request: Allocate) -> None:
        """Tell both of their circuit, a new one unless they have just got one; or tell the asker why there is none."""
        node = NodeId(request.peer)
        peer = self._presence.find(asker.network, node)
        if peer is None or peer is asker or peer.leaving:
            self._refuse(asker, node, "peer_offline")
            return
        now = trio.current_time()
        pair = Pair.of(asker.network, asker.node, node)
        low, high = (asker, peer) if asker.node == pair.low else (peer, asker)
        known = self._pairs.get(pair, [])
        if (
            known
            and now - known[-1].made_at < REPEAT_WINDOW
            and (known[-1].low.member, known[-1].high.member) == (low, high)
        ):
            self._tell(known[-1], asker)
            return
        if len(known) > 1:
            self._end(known[0])
        if not self._make_room(pair):
            self._refuse(asker, node, "full")
            return
        entry = self._make(pair, low, high, now)
        self._tell(entry, peer)
        self._tell(entry, asker)

    async def sweep_often(self) -> None:
        """End circuits whose time is over, again and again, until cancelled."""
        while True:
            await trio.sleep(SWEEP_INTERVAL)
            for number, entry in enumerate(tuple(self._by_id.values())):
                if number % SWEPT_AT_ONCE == SWEPT_AT_ONCE - 1:
                    await trio.lowlevel.checkpoint()
                self._sweep(entry, trio.current_time())

    def sweep(self, now: float) -> None:
        """Unbind sides that have not bound for long; end circuits that neither side binds or one side has left."""
        for entry in tuple(self._by_id.values()):
            self._sweep(entry, now)

    def _sweep(self, entry: CircuitEntry, now: float) -> None:
        for side in (entry.low, entry.high):
            if now - side.bound_at > BIND_LIFE:
                side.unbind()
            if self.refresh(entry, side):
                side.present_at = now
        left_at = min(entry.low.present_at, entry.high.present_at)
        is_over = now - entry.last_bound > BIND_LIFE or now - left_at > ABSENCE
        if is_over and entry.id in self._by_id:
            self._end(entry)

    def refresh(self, entry: CircuitEntry, side: Side) -> bool:
        """Whether the side is online; then what it sends is charged to the allowance of its present link."""
        member = self._presence.find(entry.network, side.member.node)
        if member is None or member.leaving:
            return False
        side.allowance = member.allowance
        return True

    def _make(self, pair: Pair, low: Member, high: Member, now: float) -> CircuitEntry:
        drawn = self._draw_id()
        while drawn in self._by_id:
            drawn = self._draw_id()
        entry = CircuitEntry(drawn, pair.network, self._side(low, now), self._side(high, now), now)
        self._by_id[drawn] = entry
        self._networks.setdefault(pair.network, OrderedDict())[drawn] = entry
        self._pairs.setdefault(pair, []).append(entry)
        for node in (pair.low, pair.high):
            self._counts[pair.network, node] = self._counts.get((pair.network, node), 0) + 1
        self.statistics.made += 1
        return entry

    def _side(self, member: Member, now: float) -> Side:
        proves = TokenBucket(PROVES_A_SECOND, PROVES_A_SECOND, now)
        return Side(member, self._entropy.token(KEY_BYTES), member.allowance, now, proves)

    def _draw_id(self) -> int:
        """From 1 to 2**63 - 1."""
        return int.from_bytes(self._entropy.token(8), "big") >> 1 or 1

    def _make_room(self, pair: Pair) -> bool:
        """Whether one more may be made for this pair; the oldest of another network may be ended for it."""
        if any(self._counts.get((pair.network, node), 0) >= MAX_CIRCUITS_PER_NODE for node in (pair.low, pair.high)):
            return False
        own = len(self._networks.get(pair.network, ()))
        if own >= MAX_CIRCUITS_PER_NETWORK:
            return False
        if len(self._by_id) >= MAX_CIRCUITS:
            largest = max(self._networks.values(), key=len)
            if len(largest) <= own + 1:
                return False
            self._end(next(iter(largest.values())))
        return True

    def _tell(self, entry: CircuitEntry, member: Member) -> None:
        side, other = (entry.low, entry.high) if member.node == entry.low.member.node else (entry.high, entry.low)
        member.updates.note_circuit(other.member.node, Circuit(other.member.node.raw, entry.id, side.key))

    def _refuse(self, asker: Member, peer: NodeId, why: str) -> None:
        self.statistics.refused += 1
        asker.tell(NoCircuit(peer.raw, why))

    def _end(self, entry: CircuitEntry) -> None:
        low, high = entry.low.member.node, entry.high.member.node
        del self._by_id[entry.id]
        network = self._networks[entry.network]
        del network[entry.id]
        if not network:
            del self._networks[entry.network]
        pair = Pair(entry.network, low, high)
        self._pairs[pair].remove(entry)
        if not self._pairs[pair]:
            del self._pairs[pair]
        for node in (low, high):
            self._counts[entry.network, node] -= 1
            if not self._counts[entry.network, node]:
                del self._counts[entry.network, node]
        self.statistics.ended += 1
