"""Once there is an introduction: punching, staying connected, staying relayed."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import trio

from tunnel.model.announcement import Announcement
from tunnel.model.reasons import Reason, ReasonCode
from tunnel.model.timings import Timings, rung
from tunnel.model.way import Way
from tunnel.peer.context import PeerContext
from tunnel.peer.path import NEVER
from tunnel.peer.path_liveness import PathLiveness
from tunnel.peer.peer_state import PeerState
from tunnel.peer.port_prediction.punch import PortPrediction
from tunnel.peer.ports import DatagramSockets
from tunnel.peer.punching import Ask, send_volleys
from tunnel.peer.tactics import PunchPlan, plan_punch
from tunnel.wire.signals import Connect, Signal

_PROMOTION_WINDOW = 3.0
"""After a path was proved, the other candidates still get volleys for so long: a better one may answer."""

_USED_UP = 1.0
"""An introduction that came so long before a punch ended had its volleys: it brings no second punch."""

_Basis: TypeAlias = tuple[Announcement, Announcement, tuple[tuple[int, bool], ...], Timings, tuple[Way, ...], int]
"""What a plan is made of: see `plan_punch`."""


class ConnectStates:
    """The activities of `punching`, `connected` and `relayed`.

    `ask(way, ttl)` sends a probe, `hard` guesses ports, `send(signal)` sends a signal to the server, `reroute()` is
    called when the choice of paths changed.
    """

    def __init__(
        self,
        peer: PeerState,
        context: PeerContext,
        liveness: PathLiveness,
        *,
        datagrams: DatagramSockets,
        ask: Ask,
        prediction: PortPrediction,
        send: Callable[[Signal], bool],
        reroute: Callable[[], None],
    ) -> None:
        self._peer = peer
        self._paths = peer.paths
        self._timings = context.timings
        self._entropy = context.entropy
        self._datagrams = datagrams
        self._liveness = liveness
        self._ask = ask
        self._prediction = prediction
        self._send = send
        self._reroute = reroute
        self._plan = PunchPlan((), 0.0, Reason(ReasonCode.NO_CANDIDATES))
        self._basis: _Basis | None = None
        self._tried: tuple[object, ...] | None = None
        self._locations: tuple[object, ...] = ()
        self._lost: tuple[Way, float] | None = None
        self._upgrades = 0
        self.connected_at = NEVER

    def plan(self) -> PunchPlan:
        """The plan as both announcements stand now."""
        own, card = self._peer.own_card, self._peer.card
        if own is not None and card is not None:
            answered = tuple(path.way for path in self._paths.direct.values() if path.answered != NEVER)
            basis = (
                own.body,
                card.body,
                tuple(self._datagrams.families()),
                self._timings,
                answered,
                self._prediction.attempts,
            )
            if basis != self._basis:
                self._basis, self._plan = basis, plan_punch(*basis)
        return self._plan

    def next_upgrade(self) -> float:
        """Seconds to stay relayed before the next punch: a ladder that begins anew after each direct path.

        Where the reports speak against a path it is the last rung at once; a changed report does not wait for it. What
        comes after a hard punch is that one's to say.
        """
        if not self._peer.is_direct_allowed:
            return math.inf
        if self._plan.is_hopeless:
            return self._timings.upgrade_ladder[-1]
        if self._prediction.again_in is not None:
            return self._prediction.again_in
        wait = rung(self._timings.upgrade_ladder, self._upgrades)
        self._upgrades += 1
        return wait

    @property
    def failure(self) -> Reason:
        """Why the punch that just ended proved nothing."""
        if self._paths.answered_small:
            return Reason(ReasonCode.PATH_TOO_SMALL, "small probes were answered, full-size ones were not")
        return self._prediction.failure or self._plan.otherwise

    async def punch(self) -> str:
        """Shoot until a path is proved. The chart's patience is the plan's."""
        peer = self._peer
        introduction, peer.introduction = peer.introduction, None
        if introduction is None:
            self._send(Connect(self._entropy.chance.getrandbits(31), peer.node.raw))
        if self._tried != peer.punch_inputs:
            self._note_change()
        self._tried = peer.punch_inputs
        self._paths.begin_round()
        self._prediction.begin()
        if self.plan().is_empty:
            peer.reason = self._plan.otherwise
            return "paths_exhausted"
        if introduction is not None:
            await trio.sleep_until(introduction[1] + introduction[0].start_in)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._shoot, True)
                nursery.start_soon(self._bury_in_time)
                nursery.start_soon(self._liveness.keep_relay, lambda: peer.relay_carries)
                nursery.start_soon(self._give_up_in_time, nursery.cancel_scope)
                nursery.start_soon(self._punch_predicted, nursery.cancel_scope)
                await peer.notifier.wait_until(lambda: peer.has_proof)
                nursery.cancel_scope.cancel()
        finally:
            self._prediction.release()
        if peer.has_proof:
            return "path_verified"
        peer.reason = self.failure
        return "paths_exhausted"

    async def stay_connected(self) -> str:
        """Keep the path proved, and promote a better one that answers."""
        peer = self._peer
        self.connected_at = trio.current_time()
        self._upgrades = 0
        self._prediction.note_change()
        self._lost = peer.introduction = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._look_for_better)
            await self._liveness.keep()
            nursery.cancel_scope.cancel()
        if self._paths.chosen is not None:
            self._lost = (self._paths.chosen.way, trio.current_time())
        peer.reason = Reason(ReasonCode.PATH_LOST, f"no authenticated packet for {self._timings.path_trust:g} s")
        return "path_lost"

    async def stay_relayed(self) -> str:
        """Keep the relay measured; leave when a path is proved, something changed, or the relay is gone."""
        peer = self._peer
        self._paths.bury()
        self._prediction.release(None if self._lost is None else self._lost[0])
        self._reroute()
        if peer.introduction is not None and trio.current_time() - peer.introduction[1] > _USED_UP:
            peer.introduction = None
        while True:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._keep_relay)
                nursery.start_soon(self._probe_old_path)
                await peer.notifier.wait_until(self._has_news)
                nursery.cancel_scope.cancel()
            if peer.has_proof:
                return "path_verified"
            if not peer.relay_carries or peer.is_relay_dead:
                peer.reason = peer.absence
                self._paths.relay.asked = NEVER  # the next stay has 15 s of its own
                return "relay_lost"
            if peer.is_direct_allowed:  # else the news was gone again before all tasks had ended
                return "introduced"

    def _note_change(self) -> None:
        """A report, an address or the peer's process is new: what was found before says nothing of now."""
        self._prediction.note_change()
        if self._locations != self._peer.locations:
            self._locations = self._peer.locations
            self._peer.throughput.forget()
            self._reroute()

    def _has_news(self) -> bool:
        peer = self._peer
        if peer.has_proof or not peer.relay_carries or peer.is_relay_dead:
            return True
        return peer.is_direct_allowed and (peer.introduction is not None or peer.punch_inputs != self._tried)

    async def _look_for_better(self) -> None:
        peer = self._peer
        while True:
            with trio.move_on_after(_PROMOTION_WINDOW):
                await self._shoot(False)
            await peer.notifier.wait_until(lambda: peer.introduction is not None or peer.punch_inputs != self._tried)
            peer.introduction = None
            if self._tried != peer.punch_inputs:
                self._note_change()
            self._tried = peer.punch_inputs

    async def _keep_relay(self) -> None:
        """The relay is a path too: it is measured, and must answer within 15 s."""
        peer = self._peer
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._liveness.keep_relay, lambda: peer.relay_carries)
            while True:
                await trio.sleep(self._timings.relay_heartbeat)
                if peer.is_relay_dead:
                    peer.notifier.notify()

    async def _probe_old_path(self) -> None:
        """A path that died may come back (a cut that is lifted): ask there now and then for two minutes."""
        while self._lost is not None:
            way, since = self._lost
            if trio.current_time() - since > self._timings.old_path_patience:
                return
            self._ask(way, None)
            await trio.sleep(self._timings.old_path_probe)

    async def _bury_in_time(self) -> None:
        """The old path gets data until 15 s after it was last heard, then no more."""
        chosen = self._paths.chosen
        if chosen is not None:
            await trio.sleep_until(chosen.heard + self._timings.path_burial)
            if not chosen.is_proven:
                self._paths.bury()
                self._reroute()

    async def _give_up_in_time(self, punch: trio.CancelScope) -> None:
        """A report that comes amidst the punch may speak against it: then it goes on for as long as such a one does."""
        await self._peer.notifier.wait_until(lambda: self.plan().is_hopeless)
        await trio.sleep(self._plan.patience)
        self._tried = self._peer.punch_inputs
        punch.cancel()

    async def _punch_predicted(self, punch: trio.CancelScope) -> None:
        """After the plain probes have had their chance: guess, where the reports say that a port must be guessed."""
        await trio.sleep(self._timings.prediction_after)
        await self._peer.notifier.wait_until(lambda: self.plan().prediction is not None)
        assert self._plan.prediction is not None
        await self._prediction.run(self._plan.prediction)
        self._tried = self._peer.punch_inputs
        punch.cancel()

    def release(self) -> None:
        """Nothing is left of what was tried: no socket stays open for it."""
        self._prediction.release()

    async def _shoot(self, opening: bool) -> None:
        await send_volleys(self.plan, self._ask, self._timings, opening=opening)
