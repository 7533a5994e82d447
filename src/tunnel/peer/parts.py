"""The parts of one peer connection, made in the order in which they need each other. Nothing here acts.

PeerState                       what is known of the peer: all other parts read it
Session                         makes the keys of the flow
Routing          of Session     chooses the ways of the flow
Probes                          asks and answers
PortPrediction   of Probes
PunchPlanner     of PortPrediction
PathLiveness     of Probes, Routing, PunchPlanner
CircuitLiveness  of Probes, Routing
PathMtu          of Probes, Routing
SessionMessages                 what the peers tell each other inside the session
SessionLiveness  of Session, SessionMessages
PeerReport       of Routing, SessionLiveness

RequestStates, ConnectStates, Activities: one set for each chart
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from tunnel.dataplane.flow import Flow, FlowPeer
from tunnel.dataplane.flow_index import Indexed
from tunnel.dataplane.key_slots import KeySlots
from tunnel.dataplane.waiting_packets import WaitingPackets
from tunnel.model.identity import NodeId
from tunnel.model.reasons import Reason
from tunnel.peer.activities import Activities
from tunnel.peer.circuit_liveness import CircuitLiveness
from tunnel.peer.connect_states import ConnectStates
from tunnel.peer.context import PeerContext
from tunnel.peer.path_liveness import PathLiveness
from tunnel.peer.path_mtu import PathMtu
from tunnel.peer.peer_report import PeerReport
from tunnel.peer.peer_state import PeerState
from tunnel.peer.port_prediction.punch import PortPrediction
from tunnel.peer.ports import NodePorts
from tunnel.peer.probes import Probes
from tunnel.peer.punch_planner import PunchPlanner
from tunnel.peer.request_states import RequestStates
from tunnel.peer.routing import Routing
from tunnel.peer.session import Session
from tunnel.peer.session_liveness import SessionLiveness
from tunnel.peer.session_messages import SessionMessages
from tunnel.peer.transmitter import Transmitter


class PartsOwner(FlowPeer, Indexed, Protocol):
    """The connection: it hands on what comes in."""


@dataclass(frozen=True, slots=True)
class PeerParts:
    """What lives as long as the connection."""

    flow: Flow
    state: PeerState
    session: Session
    routing: Routing
    probes: Probes
    prediction: PortPrediction
    planner: PunchPlanner
    liveness: PathLiveness
    circuit_liveness: CircuitLiveness
    path_mtu: PathMtu
    messages: SessionMessages
    session_liveness: SessionLiveness
    report: PeerReport


def make_parts(
    node: NodeId, context: PeerContext, ports: NodePorts, owner: PartsOwner, *, probe_counter: int
) -> PeerParts:
    """All parts of the connection `owner` to this node. `probe_counter`: where its probes begin to count."""
    timings, outbound, indices, datagrams = context.timings, ports.outbound, ports.indices, ports.datagrams
    flow = Flow(node, owner, KeySlots(indices.give_back), WaitingPackets(timings.wanted), ports.overflows)
    peer = PeerState(node, context, flow, announcement=ports.announcement, server=ports.server, overlays=ports.overlays)
    transmitter = Transmitter(node, ports.server, datagrams)
    session = Session(
        peer, context, transmitter, owner, indices=indices, outbound=outbound, limit=ports.handshake_limit
    )
    routing = Routing(peer, session, outbound, mtu=context.mtu)
    budget = ports.probe_budget
    probes = Probes(
        peer,
        context,
        transmitter,
        owner,
        indices=indices,
        budget=budget,
        traffic=ports.traffic,
        counter=probe_counter,
    )
    prediction = PortPrediction(peer, context, probes, datagrams=datagrams, sockets=ports.punch_sockets, budget=budget)
    planner = PunchPlanner(peer, timings, datagrams, prediction)
    messages = SessionMessages(flow, outbound, peer.throughput, context.entropy)
    session_liveness = SessionLiveness(peer, timings, session, messages)
    return PeerParts(
        flow=flow,
        state=peer,
        session=session,
        routing=routing,
        probes=probes,
        prediction=prediction,
        planner=planner,
        liveness=PathLiveness(peer, timings, probes, routing, planner, ports.watch),
        circuit_liveness=CircuitLiveness(peer, timings, ports.circuits, probes, routing),
        path_mtu=PathMtu(peer, timings, probes, routing),
        messages=messages,
        session_liveness=session_liveness,
        report=PeerReport(peer, routing, session_liveness, context.clock),
    )


def make_activities(
    parts: PeerParts, context: PeerContext, ports: NodePorts, moved: Callable[[str, str, str, Reason | None], None]
) -> Activities:
    """What lives through the chart as it is now. `moved`: see `Activities`."""
    request_states = RequestStates(parts.state, context, ports.server)
    connecting = ConnectStates(
        parts.state,
        context,
        server=ports.server,
        probes=parts.probes,
        routing=parts.routing,
        liveness=parts.liveness,
        planner=parts.planner,
        prediction=parts.prediction,
    )
    return Activities(parts.state, context.timings, parts.planner, request_states, connecting, moved=moved)
