"""One peer connection: composes facts, chart, activities, session and paths.

What the server says and what datagrams bring becomes facts, and events of the chart (activities.py). Data packets never
turn the chart: they read the flow (dataplane/flow.py), and tell us once a batch what it means for our life.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import trio

from tunnel.dataplane.flow import Flow
from tunnel.dataplane.key_slots import Keys, KeySlots
from tunnel.dataplane.waiting_packets import WaitingPackets
from tunnel.machines.background import bare_errors
from tunnel.machines.notifier import Notifier
from tunnel.model.announcement import PeerCard
from tunnel.model.errors import NotAuthentic
from tunnel.model.identity import NodeId
from tunnel.model.reasons import Reason, ReasonCode
from tunnel.model.status import Move, PathStatus, PeerStatus
from tunnel.model.timings import rung
from tunnel.model.way import Way
from tunnel.peer.activities import Activities
from tunnel.peer.context import PeerContext
from tunnel.peer.handshake_limit import PeerAllowance
from tunnel.peer.peer_report import PeerReport
from tunnel.peer.peer_state import PeerState
from tunnel.peer.ports import NodePorts
from tunnel.peer.probes import Probes
from tunnel.peer.routing import Routing
from tunnel.peer.session_messages import SessionMessages
from tunnel.peer.transmitter import Transmitter
from tunnel.wire.frames import Header, Kind
from tunnel.wire.session_packets import Control
from tunnel.wire.signals import Introduced, Refusal

log = logging.getLogger(__name__)


class PeerConnection:
    """Everything between us and one peer. `run()` lives until `close()`; nothing outlives it.

    `changed(connection, move)` is told of each move.
    `probe_counter` is where probes begin to count: above what a forgotten connection to the same node has used.
    """

    def __init__(
        self,
        node: NodeId,
        context: PeerContext,
        ports: NodePorts,
        *,
        changed: Callable[[PeerConnection, Move], None],
        probe_counter: int = 0,
    ) -> None:
        self.node = node
        self._context = context
        self._ports = ports
        self._timings = context.timings
        self._on_change = changed
        self.flow = Flow(node, self, KeySlots(ports.indices.give_back), WaitingPackets(context.timings.wanted))
        self._facts = PeerState(
            node, context, self.flow, announcement=ports.announcement, server=ports.server, overlays=ports.overlays
        )
        self.paths = self._facts.paths
        transmitter = Transmitter(node, ports.server, ports.datagrams)
        self._routing = Routing(
            self._facts,
            transmitter,
            ports.outbound,
            mtu=context.mtu,
            state=lambda: self.state,
            connected_at=lambda: self._activities.reaching.connected_at,
        )
        self._probing = Probes(
            self._facts,
            context,
            transmitter,
            self,
            indices=ports.indices,
            budget=ports.probe_budget,
            traffic=ports.traffic,
            counter=probe_counter,
            on_answer=self._routing.note_answer,
            on_asked=self._routing.note_asked,
        )
        self._messages = SessionMessages(
            self.flow,
            ports.outbound,
            self._facts.throughput,
            context.entropy,
            left=lambda: self.note_down("left"),
            tallied=self._routing.note_tally,
        )
        self._reporting = PeerReport(self._facts, self._routing, clock=context.clock, state=lambda: self.state)
        self._handshakes = PeerAllowance()
        self._is_closing = False
        self._failure: Exception | None = None
        self._begin()

    def _begin(self) -> None:
        """A new chart and all that lives with it."""
        made = self._activities = Activities(
            self._facts,
            self._context,
            self._ports,
            self,
            self._routing,
            self._probing,
            self._messages,
            allowance=self._handshakes,
            moved=self._note_move,
        )
        self.session = made.session
        self._routing.begin(made.liveness, made.session, self._probing.ask)
        self._reporting.begin(made.reaching, made.session_liveness)

    @property
    def notifier(self) -> Notifier:
        """Beats when a fact changed."""
        return self._facts.notifier

    @property
    def state(self) -> str:
        """The chart's state."""
        return self._activities.runner.state

    @property
    def card(self) -> PeerCard | None:
        """The peer's latest announcement."""
        return self._facts.card

    @property
    def name(self) -> str:
        """What it is called here; empty where it may bear no name."""
        return self._facts.name

    @property
    def is_present(self) -> bool:
        """Whether the server has a link to it."""
        return self._facts.is_present

    @property
    def probe_counter(self) -> int:
        """How far probes have counted: a later connection to this node must not count from below."""
        return self._probing.counter

    @property
    def can_carry(self) -> bool:
        """Whether a datagram sent now has keys and a way."""
        return self.flow.is_ready

    # What the server says.

    def meet(self, card: PeerCard) -> None:
        """The peer's latest announcement, opened and verified. Raises NotAuthentic: no honest node has that key."""
        known = self._facts.card
        if known is not None and known.epoch == card.epoch and card.seq < known.seq:
            return
        is_new_epoch = known is None or known.epoch != card.epoch
        probe_keys = self._probing.derive(card) if is_new_epoch else None
        self._facts.note_card(card)
        self.flow.takes_ip = card.body.takes_ip
        if probe_keys is not None:
            self._routing.forget()
            self._probing.begin(probe_keys)
            if known is not None:
                self._activities.runner.post("peer_left")
        self.session.meet(card)
        self._routing.update()

    def note_name(self, name: str) -> None:
        """What it is called here from now on."""
        self._facts.name = name

    def renew(self) -> None:
        """Our own process start is another one now: nothing that was sealed under the old keys may be sealed again."""
        card = self._facts.card
        if card is not None:
            self._routing.forget()
            self._probing.begin(self._probing.derive(card))
            self._activities.runner.post("peer_left")
            self.session.renew(card)
            self._routing.update()

    def note_introduced(self, introduction: Introduced) -> None:
        """The server introduced us; `meet` was called with the card already."""
        self._facts.note_introduced(introduction)

    def note_refused(self, refusal: Refusal) -> None:
        """The server refused an introduction."""
        self._facts.note_refused(refusal)

    def note_down(self, why: str) -> None:
        """The server says that the peer left, or lost its link. A direct path is not touched by a lost link."""
        self._facts.note_absent()
        if why == "left":
            self._facts.reason = Reason(ReasonCode.PEER_OFFLINE, "it left the network")
            self._activities.runner.post("peer_left")
        self.note_change()

    def note_registered(self) -> None:
        """The server welcomed us (again), and now it tells who is present."""
        self._facts.note_registered()
        self.note_change()

    def note_missing(self) -> None:
        """A while has passed since, and the server has told of whom it has."""
        if self.state in ("detecting", "announced"):
            self._facts.note_missing()

    def note_change(self) -> None:
        """The server link, our announcement or our sockets changed."""
        self._routing.update()
        self._facts.notifier.notify()

    def note_circuit(self, way: Way | None) -> None:
        """A circuit of the UDP relay leads to the peer from now on, or none does."""
        if self.paths.relays.use(way):
            self._activities.circuit_liveness.note_wanted()
            self.note_change()

    # What its packets mean for it: `FlowPeer`.

    def want(self) -> None:
        """Somebody wants this peer: an introduction is asked for, keys are made."""
        self.flow.wanted_at = trio.current_time()
        if not self.session.is_established:
            self.session.want()
        self._activities.circuit_liveness.note_wanted()
        if self.state == "announced":
            self._facts.notifier.notify()

    def want_keys(self) -> None:
        """Packets wait for keys."""
        self.session.want()

    def note_first_data(self) -> None:
        """This machine sends data to the peer."""
        self._ports.names.note_spoken(self.node)

    def note_sent(self, now: float, *, is_data: bool) -> None:
        """A batch went out."""
        if is_data:
            self._activities.session_liveness.note_sent()
        self._activities.liveness.note_sent(now)

    def note_heard(self, way: Way, now: float) -> None:
        """A batch that opened came in on this way."""
        self._routing.note_heard(way, now)

    def note_confirmed(self, keys: Keys) -> None:
        """The peer has the next keys."""
        self.session.install(keys)

    def note_got_data(self, now: float) -> None:
        """Data came in, and the peer may be told how much."""
        self._messages.note_got_data(now)

    def hear(self, message: Control) -> None:
        """What the peer says inside the session."""
        self._messages.hear(message)

    def send_packet(self, packet: bytes) -> None:
        """Send one packet of data, as the tunnel carries it; without keys or a way it waits, at most 64 do."""
        self._ports.outbound.send_data(self.flow, (packet,), trio.current_time())

    def handle_untrusted(self, header: Header, datagram: bytes, way: Way) -> None:
        """A probe or a handshake for an index of ours. Raises MalformedFrame or NotAuthentic; then nothing changes."""
        if way.is_direct and not self._facts.is_direct_allowed:
            raise NotAuthentic("a datagram that came directly where only the relay is allowed")
        if header.kind == Kind.PROBE:
            self._probing.handle_untrusted(header, datagram, way)
        else:
            self.session.handle_handshake_untrusted(header, datagram)

    async def echo(self) -> float:
        """Round trip of one control packet inside the session, in seconds. Never returns if nobody answers."""
        return await self._messages.echo(self._activities.session_liveness.note_asked)

    # Life.

    async def run(self) -> None:
        """Live until closed. An error that nobody foresaw costs this peer a backoff, never the node."""
        crashes = 0
        while not self._is_closing:
            try:
                with bare_errors():
                    async with trio.open_nursery() as nursery:
                        for keep in self._activities.beside:
                            nursery.start_soon(keep)
                        nursery.start_soon(self._wait_failure)
                        await self._activities.runner.run()
                        nursery.cancel_scope.cancel()
            except Exception as error:
                log.exception("peer failed", extra={"peer": self.node})
                self._facts.reason = Reason(ReasonCode.INTERNAL_ERROR, type(error).__name__)
                self.session.close()
                self._activities.reaching.release()
                await trio.sleep(rung(self._timings.crash_backoff, crashes))
                crashes += 1
                self._begin()
                if self.card is not None:
                    self.session.meet(self.card)
        self.session.close()
        self._probing.close()
        self._routing.forget()
        self._activities.reaching.release()

    def fail(self, error: Exception) -> None:
        """A call of ours from outside raised what nobody foresaw: `run` treats it as its own."""
        self._failure = error
        self._facts.notifier.notify()

    async def _wait_failure(self) -> None:
        await self._facts.notifier.wait_until(lambda: self._failure is not None)
        failure, self._failure = self._failure, None
        assert failure is not None
        raise failure

    def close(self) -> None:
        """End `run`."""
        self._is_closing = True
        self._activities.runner.post("close")

    def say_farewell(self) -> None:
        """Tell the peer that we leave, if there is a way to say it."""
        self._messages.say_farewell()

    def status(self) -> PeerStatus:
        """A frozen view for people and machines."""
        return self._reporting.status()

    def path_status(self) -> PathStatus | None:
        """The path that carries now; None without keys or a way."""
        return self._reporting.path_status()

    def _note_move(self, source: str, event: str, target: str) -> None:
        move = self._reporting.note_move(source, event, target)
        if target in ("announced", "closed"):
            self.paths.bury()
            self._activities.reaching.release()
        self._routing.update()
        self._facts.notifier.notify()
        log.info("peer moved", extra={"peer": self.node, "from": source, "event": event, "to": target})
        self._on_change(self, move)
