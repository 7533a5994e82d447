"""The route to one peer: which ways its datagrams take now, by what was heard and answered on each.

It sends nothing but handshakes; the hot path reads what it has written to the flow.
"""

from __future__ import annotations

from collections.abc import Callable

import trio

from tunnel.dataplane.outbound import Outbound
from tunnel.model.status import PathStatus
from tunnel.model.way import RELAY, Way
from tunnel.peer.path_liveness import PathLiveness
from tunnel.peer.path_table import NEVER, Path
from tunnel.peer.peer_state import PeerState
from tunnel.peer.session import Session
from tunnel.peer.transmitter import Transmitter
from tunnel.wire.session_packets import Tally

_SETTLING = 1.0
"""So long after a path was proved the peer may still send over the relay without being in distress."""


class Routing:
    """One a peer connection, `begin` before all else.

    Call `update` when a fact, a doubt or the state changed, `note_...` for what comes in. `state()` and
    `connected_at()` tell of the chart.
    """

    def __init__(
        self,
        facts: PeerState,
        transmitter: Transmitter,
        outbound: Outbound,
        *,
        mtu: int,
        state: Callable[[], str],
        connected_at: Callable[[], float],
    ) -> None:
        self._facts = facts
        self._paths = facts.paths
        self._flow = facts.flow
        self._transmitter = transmitter
        self._outbound = outbound
        self._mtu = mtu
        self._state = state
        self._connected_at = connected_at

    def begin(self, liveness: PathLiveness, session: Session, ask: Callable[[Way], None]) -> None:
        """A new chart, and what lives with it. `ask(way)` probes a way."""
        self._liveness = liveness
        self._session = session
        self._ask = ask

    def update(self) -> None:
        """Make the route anew; what waited for one goes out."""
        chosen, before = self._paths.chosen, self._flow.route
        relay = self._relay_ways()
        self._flow.is_direct_allowed = self._facts.is_direct_allowed
        if self._is_udp_avoided():
            self._flow.route = (RELAY,)
        elif chosen is None:
            self._flow.route = relay
        elif self._liveness.is_doubted or self._state() != "connected":
            self._flow.route = (chosen.way, *relay)
        else:
            self._flow.route = (chosen.way,)
        if self._flow.route and not before:
            self._paths.relay.asked = NEVER  # what went unanswered before says nothing of now
            self._session.hasten()
        if self._flow.route:
            self._outbound.flush(self._flow, trio.current_time())

    def forget(self) -> None:
        """The peer or its keys are new: nothing is known of any way."""
        self._paths.forget_all()
        self._flow.route = ()

    def note_answer(self, path: Path) -> None:
        """A probe of ours was answered."""
        if path.way.is_relay:
            self.update()
            return
        if not path.is_proven:
            return
        if self._flow.route == (RELAY,) and not self._is_udp_avoided():
            self.update()  # the peer's word has lapsed
        if self._paths.promote(trio.current_time()):
            self.update()
        elif path is not self._paths.chosen or self._state() == "connected":
            return  # else the old path was proved again, which is what punching waits for
        self._facts.notifier.notify()

    def note_heard(self, way: Way, now: float) -> None:
        """An authenticated packet came in on this way."""
        path = self._paths.admit(way, now)
        if path is None:
            return
        if path.heard == NEVER and way.is_direct:
            self._ask(way)
        path.heard = now
        if way.is_relay:
            self._paths.relays.carried = now
            self.note_asked(way)

    def note_asked(self, way: Way) -> None:
        """The peer uses the relay: if we hold a path and both had time to settle, it may not hear us there."""
        if not way.is_relay or self._state() != "connected":
            return
        now = trio.current_time()
        if now - self._connected_at() > _SETTLING:
            self._liveness.note_relayed(now)

    def note_tally(self, tally: Tally) -> None:
        """The peer says what it got of ours, by UDP and by the link."""
        by_udp = any(way is not RELAY for way in self._flow.route) or self._is_udp_avoided()
        if self._facts.throughput.note_tally(tally, trio.current_time(), may_try=by_udp and self._facts.relay_carries):
            self.update()
            self._facts.notifier.notify()

    def transmit_handshake(self, datagram: bytes) -> None:
        """Send it over the relay, by both its ways, and the path in use alike."""
        ways = dict.fromkeys((*((RELAY,) if self._facts.relay_carries else ()), *self._relay_ways()))
        if self._paths.chosen is not None:
            ways[self._paths.chosen.way] = None
        for way in ways:
            self._transmitter.send(way, datagram)

    def path_status(self) -> PathStatus:
        """The path that carries now."""
        path = self._paths.carrier(self._flow.route, trio.current_time())
        kind = "direct" if path.way.is_direct else "relay-udp" if path.way.circuit else "relay-websocket"
        return PathStatus(kind, path.way.remote, path.rtt, self._mtu)

    def _is_udp_avoided(self) -> bool:
        return self._facts.relay_carries and self._facts.throughput.is_udp_avoided(trio.current_time())

    def _relay_ways(self) -> tuple[Way, ...]:
        """Nobody probes a circuit while there is a path: who falls back to the relay takes what surely carries."""
        now = trio.current_time()
        if not self._facts.relay_carries:
            return () if self._state() == "connected" else self._paths.relays.ways_alone(now)
        return (RELAY,) if self._state() == "connected" else self._paths.relays.ways(now)
