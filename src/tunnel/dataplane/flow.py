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
from tunnel.dataplane.reassembly import Reassembly
from tunnel.dataplane.record_size import RecordSize
from tunnel.dataplane.waiting_packets import WaitingPackets
from tunnel.model.identity import NodeId
from tunnel.model.way import Way
from tunnel.wire.frames import BASE_SIZE
from tunnel.wire.session_packets import Control

NEVER = float("-inf")


class FlowPeer(Protocol):
    """What a flow tells its peer connection."""

    def want(self) -> None:
        """Data goes to the peer or comes from it; called at most once a second."""
        ...

    def want_keys(self) -> None:
        """Packets are waiting for keys."""
        ...

    def note_first_data(self) -> None:
        """This machine sends data to the peer for the first time."""
        ...

    def note_sent(self, now: float, *, is_data: bool) -> None:
        """A batch went out."""
        ...

    def note_heard(self, way: Way, now: float) -> None:
        """An authentic batch came in by this way."""
        ...

    def note_confirmed(self, keys: Keys) -> None:
        """The first packet under the next keys has opened: the peer has them."""
        ...

    def note_got_data(self, now: float) -> None:
        """Data came in after `Received.due`."""
        ...

    def hear(self, message: Control) -> None:
        """A control message for which no other taker is registered."""
        ...

    def fail(self, error: Exception) -> None:
        """A packet of this peer made our code raise: a bug, which ends only this peer connection."""
        ...


class Overflows:
    """One for each node: how often the buffer of a socket of ours was full."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


class Received:
    """Counts what came from one peer, for the tallies that we send it."""

    __slots__ = (
        "_counter",
        "_index",
        "_last",
        "_missing",
        "_overflows",
        "broken",
        "by_link",
        "by_udp",
        "came",
        "counted",
        "due",
    )

    def __init__(self, overflows: Overflows | None = None) -> None:
        self.by_udp = self.by_link = 0
        """Bytes of data by UDP, and over the link to the server."""
        self.came = 0
        """Datagrams that came by UDP."""
        self.counted = 0
        """Datagrams that the peer has sent by UDP, by the counters and fragments of those that came."""
        self.broken = 0
        """Of these, fragments of records that were given up."""
        self.due = NEVER
        """When data causes the next tally; set by the sender of tallies."""
        self._index = self._counter = 0
        self._missing = 0
        self._overflows = Overflows() if overflows is None else overflows
        self._last = self._overflows.count, self._overflows.count
        """How many there were at the tally before the last, and at the last."""

    def note(self, index: int, counter: int, fragments: int, *, is_udp: bool) -> None:
        """Count a record with this receiver index and counter, which came whole.

        Records whose counters are missing in between were lost, or are late: each counts as one datagram.
        """
        if index != self._index:
            self._index, self._counter, missing = index, counter, 0
        elif counter > self._counter:
            missing, self._counter = counter - self._counter - 1, counter
        else:
            missing = -1
        if is_udp:
            self.came += fragments
            self.counted += fragments + missing

    def note_broken(self, fragments: int, came: int) -> None:
        """Count a record of so many fragments that was given up. Its counter is missing, so one counts already."""
        self.came += came
        self.broken += came
        self.counted += fragments - 1

    def leave_out_overflows(self) -> None:
        """Called for each tally: what a full socket of ours lost is not missing.

        If sockets were full since the tally before the last, what is newly missing was lost in them: it says nothing of
        the path, and smaller records would cost us even more. A fragment may be found missing in the next second only.
        """
        before, last = self._last
        overflows = self._overflows.count
        self._last = last, overflows
        missing = self.counted - self.came
        if overflows != before:
            missing = min(missing, self._missing)
        self._missing = max(0, missing)  # below: some were late
        self.counted = self.came + self._missing


class Flow:
    """One for each peer connection, as long as it lives."""

    __slots__ = (
        "datagram_size",
        "handle",
        "has_sent_data",
        "is_direct_allowed",
        "keys",
        "node",
        "peer",
        "reassembly",
        "received",
        "record_size",
        "route",
        "rx_bytes",
        "takes_ip",
        "tx_bytes",
        "used",
        "waiting",
        "wanted_at",
    )

    def __init__(
        self,
        node: NodeId,
        peer: FlowPeer,
        keys: KeySlots,
        waiting: WaitingPackets,
        overflows: Overflows,
    ) -> None:
        self.node = node
        self.handle = node.handle
        """The name of the peer in relay frames."""
        self.peer = peer
        self.keys = keys
        """Written by the session."""
        self.waiting = waiting
        """What waits for keys or a route."""
        self.route: tuple[Way, ...] = ()
        """The ways that each packet takes; written by the routing."""
        self.datagram_size = BASE_SIZE
        """Bytes of UDP payload that a datagram may have on each of these ways; written by the routing. The head of a
        circuit comes on top. The link to the server has no such limit."""
        self.record_size = RecordSize()
        """Written with what the peer says of its losses."""
        self.reassembly: Reassembly | None = None
        """What came in pieces; made when that happens."""
        self.is_direct_allowed = True
        """Whether packets without a relay are accepted; written by the routing."""
        self.takes_ip = True
        """Whether the peer accepts IP packets of ours; written with its announcement."""
        self.wanted_at = NEVER
        """When somebody last wanted the peer; written by the peer connection."""
        self.has_sent_data = False
        self.tx_bytes = self.rx_bytes = 0
        """Bytes of plaintext, data and control."""
        self.used = NEVER
        """When data or an echo last went either way."""
        self.received = Received(overflows)

    @property
    def is_ready(self) -> bool:
        """Whether a packet sent now has keys and a route."""
        return self.keys.current is not None and bool(self.route)
