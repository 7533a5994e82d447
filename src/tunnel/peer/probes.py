"""The probes of one peer: keys and index follow its epochs; the bounds and the counter outlive them."""

from __future__ import annotations

import trio

from tunnel.crypto.pair_keys import ProbeKeys, derive_probe_keys
from tunnel.dataplane.flow_index import FlowIndex, Indexed
from tunnel.model.announcement import PeerCard
from tunnel.model.errors import NotAuthentic
from tunnel.model.way import Way
from tunnel.peer.context import PeerContext
from tunnel.peer.path import NEVER
from tunnel.peer.peer_state import PeerState
from tunnel.peer.ports import ApplicationTraffic
from tunnel.peer.probe_budget import ProbeBudget
from tunnel.peer.probe_exchange import Answered, Asked, ProbeExchange
from tunnel.peer.transmitter import Transmitter
from tunnel.wire.frames import BASE_SIZE, Header, Kind
from tunnel.wire.probes import ProbeHint


class Probes:
    """One for each peer connection; `owner` answers to the probes' index.

    `counter` is where probes begin to count: above what a forgotten connection to the same node has used. It never
    begins anew: a server that tells an old epoch and then the true one again brings the old keys back.
    """

    def __init__(
        self,
        peer: PeerState,
        context: PeerContext,
        transmitter: Transmitter,
        owner: Indexed,
        *,
        indices: FlowIndex,
        budget: ProbeBudget,
        traffic: ApplicationTraffic,
        counter: int,
    ) -> None:
        self._peer = peer
        self._context = context
        self._transmitter = transmitter
        self._owner = owner
        self._indices = indices
        self._budget = budget
        self._traffic = traffic
        self._counter = counter
        self._exchange: ProbeExchange | None = None

    @property
    def counter(self) -> int:
        """How far probes have counted."""
        return self._counter if self._exchange is None else self._exchange.counter

    def derive(self, card: PeerCard) -> ProbeKeys:
        """The keys of both process starts. Raises NotAuthentic: no honest node has that static key."""
        return derive_probe_keys(
            self._context.keys.exchange(card.body.static_key),
            self._context.psk,
            own=self._context.keys.id,
            own_epoch=self._context.epoch,
            peer=self._peer.node,
            peer_epoch=card.epoch,
        )

    def renew(self, keys: ProbeKeys) -> None:
        """One of the two processes is new, and so are the keys."""
        self.close()
        self._exchange = ProbeExchange(
            keys,
            self._peer,
            self._context,
            self._transmitter,
            budget=self._budget,
            traffic=self._traffic,
            counter=self._counter,
        )
        self._indices.claim(Kind.PROBE, keys.receive_index, self._owner)

    def ask(self, way: Way, ttl: int | None = None) -> None:
        """Send one probe; where none was answered yet, only if the node's budget allows it.

        Where a side forbids direct paths, none goes directly.
        A proved path gets probes of the base size: if it begins to drop them, small ones must not keep it alive.
        """
        if self._exchange is None or (way.is_direct and not self._peer.is_direct_allowed):
            return
        path = self._peer.paths.at(way)
        if way.is_direct and (path is None or path.answered == NEVER) and not self._has_budget(way):
            return
        is_full = path is not None and (path.is_proved or bool(way.circuit))
        self._exchange.ask(way, size=BASE_SIZE if is_full else 0, ttl=ttl)

    def ask_size(self, way: Way, size: int) -> None:
        """Ask, on a way that has answered, whether a datagram of this size passes."""
        if self._exchange is not None:
            self._exchange.ask_size(way, size)

    def send_untracked(self, way: Way, ttl: int | None = None) -> None:
        """Send one probe to a port that is most likely not the peer's; the budget of a port prediction allowed it."""
        if self._exchange is not None:
            self._exchange.send_untracked(way, ttl)

    def tell(self, hint: ProbeHint) -> None:
        """Send a hint over the relay."""
        if self._exchange is not None:
            self._exchange.tell(hint)

    def handle_untrusted(self, header: Header, datagram: bytes, way: Way) -> Answered | Asked | ProbeHint | None:
        """One probe datagram. Returns what it means for others.

        Raises NotAuthentic or MalformedFrame; then nothing happened.
        """
        if self._exchange is None:
            raise NotAuthentic("a probe before an announcement")
        return self._exchange.handle_untrusted(header, datagram, way)

    def close(self) -> None:
        """Listen to no probes any more."""
        if self._exchange is not None:
            self._indices.release(Kind.PROBE, self._exchange.receive_index, self._owner)
            self._counter, self._exchange = self._exchange.counter, None

    def _has_budget(self, way: Way) -> bool:
        return way.remote is None or self._budget.take(way.remote.host, trio.current_time())
