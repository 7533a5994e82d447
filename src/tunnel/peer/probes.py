"""The prober of the peer's current epoch: keys, index and counter come and go with it; the budget stays."""

from __future__ import annotations

from collections.abc import Callable

import trio

from tunnel.crypto.pair_keys import ProbeKeys, derive_probe_keys
from tunnel.dataplane.flow_index import FlowIndex, Indexed
from tunnel.model.announcement import PeerCard
from tunnel.model.errors import NotAuthentic
from tunnel.model.way import Way
from tunnel.peer.context import PeerContext
from tunnel.peer.path_table import NEVER, Path
from tunnel.peer.peer_state import PeerState
from tunnel.peer.ports import ApplicationTraffic
from tunnel.peer.probe_budget import ProbeBudget
from tunnel.peer.probe_exchange import ProbeExchange
from tunnel.peer.transmitter import Transmitter
from tunnel.wire.frames import Header, Kind
from tunnel.wire.probes import ProbeHint


class Probes:
    """One a peer connection. `on_answer` and `on_asked` are the prober's.

    `counter` is where probes begin to count: above what a forgotten connection to the same node has used. It never
    begins anew: a server may lie and tell an old epoch again, and then the true one, and then the keys are back.
    """

    def __init__(
        self,
        facts: PeerState,
        context: PeerContext,
        transmitter: Transmitter,
        owner: Indexed,
        *,
        indices: FlowIndex,
        budget: ProbeBudget,
        traffic: ApplicationTraffic,
        counter: int,
        on_answer: Callable[[Path], None],
        on_asked: Callable[[Way], None],
    ) -> None:
        self._facts = facts
        self._context = context
        self._transmitter = transmitter
        self._indices = indices
        self._budget = budget
        self._traffic = traffic
        self._owner = owner
        self._counter = counter
        self._on_answer = on_answer
        self._on_asked = on_asked
        self._prober: ProbeExchange | None = None

    @property
    def counter(self) -> int:
        """How far probes have counted."""
        return self._counter if self._prober is None else self._prober.counter

    def derive(self, card: PeerCard) -> ProbeKeys:
        """The keys of both process starts. Raises NotAuthentic: no honest node has that static key."""
        return derive_probe_keys(
            self._context.keys.exchange(card.body.static_key),
            self._context.psk,
            own=self._context.keys.id,
            own_epoch=self._context.epoch,
            peer=self._facts.node,
            peer_epoch=card.epoch,
        )

    def begin(self, keys: ProbeKeys) -> None:
        """The peer's process is new: so are the keys."""
        self.close()
        self._prober = ProbeExchange(
            keys,
            self._facts.paths,
            timings=self._context.timings,
            entropy=self._context.entropy,
            transmit=self._transmitter.send,
            may_answer=lambda host: self._budget.take_answer(host, trio.current_time()),
            carried=lambda: self._traffic.carried,
            hush=self._hush,
            on_answer=self._on_answer,
            on_asked=self._on_asked,
            on_hint=self._facts.note_hint,
            counter=self._counter,
        )
        self._indices.claim(Kind.PROBE, keys.receive_index, self._owner)

    def ask(self, way: Way, ttl: int | None = None) -> None:
        """Send one probe. To where nobody has answered yet, only what the node's budget allows.

        Where a side forbids direct paths none goes directly.
        A proven path is asked at full size: one that begins to swallow big packets must not live on by small ones.
        """
        if self._prober is None or (way.is_direct and not self._facts.is_direct_allowed):
            return
        path = self._facts.paths.at(way)
        has_answered = path is not None and path.answered != NEVER
        now = trio.current_time()
        if way.is_direct and way.remote and not has_answered and not self._budget.take(way.remote.host, now):
            return
        self._prober.ask(way, full=path is not None and (path.is_proven or bool(way.circuit)), ttl=ttl)

    def send_untracked(self, way: Way, ttl: int | None = None) -> None:
        """Send one probe where most likely nobody is; a hard punch's own budget allowed it."""
        if self._prober is not None:
            self._prober.send_untracked(way, ttl)

    def tell(self, hint: ProbeHint) -> None:
        """Send a hint over the relay."""
        if self._prober is not None:
            self._prober.tell(hint)

    def handle_untrusted(self, header: Header, datagram: bytes, way: Way) -> None:
        """One probe datagram. Raises NotAuthentic or MalformedFrame; then nothing happened."""
        if self._prober is None:
            raise NotAuthentic("a probe before an announcement")
        self._prober.handle_untrusted(header, datagram, way)

    def close(self) -> None:
        """Listen to no probes any more."""
        if self._prober is not None:
            self._indices.release(Kind.PROBE, self._prober.receive_index, self._owner)
            self._counter, self._prober = self._prober.counter, None

    def _hush(self, seconds: float) -> bool:
        is_wanted = trio.current_time() < self._facts.wanted_at + self._context.timings.wanted
        return self._traffic.hush(seconds, is_wanted=is_wanted)
