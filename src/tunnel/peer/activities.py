"""The chart of one peer connection, what is done in each of its states, and what keeps session and circuit meanwhile.

The chart says where we are, the activities (request_states.py, connect_states.py) say what we do there,
`StateRunner` says for how long.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable

import trio

from tunnel.dataplane.flow_index import Indexed
from tunnel.machines.peer_connection import PeerConnectionChart
from tunnel.machines.state_runner import StateRunner
from tunnel.model.way import RELAY, Way
from tunnel.nat.lifetime import keepalive_for
from tunnel.peer.circuit_liveness import CircuitLiveness
from tunnel.peer.connect_states import ConnectStates
from tunnel.peer.context import PeerContext
from tunnel.peer.handshake_limit import PeerAllowance
from tunnel.peer.path_liveness import PathLiveness
from tunnel.peer.peer_state import PeerState
from tunnel.peer.port_prediction.punch import PortPrediction
from tunnel.peer.ports import NodePorts
from tunnel.peer.probes import Probes
from tunnel.peer.request_states import RequestStates
from tunnel.peer.routing import Routing
from tunnel.peer.session import Session
from tunnel.peer.session_liveness import SessionLiveness
from tunnel.peer.session_messages import SessionMessages
from tunnel.wire.signals import Signal, tag_of

_LEAST_PATIENCE = 0.1


class Activities:
    """Run `runner.run` and each of `beside` in one nursery, once: after an error the connection makes new ones.

    `owner` answers to the session's indices, `allowance` is the peer's part of the handshake limit, and
    `moved(source, event, target)` is told of each move.
    """

    def __init__(
        self,
        facts: PeerState,
        context: PeerContext,
        ports: NodePorts,
        owner: Indexed,
        routing: Routing,
        probing: Probes,
        messages: SessionMessages,
        *,
        allowance: PeerAllowance,
        moved: Callable[[str, str, str], None],
    ) -> None:
        self._facts = facts
        self._server = ports.server
        self._watch = ports.watch
        self._timings = context.timings
        self._probing = probing
        self.liveness = PathLiveness(
            facts.paths,
            facts.flow,
            self._timings,
            ask=self._probe,
            keepalive=self._keepalive,
            suspect=self._suspect,
            changed=routing.update,
        )
        self.session = Session(
            context,
            facts.flow,
            owner,
            indices=ports.indices,
            outbound=ports.outbound,
            limit=ports.handshake_limit,
            allowance=allowance,
            transmit=routing.transmit_handshake,
            changed=facts.notifier.notify,
        )
        requesting = RequestStates(facts, context, send=self._send_signal)
        self.reaching = ConnectStates(
            facts,
            context,
            self.liveness,
            datagrams=ports.datagrams,
            ask=self._probe,
            prediction=PortPrediction(
                facts,
                context,
                probing,
                datagrams=ports.datagrams,
                sockets=ports.punch_sockets,
                budget=ports.probe_budget,
            ),
            send=self._send_signal,
            reroute=routing.update,
        )
        self.session_liveness = SessionLiveness(
            self.session,
            self._timings,
            ask=messages.ask,
            answered=lambda: facts.paths.carrier(facts.flow.route, trio.current_time()).answered,
            changed=facts.notifier.notify,
        )
        self.circuit_liveness = CircuitLiveness(
            facts,
            ports.circuits,
            self._timings,
            state=lambda: self.runner.state,
            ask=probing.ask,
            changed=routing.update,
        )
        self.runner = StateRunner(
            PeerConnectionChart(),
            {
                "detecting": requesting.detect,
                "announced": requesting.idle,
                "requested": requesting.request,
                "punching": self.reaching.punch,
                "connected": self.reaching.stay_connected,
                "relayed": self.reaching.stay_relayed,
            },
            patience=self._patience,
            facts=lambda: {"relay": facts.relay_carries, "direct_allowed": facts.is_direct_allowed},
            on_move=moved,
            about=str(facts.node),
        )

    @property
    def beside(self) -> tuple[Callable[[], Awaitable[None]], ...]:
        """What runs as long as the chart lives, whatever its state."""
        return self.session.runner.run, self.session_liveness.run, self.circuit_liveness.run

    def _patience(self, state: str) -> float:
        match state:
            case "requested":
                return self._timings.request_patience
            case "punching":
                return max(self.reaching.plan().patience, _LEAST_PATIENCE)
            case "relayed":
                return self.reaching.next_upgrade()
            case _:
                return math.inf

    def _send_signal(self, signal: Signal) -> bool:
        self.runner.check_send(tag_of(signal))
        return self._server.send_signal(signal)

    def _keepalive(self) -> float:
        """It follows how long our own NAT keeps an idle mapping; the peer sees to its own."""
        card = self._facts.own_card
        return keepalive_for(None if card is None else card.body.nat.lifetime, self._timings)

    def _suspect(self) -> None:
        self._watch.suspect_network()
        for way in (RELAY, *self.reaching.plan().ways):
            self._probe(way)

    def _probe(self, way: Way, ttl: int | None = None) -> None:
        """A probe of the state that we are in."""
        self.runner.check_send("probe")
        self._probing.ask(way, ttl)
