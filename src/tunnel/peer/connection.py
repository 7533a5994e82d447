"""One peer connection: what comes in is handed to its parts (parts.py), and an error costs this peer alone.

What the server says and what datagrams bring is written to `PeerState`, and becomes events of the chart
(activities.py). Data packets never turn the chart: they read the flow (dataplane/flow.py), and tell the connection once
a batch.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import trio

from tunnel.dataplane.key_slots import Keys
from tunnel.machines.background import bare_errors
from tunnel.machines.notifier import Notifier
from tunnel.model.announcement import PeerCard
from tunnel.model.errors import NotAuthentic
from tunnel.model.identity import NodeId
from tunnel.model.reasons import Reason
from tunnel.model.status import Move, PathStatus, PeerStatus
from tunnel.model.timings import rung
from tunnel.model.way import Way
from tunnel.peer.context import PeerContext
from tunnel.peer.parts import make_activities, make_parts
from tunnel.peer.ports import NodePorts
from tunnel.peer.probe_exchange import Answered, Asked
from tunnel.wire.frames import Header, Kind
from tunnel.wire.probes import ProbeHint
from tunnel.wire.session_packets import Control, Farewell, Tally
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
        self._on_change = changed
        self._is_closing = False
        self._failure: Exception | None = None
        parts = self._parts = make_parts(node, context, ports, self, probe_counter=probe_counter)
        self.flow = parts.flow
        self.paths = parts.state.paths
        self.session = parts.session
        self._peer = parts.state
        self._routing = parts.routing
        self._probes = parts.probes
        self._liveness = parts.liveness
        self._report = parts.report
        self._activities = make_activities(parts, context, ports, self._note_move)

    @property
    def notifier(self) -> Notifier:
        """Told when something that is known of the peer changed."""
        return self._peer.notifier

    @property
    def state(self) -> str:
        """The chart's state."""
        return self._peer.state

    @property
    def card(self) -> PeerCard | None:
        """The peer's latest announcement."""
        return self._peer.card

    @property
    def name(self) -> str:
        """What it is called here; empty where it may bear no name."""
        return self._peer.name

    @property
    def is_present(self) -> bool:
        """Whether the server has a link to it."""
        return self._peer.is_present

    @property
    def probe_counter(self) -> int:
        """How far probes have counted: a later connection to this node must not count from below."""
        return self._probes.counter

    @property
    def version_mismatch(self) -> Reason | None:
        """That the peer speaks another version, so that nothing can be sent to it; None if it speaks ours."""
        return self._peer.version_mismatch

    @property
    def can_carry(self) -> bool:
        """Whether a datagram sent now has keys and a way."""
        return self.flow.is_ready

    # What the server says.

    def meet(self, card: PeerCard) -> None:
        """The peer's latest announcement, opened and verified. Raises NotAuthentic: no honest node has that key."""
        known = self._peer.card
        if known is not None and known.epoch == card.epoch and card.seq < known.seq:
            return
        is_new_epoch = known is None or known.epoch != card.epoch
        is_new_version = known is None or known.body.protocol_version != card.body.protocol_version
        probe_keys = self._probes.derive(card) if is_new_epoch else None
        self._peer.note_card(card)
        if probe_keys is not None:
            self._routing.forget()
            self._probes.renew(probe_keys)
        if known is not None and (is_new_epoch or is_new_version):
            self._activities.runner.post("peer_left")
        self.session.meet(card)
        self._routing.update()

    def note_name(self, name: str) -> None:
        """What it is called here from now on."""
        self._peer.note_name(name)

    def renew(self) -> None:
        """We have a new epoch: nothing more may be sealed under the old keys."""
        card = self._peer.card
        if card is not None:
            self._routing.forget()
            self._probes.renew(self._probes.derive(card))
            self._activities.runner.post("peer_left")
            self.session.renew(card)
            self._routing.update()

    def note_introduced(self, introduction: Introduced) -> None:
        """The server introduced us; `meet` was called with the card already."""
        self._peer.note_introduced(introduction)

    def note_refused(self, refusal: Refusal) -> None:
        """The server refused an introduction."""
        self._peer.note_refused(refusal)

    def note_down(self, why: str) -> None:
        """The server says that the peer left, or lost its link. A direct path is not touched by a lost link."""
        has_left = why == "left"
        self._peer.note_absent(has_left=has_left)
        if has_left:
            self._activities.runner.post("peer_left")
        self.note_change()

    def note_registered(self) -> None:
        """The server welcomed us (again), and now tells who is present."""
        self._peer.note_registered()
        self.note_change()

    def note_missing(self) -> None:
        """A while has passed since then, and the server has told who is present."""
        if self.state in ("detecting", "announced"):
            self._peer.note_missing()

    def note_change(self) -> None:
        """The server link, our announcement or our sockets changed."""
        self._routing.update()
        self._peer.notifier.notify()

    def note_network(self) -> None:
        """The addresses or routes of this machine changed: the ways to the peer may lead elsewhere now."""
        self.paths.doubt_proofs(trio.current_time())
        self._routing.resize()
        self._parts.path_mtu.note_wanted()

    def note_circuit(self, way: Way | None) -> None:
        """A circuit of the UDP relay leads to the peer from now on, or none does."""
        if self.paths.relays.use(way):
            self._parts.circuit_liveness.note_wanted()
            self.note_change()

    # What its packets mean for it: `FlowPeer`.

    def want(self) -> None:
        """Somebody wants this peer: ask for an introduction, make keys."""
        self._peer.note_wanted()
        if not self.session.is_established:
            self.session.want()
        self._parts.circuit_liveness.note_wanted()
        self._parts.path_mtu.note_wanted()
        if self.state == "announced":
            self._peer.notifier.notify()

    def want_keys(self) -> None:
        """Packets wait for keys."""
        self.session.want()

    def note_first_data(self) -> None:
        """This machine sends data to the peer."""
        self._ports.names.note_spoken(self.node)

    def note_sent(self, now: float, *, is_data: bool) -> None:
        """A batch went out."""
        if is_data:
            self._parts.session_liveness.note_sent()
        self._liveness.note_sent(now)

    def note_heard(self, way: Way, now: float) -> None:
        """A batch that opened came in on this way."""
        self._liveness.note_heard(way, now)

    def note_confirmed(self, keys: Keys) -> None:
        """The peer has the next keys."""
        self.session.install(keys)

    def note_got_data(self, now: float) -> None:
        """Data came in, and the peer may be told how much."""
        self._parts.messages.note_got_data(now)

    def hear(self, message: Control) -> None:
        """What the peer says inside the session."""
        match message:
            case Farewell():
                self.note_down("left")
            case Tally():
                self._routing.note_tally(message)
                self._parts.messages.tell_news()
            case _:
                self._parts.messages.hear(message)

    def send_packet(self, packet: bytes) -> None:
        """Send one packet of data, as the tunnel carries it; without keys or a way it waits, at most 64 do.

        For a peer of another version it is dropped.
        """
        if self._peer.version_mismatch is not None:
            return
        self._ports.outbound.send_data(self.flow, (packet,), trio.current_time())

    def handle_untrusted(self, header: Header, datagram: bytes, way: Way) -> None:
        """A probe or a handshake for us. Raises MalformedFrame or NotAuthentic; then nothing happened."""
        if self._peer.version_mismatch is not None:
            raise NotAuthentic("a datagram of a peer that speaks another version")
        if way.is_direct and not self._peer.is_direct_allowed:
            raise NotAuthentic("a datagram that came directly where only the relay is allowed")
        if header.kind != Kind.PROBE:
            self.session.handle_handshake_untrusted(header, datagram)
            return
        match self._probes.handle_untrusted(header, datagram, way):
            case Answered() as answered:
                self._routing.note_answer(answered.path)
                self._parts.path_mtu.note_answer(answered)
            case Asked(asked):
                self._liveness.note_asked(asked, trio.current_time())
            case ProbeHint() as hint:
                self._peer.note_hint(hint)
            case None:
                pass

    async def echo(self) -> float:
        """Want the peer; round trip of a message of the session, in seconds. Never returns without an answer."""
        self.want()
        return await self._parts.session_liveness.echo()

    # Life.

    async def run(self) -> None:
        """Live until closed. An unforeseen error costs this peer a backoff, never the node."""
        crashes = 0
        while not self._is_closing:
            try:
                with bare_errors():
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(self.session.run)
                        nursery.start_soon(self._parts.session_liveness.run)
                        nursery.start_soon(self._parts.circuit_liveness.run)
                        nursery.start_soon(self._parts.path_mtu.run)
                        nursery.start_soon(self._wait_failure)
                        await self._activities.runner.run()
                        nursery.cancel_scope.cancel()
            except Exception as error:
                log.exception("peer failed", extra={"peer": self.node})
                self._peer.note_crash(error)
                self.session.close()
                self._parts.prediction.release()
                await trio.sleep(rung(self._context.timings.crash_backoff, crashes))
                crashes += 1
                self._peer.restart_chart()
                self._activities = make_activities(self._parts, self._context, self._ports, self._note_move)
                if self.card is not None:
                    self.session.meet(self.card)
        self.session.close()
        self._probes.close()
        self._routing.forget()
        self._parts.prediction.release()

    def fail(self, error: Exception) -> None:
        """A call from outside raised an unforeseen error: `run` treats it as its own."""
        self._failure = error
        self._peer.notifier.notify()

    async def _wait_failure(self) -> None:
        await self._peer.notifier.wait_until(lambda: self._failure is not None)
        failure, self._failure = self._failure, None
        assert failure is not None
        raise failure

    def close(self) -> None:
        """End `run`."""
        self._is_closing = True
        self._activities.runner.post("close")

    def say_farewell(self) -> None:
        """Tell the peer that we leave, if there is a way to say it."""
        self._parts.messages.say_farewell()

    def status(self) -> PeerStatus:
        """A frozen view for people and machines."""
        return self._report.status()

    def path_status(self) -> PathStatus | None:
        """The path that carries now; None without keys or a way."""
        return self._report.path_status()

    def _note_move(self, source: str, event: str, target: str, reason: Reason | None) -> None:
        self._peer.note_move(target, reason)
        move = self._report.note_move(source, event, target)
        if target in ("announced", "closed"):
            self.paths.abandon()
            self._parts.prediction.release()
        self._routing.update()
        self._peer.notifier.notify()
        log.info("peer moved", extra={"peer": self.node, "from": source, "event": event, "to": target})
        self._on_change(self, move)
