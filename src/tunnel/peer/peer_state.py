"""What is known of one peer: kept values, and a notifier that is told when one changed. Nothing here acts."""

from __future__ import annotations

from dataclasses import replace

import trio

from tunnel.dataplane.flow import Flow
from tunnel.machines.notifier import Notifier
from tunnel.machines.peer_connection import PeerConnectionChart
from tunnel.model.announcement import PeerCard
from tunnel.model.candidate import CandidateKind
from tunnel.model.errors import LocalProtocolError
from tunnel.model.identity import NodeId
from tunnel.model.protocol_version import PROTOCOL_VERSION, mismatch_evidence
from tunnel.model.reasons import Reason, ReasonCode
from tunnel.model.timings import rung
from tunnel.model.way import RELAY, Way
from tunnel.peer.context import PeerContext
from tunnel.peer.path import NEVER
from tunnel.peer.path_table import PathTable
from tunnel.peer.ports import Overlays, OwnAnnouncement, ServerPort
from tunnel.peer.throughput import Throughput
from tunnel.wire.probes import ProbeHint
from tunnel.wire.signals import Introduced, Refusal

_ROUNDING = 0.001
"""Seconds. Times are sums of floats: three times five seconds may be a little less than fifteen."""


class PeerState:
    """One for each peer connection. Everybody reads it; only its own methods write it."""

    def __init__(
        self,
        node: NodeId,
        context: PeerContext,
        flow: Flow,
        *,
        announcement: OwnAnnouncement,
        server: ServerPort,
        overlays: Overlays,
    ) -> None:
        self.node = node
        self.flow = flow
        self._announcement = announcement
        self._server = server
        self._clock = context.clock
        self._timings = context.timings
        self.chart = PeerConnectionChart()
        self.notifier = Notifier()
        self.paths = PathTable(context.timings, context.stalls, overlays)
        self.throughput = Throughput(context.timings, context.stalls, flow.received)
        self.card: PeerCard | None = None
        """The peer's latest announcement."""
        self.name = ""
        """What the node calls it; empty where it may bear no name."""
        self.is_present = False
        """Whether the server has a link to it, as far as the server told us."""
        self.absent_since: float | None = None
        """Unix time since when it has none; None while it has one."""
        self.introduction: tuple[Introduced, float] | None = None
        """One that no punch has used yet, and when it came."""
        self.refusal: Refusal | None = None
        """One that no request has taken yet."""
        self.reason: Reason | None = None
        """Why there is no direct path."""
        self.hint: ProbeHint | None = None
        """The peer's latest in this punch."""
        self.not_before = NEVER
        """Nothing is requested before this time, since the last requests were refused."""
        self._refusals = 0

    @property
    def state(self) -> str:
        """The chart's state."""
        return self.chart.here

    def check_send(self, message: str) -> None:
        """Raise LocalProtocolError unless the chart's table has this message in this state."""
        if message not in self.chart.sends_of[self.state]:
            raise LocalProtocolError(f"{self.chart.name} sends no {message!r} while {self.state}")

    @property
    def wanted_at(self) -> float:
        """When the peer was last wanted, by us or by itself."""
        return self.flow.wanted_at

    @property
    def is_wanted(self) -> bool:
        """Whether the peer was wanted not long ago."""
        return trio.current_time() < self.flow.wanted_at + self._timings.wanted

    @property
    def own_card(self) -> PeerCard | None:
        """Our latest announcement, once one was made."""
        return self._announcement.card

    @property
    def is_announced(self) -> bool:
        """Whether the server acknowledged an announcement of ours that holds a survey's verdict."""
        return self._announcement.is_verdict_acknowledged

    @property
    def is_registered(self) -> bool:
        """Whether the link to the server stands now."""
        return self._server.is_registered

    @property
    def registrations(self) -> int:
        """How often the server has welcomed us; 0 before the first time."""
        return self._server.registrations

    @property
    def relay_carries(self) -> bool:
        """Whether the relay reaches the peer, as far as the server knows."""
        return self.is_registered and self.is_present

    @property
    def relay_ways(self) -> tuple[Way, ...]:
        """The ways that a datagram over the relay takes now.

        A circuit is not probed while there is a path, so a fallback to the relay takes what surely carries.
        """
        if self.state == "connected":
            return (RELAY,) if self.relay_carries else ()
        now = trio.current_time()
        return self.paths.relays.ways(now) if self.relay_carries else self.paths.relays.ways_alone(now)

    @property
    def handshake_ways(self) -> tuple[Way, ...]:
        """The ways that a handshake datagram takes now: both over the relay, and the path in use."""
        ways = dict.fromkeys((*((RELAY,) if self.relay_carries else ()), *self.relay_ways))
        if self.paths.chosen is not None:
            ways[self.paths.chosen.way] = None
        return tuple(ways)

    @property
    def is_direct_allowed(self) -> bool:
        """Whether neither side forbids direct paths."""
        own = self.own_card
        return not ((own is not None and own.body.relay_only) or (self.card is not None and self.card.body.relay_only))

    @property
    def is_introduced(self) -> bool:
        """Whether there is an introduction that can be acted on."""
        return self.introduction is not None and (self.is_direct_allowed or self.relay_carries)

    @property
    def has_proof(self) -> bool:
        """Whether the chosen path is proved."""
        return self.paths.chosen is not None and self.paths.chosen.is_proved

    @property
    def is_relay_dead(self) -> bool:
        """Whether the peer has not answered over the relay for 15 s although we asked."""
        relay, stalls = self.paths.relay, self.paths.stalls
        trusted_until = stalls.deadline(max(relay.asked, self.paths.relays.heard), self._timings.relay_trust)
        return relay.asked != NEVER and trio.current_time() > trusted_until - _ROUNDING

    @property
    def punch_inputs(self) -> tuple[object, ...]:
        """What a punch depends on: when it differs from what was tried, another punch is worth it."""
        own = self.own_card
        return tuple(_inputs_of(card) for card in (own, self.card) if card is not None)

    @property
    def locations(self) -> tuple[object, ...]:
        """Where both are, and since which start: the part of `punch_inputs` without the NAT reports."""
        own = self.own_card
        return tuple(_inputs_of(card)[:2] for card in (own, self.card) if card is not None)

    @property
    def version_mismatch(self) -> Reason | None:
        """That the peer speaks another version, so that no session with it is possible; None if it speaks ours."""
        if self.card is None or self.card.body.protocol_version == PROTOCOL_VERSION:
            return None
        evidence = mismatch_evidence(self.name or str(self.node), self.card.body.protocol_version)
        return Reason(ReasonCode.VERSION_MISMATCH, evidence)

    @property
    def absence(self) -> Reason:
        """Why not even the relay carries."""
        if not self.is_registered:
            return Reason(ReasonCode.SERVER_UNREACHABLE, "the link to the server is down and there is no direct path")
        if not self.is_present:
            return Reason(ReasonCode.PEER_OFFLINE, "the server has no link to it")
        return Reason(ReasonCode.PEER_OFFLINE, "no answer over the relay for 15 s")

    # What becomes known.

    def note_wanted(self) -> None:
        """The peer is wanted now."""
        self.flow.wanted_at = trio.current_time()

    def note_name(self, name: str) -> None:
        """What it is called here from now on."""
        self.name = name

    def note_move(self, target: str, reason: Reason | None) -> None:
        """The chart moved there. `reason`: why there is no direct path, where that is news."""
        if target == "connected":
            self.reason = None
        elif reason is not None:
            self.reason = reason

    def restart_chart(self) -> None:
        """An error has ended the chart: another one begins."""
        self.chart = PeerConnectionChart()

    def note_crash(self, error: Exception) -> None:
        """An unforeseen error was raised."""
        self.reason = Reason(ReasonCode.INTERNAL_ERROR, type(error).__name__)

    def note_no_server(self) -> None:
        """The peer is wanted while no server can introduce us."""
        self.reason = Reason(ReasonCode.SERVER_UNREACHABLE, "no link to the server, so nobody introduces us")

    def note_absent(self, *, has_left: bool) -> None:
        """The peer is gone. A request before it is back would be refused, so the next one waits as after a refusal."""
        if self.is_present:
            self._forget_presence()
            self.reason = Reason(ReasonCode.PEER_OFFLINE, "the server has no link to it")
            self._wait_longer()
        if has_left:
            self.reason = Reason(ReasonCode.PEER_OFFLINE, "it left the network")
        self.notifier.notify()

    def note_registered(self) -> None:
        """The server welcomed us, and now tells who is present."""
        if self.is_present:
            self._forget_presence()
        self.notifier.notify()

    def note_missing(self) -> None:
        """The server welcomed us a while ago and has not told of the peer: it left meanwhile."""
        if not self.is_present and (self.reason is None or self.reason.code is ReasonCode.SERVER_UNREACHABLE):
            self.reason = Reason(ReasonCode.PEER_OFFLINE, "the server has no link to it")
            self.notifier.notify()

    def _forget_presence(self) -> None:
        self.is_present = False
        self.absent_since = self._clock.wall()

    def note_card(self, card: PeerCard) -> None:
        """A newer announcement."""
        self.card = card
        is_understood = self.version_mismatch is None
        self.flow.takes_ip = card.body.takes_ip and is_understood
        if not is_understood:
            self.introduction = None
            self.flow.waiting.clear()
        self.is_present = True
        self.absent_since = None
        if self.reason is not None and self.reason.code is ReasonCode.PEER_OFFLINE:
            self.reason = None
        self.not_before = NEVER
        self.notifier.notify()

    def note_introduced(self, introduction: Introduced) -> None:
        """The server introduced us. With a peer of another version that is of no use."""
        if self.version_mismatch is not None:
            return
        self.introduction = (introduction, trio.current_time())
        self.refusal = None
        self._refusals = 0
        self.notifier.notify()

    def take_introduction(self) -> tuple[Introduced, float] | None:
        """The introduction that no punch has used yet, and when it came: it is used from now on."""
        introduction, self.introduction = self.introduction, None
        return introduction

    def forget_hint(self) -> None:
        """Another punch begins."""
        self.hint = None

    def note_hint(self, hint: ProbeHint) -> None:
        """The peer says how its part of a port prediction goes."""
        self.hint = hint
        self.notifier.notify()

    def note_refused(self, refusal: Refusal) -> None:
        """The server refused an introduction."""
        self.refusal = refusal
        self.notifier.notify()

    def take_refusal(self, refusal: Refusal) -> Reason:
        """The refusal as a reason; the next request waits."""
        self.refusal = None
        self._wait_longer()
        try:
            code = ReasonCode(refusal.code)
        except ValueError:
            code = ReasonCode.REFUSED
        return Reason(code, refusal.evidence or f"the server refused: {refusal.code}")

    def _wait_longer(self) -> None:
        self.not_before = trio.current_time() + rung(self._timings.crash_backoff, self._refusals)
        self._refusals += 1


def _inputs_of(card: PeerCard) -> tuple[object, ...]:
    """What a punch depends on. Measured values, and ports that a hard NAT gives anew each time, do not count."""
    nat = card.body.nat
    candidates = tuple(
        (one.kind, one.endpoint.host, 0 if nat.is_hard and one.kind is CandidateKind.REFLEXIVE else one.endpoint.port)
        for one in card.body.candidates
    )
    behavior = replace(nat, step=0, load=0.0, lifetime=None)
    return card.epoch, tuple(dict.fromkeys(candidates)), behavior
