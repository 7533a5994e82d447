"""The prober of the peer's current epoch: keys, index and counter come and go with it; the budget stays."""

from __future__ import annotations

from collections.abc import Callable

import trio

from tunnel.crypto.pair_keys import ProbeKeys, derive_probe_keys
from tunnel.dataplane.flow_index import Indexed
from tunnel.model.announcement import PeerCard
from tunnel.model.errors import NotAuthentic
from tunnel.model.way import Way
from tunnel.peer.paths import NEVER, Path
from tunnel.peer.peer_state import PeerFacts
from tunnel.peer.prober import Prober
from tunnel.wire.frames import Kind
from tunnel.wire.probes import ProbeHint


class Probing:
    """One a peer connection. `on_answer` and `on_asked` are the prober's.

    `counter` is where probes begin to count: above what a forgotten connection to the same node has used. It never
    begins anew: a server may lie and tell an old epoch again, and then the true one, and then the keys are back.
    """

    def __init__(
        self,
        facts: PeerFacts,
        owner: Indexed,
        *,
        counter: int,
        on_answer: Callable[[Path], None],
        on_asked: Callable[[Way], None],
    ) -> None:
        self._facts = facts
        self._around = facts.around
        self._owner = owner
        self._counter = counter
        self._on_answer = on_answer
        self._on_asked = on_asked
        self._prober: Prober | None = None

    @property
    def counter(self) -> int:
        """How far probes have counted."""
        return self._counter if self._prober is None else self._prober.counter

    def derive(self, card: PeerCard) -> ProbeKeys:
        """The keys of both process starts. Raises NotAuthentic: no honest node has that static key."""
        return derive_probe_keys(
            self._around.keys.exchange(card.body.static_key),
            self._around.psk,
            own=self._around.keys.id,
            own_epoch=self._around.epoch,
            peer=self._facts.node,
            peer_epoch=card.epoch,
        )

    def begin(self, keys: ProbeKeys) -> None:
        """The peer's process is new: so are the keys, and nothing is known of any path."""
        self.close()
        self._facts.paths.forget_all()
        node = self._facts.node
        self._prober = Prober(
            keys,
            self._facts.paths,
            timings=self._around.timings,
            entropy=self._around.entropy,
            transmit=lambda way, datagram, ttl: self._around.transmit(way, node, datagram, ttl),
            may_answer=self._around.may_answer,
            carried=lambda: self._around.carried,
            hush=self._hush,
            on_answer=self._on_answer,
            on_asked=self._on_asked,
            on_hint=self._facts.note_hint,
            counter=self._counter,
        )
        self._around.claim_index(Kind.PROBE, keys.receive_index, self._owner)

    def ask(self, way: Way, ttl: int | None = None) -> None:
        """Send one probe. To where nobody has answered yet, only what the node's budget allows.

        Where a side forbids direct paths none goes directly.
        A proven path is asked at full size: one that begins to swallow big packets must not live on by small ones.
        """
        if self._prober is None or (way.is_direct and not self._facts.is_direct_allowed):
            return
        path = self._facts.paths.at(way)
        has_answered = path is not None and path.answered != NEVER
        if way.is_direct and way.remote and not has_answered and not self._around.may_probe(way.remote.host):
            return
        self._prober.ask(way, full=path is not None and (path.is_proven or bool(way.circuit)), ttl=ttl)

    def knock(self, way: Way, ttl: int | None = None) -> None:
        """Send one probe where most likely nobody is; a hard punch's own budget allowed it."""
        if self._prober is not None:
            self._prober.knock(way, ttl)

    def tell(self, hint: ProbeHint) -> None:
        """Send a hint over the relay."""
        if self._prober is not None:
            self._prober.tell(hint)

    def handle_untrusted(self, datagram: bytes, way: Way) -> None:
        """One probe datagram. Raises NotAuthentic or MalformedFrame; then nothing happened."""
        if self._prober is None:
            raise NotAuthentic("a probe before an announcement")
        self._prober.handle_untrusted(datagram, way)

    def close(self) -> None:
        """Listen to no probes any more."""
        if self._prober is not None:
            self._around.release_index(Kind.PROBE, self._prober.receive_index, self._owner)
            self._counter, self._prober = self._prober.counter, None

    def _hush(self, seconds: float) -> bool:
        is_wanted = trio.current_time() < self._facts.wanted_at + self._around.timings.wanted
        return self._around.hush(seconds, is_wanted=is_wanted)
