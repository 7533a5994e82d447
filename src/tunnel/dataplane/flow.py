"""The flow of one peer: what the way of a packet needs to know of it.

    session --keys--> +------+ <--reads-- outbound, inbound
    routing --route-> | Flow |
                      +------+ --counts--> throughput, status

Session and routing write keys and route; packets only read them, and write what they count. What a packet means for
the life of the peer connection is told to `FlowPeer`, once a batch.
"""

from __future__ import annotations

from typing import Protocol

from tunnel.dataplane.key_slots import Keys, KeySlots
from tunnel.dataplane.waiting_packets import WaitingPackets
from tunnel.model.identity import NodeId
from tunnel.model.way import Way
from tunnel.wire.session_packets import Control

NEVER = float("-inf")


class FlowPeer(Protocol):
    """The peer connection, as far as its packets concern it."""

    def want(self) -> None:
        """Data goes to the peer or comes from it; told once a second at most."""
        ...

    def want_keys(self) -> None:
        """Packets wait for keys."""
        ...

    def note_first_data(self) -> None:
        """This machine sends data to the peer, for the first time."""
        ...

    def note_sent(self, now: float, *, is_data: bool) -> None:
        """A batch went out."""
        ...

    def note_heard(self, way: Way, now: float) -> None:
        """A batch that opened came in on this way."""
        ...

    def note_confirmed(self, keys: Keys) -> None:
        """The first packet under the next keys has opened: the peer has them."""
        ...

    def note_got_data(self, now: float) -> None:
        """Data came in after `Received.due`."""
        ...

    def hear(self, message: Control) -> None:
        """A control message that no other taker is registered for."""
        ...

    def fail(self, error: Exception) -> None:
        """What came in for this peer made us raise: a bug, and this peer's trouble alone."""
        ...


class Received:
    """What came from one peer, counted for the tallies that it is told."""

    __slots__ = ("_counter", "_index", "by_link", "by_udp", "came", "counted", "due")

    def __init__(self) -> None:
        self.by_udp = self.by_link = 0
        """Bytes of data by UDP, and over the link to the server."""
        self.came = 0
        """Packets that came by UDP."""
        self.counted = 0
        """Packets that the peer has sent, by the counters of those that came."""
        self.due = NEVER
        """When data is worth a tally again; whoever tells it sets it."""
        self._index = self._counter = 0

    def note(self, index: int, counter: int, *, is_udp: bool) -> None:
        """A packet came in, with this receiver index and counter: what is missing between two was lost, or is late."""
        if index != self._index:
            self.counted += 1
        elif counter > self._counter:
            self.counted += counter - self._counter
        self.came += is_udp
        if index != self._index or counter > self._counter:
            self._index, self._counter = index, counter


class Flow:
    """One a peer connection, for as long as it lives."""

    __slots__ = (
        "handle",
        "has_sent_data",
        "is_direct_allowed",
        "keys",
        "node",
        "peer",
        "received",
        "route",
        "rx_bytes",
        "takes_ip",
        "tx_bytes",
        "used",
        "waiting",
        "wanted_at",
    )

    def __init__(self, node: NodeId, peer: FlowPeer, keys: KeySlots, waiting: WaitingPackets) -> None:
        self.node = node
        self.handle = node.handle
        """Under which the server's relay knows the peer."""
        self.peer = peer
        self.keys = keys
        """Written by the session."""
        self.waiting = waiting
        """What waits for keys or a route."""
        self.route: tuple[Way, ...] = ()
        """The ways that each packet takes; written by the routing."""
        self.is_direct_allowed = True
        """Whether what comes directly is heard; written by the routing."""
        self.takes_ip = True
        """Whether IP packets get anywhere there; written with the peer's announcement."""
        self.wanted_at = NEVER
        """When somebody last wanted the peer; written by whoever is told."""
        self.has_sent_data = False
        self.tx_bytes = self.rx_bytes = 0
        """Plaintext, data and control."""
        self.used = NEVER
        """When data or an echo last went either way."""
        self.received = Received()

    @property
    def is_ready(self) -> bool:
        """Whether a packet sent now has keys and a route."""
        return self.keys.current is not None and bool(self.route)
