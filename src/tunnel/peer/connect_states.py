"""What is done once there is an introduction: punching, staying connected, staying relayed."""

from __future__ import annotations

import math

import trio

from tunnel.model.reasons import Reason, ReasonCode
from tunnel.model.timings import rung
from tunnel.model.way import Way
from tunnel.peer.context import PeerContext
from tunnel.peer.outcome import Outcome
from tunnel.peer.path import NEVER
from tunnel.peer.path_liveness import PathLiveness
from tunnel.peer.peer_state import PeerState
from tunnel.peer.port_prediction.punch import PortPrediction
from tunnel.peer.ports import ServerPort
from tunnel.peer.probes import Probes
from tunnel.peer.punch_planner import PunchPlanner
from tunnel.peer.request_states import send_connect
from tunnel.peer.routing import Routing
from tunnel.peer.volleys import send_volleys
from tunnel.wire.frames import BASE_SIZE

_PROMOTION_WINDOW = 3.0
"""Seconds after a path was proved in which the other candidates still get volleys: a better one may answer."""

_USED_UP = 1.0
"""Seconds. An introduction that came so long before the punch ended had its volleys: it starts no other punch."""


class ConnectStates:
    """The activities of `punching`, `connected` and `relayed`. One a chart."""

    def __init__(
        self,
        peer: PeerState,
        context: PeerContext,
        *,
        server: ServerPort,
        probes: Probes,
        routing: Routing,
        liveness: PathLiveness,
        planner: PunchPlanner,
        prediction: PortPrediction,
    ) -> None:
        self._peer = peer
        self._paths = peer.paths
        self._timings = context.timings
        self._chance = context.entropy.chance
        self._server = server
        self._probes = probes
        self._routing = routing
        self._liveness = liveness
        self._planner = planner
        self._prediction = prediction
        self._tried: tuple[object, ...] | None = None
        self._locations: tuple[object, ...] = ()
        self._lost: tuple[Way, float] | None = None
        self._upgrades = 0

    def next_upgrade(self) -> float:
        """Seconds to stay relayed before the next punch: a ladder that begins anew after each direct path.

        Where the reports speak against a path it is the last rung at once; a changed report does not wait for it. After
        a port prediction it is what that one says.
        """
        if not self._peer.is_direct_allowed:
            return math.inf
        if self._planner.last.is_hopeless:
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
            return Reason(ReasonCode.PATH_TOO_SMALL, f"small probes were answered, those of {BASE_SIZE} bytes were not")
        return self._prediction.failure or self._planner.last.otherwise

    async def punch(self) -> Outcome:
        """Send volleys until a path is proved. The chart's patience is the plan's."""
        peer = self._peer
        introduction = peer.take_introduction()
        if introduction is None:
            send_connect(peer, self._server, self._chance.getrandbits(31))
        if self._tried != peer.punch_inputs:
            self._note_change()
        self._tried = peer.punch_inputs
        self._paths.begin_round(trio.current_time())
        self._routing.resize()
        self._prediction.begin()
        if self._planner.plan().is_empty:
            return Outcome("paths_exhausted", self._planner.last.otherwise)
        if introduction is not None:
            await trio.sleep_until(introduction[1] + introduction[0].start_in)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._send_volleys, True)
                nursery.start_soon(self._abandon_in_time)
                nursery.start_soon(self._liveness.keep_relay)
                nursery.start_soon(self._give_up_in_time, nursery.cancel_scope)
                nursery.start_soon(self._punch_predicted, nursery.cancel_scope)
                await peer.notifier.wait_until(lambda: peer.has_proof)
                nursery.cancel_scope.cancel()
        finally:
            self._prediction.release()
        return Outcome("path_verified") if peer.has_proof else Outcome("paths_exhausted", self.failure)

    async def stay_connected(self) -> Outcome:
        """Keep the path proved, and promote a better one that answers."""
        self._upgrades = 0
        self._prediction.note_change()
        self._lost = None
        self._peer.take_introduction()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._look_for_better)
            await self._liveness.keep()
            nursery.cancel_scope.cancel()
        if self._paths.chosen is not None:
            self._lost = (self._paths.chosen.way, trio.current_time())
        silence = f"no probe was answered for {self._timings.path_trust:g} s"
        return Outcome("path_lost", Reason(ReasonCode.PATH_LOST, silence))

    async def stay_relayed(self) -> Outcome:
        """Keep the relay measured; leave when a path is proved, something changed, or the relay is gone."""
        peer = self._peer
        self._paths.abandon()
        self._prediction.release(None if self._lost is None else self._lost[0])
        self._routing.update()
        if peer.introduction is not None and trio.current_time() - peer.introduction[1] > _USED_UP:
            peer.take_introduction()
        while True:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._keep_relay)
                nursery.start_soon(self._probe_old_path)
                await peer.notifier.wait_until(self._has_news)
                nursery.cancel_scope.cancel()
            if peer.has_proof:
                return Outcome("path_verified")
            if not peer.relay_carries or peer.is_relay_dead:
                self._paths.relay.asked = NEVER  # the next stay in `relayed` has 15 s of its own
                return Outcome("relay_lost", peer.absence)
            if peer.is_direct_allowed:  # else the news was gone again before all tasks had ended
                return Outcome("introduced")

    def _note_change(self) -> None:
        """A report, an address or the peer's process is new: earlier results no longer count."""
        self._prediction.note_change()
        if self._locations != self._peer.locations:
            self._locations = self._peer.locations
            self._peer.throughput.forget()
            self._routing.update()

    def _has_news(self) -> bool:
        peer = self._peer
        if peer.has_proof or not peer.relay_carries or peer.is_relay_dead:
            return True
        return peer.is_direct_allowed and (peer.introduction is not None or peer.punch_inputs != self._tried)

    async def _look_for_better(self) -> None:
        peer = self._peer
        while True:
            with trio.move_on_after(_PROMOTION_WINDOW):
                await self._send_volleys(False)
            await peer.notifier.wait_until(lambda: peer.introduction is not None or peer.punch_inputs != self._tried)
            peer.take_introduction()
            if self._tried != peer.punch_inputs:
                self._note_change()
            self._tried = peer.punch_inputs

    async def _keep_relay(self) -> None:
        """The relay is a path, too: it is measured, and must answer within 15 s."""
        peer = self._peer
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._liveness.keep_relay)
            while True:
                await trio.sleep(self._timings.relay_heartbeat)
                if peer.is_relay_dead:
                    peer.notifier.notify()

    async def _probe_old_path(self) -> None:
        """A path that died may come back, when a cut is lifted: probe it now and then for two minutes."""
        while self._lost is not None:
            way, since = self._lost
            if trio.current_time() - since > self._timings.old_path_patience:
                return
            self._ask(way)
            await trio.sleep(self._timings.old_path_probe)

    async def _abandon_in_time(self) -> None:
        """The old path gets data until 15 s after it was last heard, then no more."""
        chosen = self._paths.chosen
        if chosen is not None:
            await trio.sleep_until(chosen.heard + self._timings.path_burial)
            if not chosen.is_proved:
                self._paths.abandon()
                self._routing.update()

    async def _give_up_in_time(self, punch: trio.CancelScope) -> None:
        """A report that comes during the punch may speak against it: then it goes on as long as a hopeless one."""
        await self._peer.notifier.wait_until(lambda: self._planner.plan().is_hopeless)
        await trio.sleep(self._planner.last.patience)
        self._tried = self._peer.punch_inputs
        punch.cancel()

    async def _punch_predicted(self, punch: trio.CancelScope) -> None:
        """After the plain probes have had their chance: predict a port, where the reports say that one is needed."""
        await trio.sleep(self._timings.prediction_after)
        await self._peer.notifier.wait_until(lambda: self._planner.plan().prediction is not None)
        plan = self._planner.last.prediction
        assert plan is not None
        await self._prediction.run(plan)
        self._tried = self._peer.punch_inputs
        punch.cancel()

    async def _send_volleys(self, opening: bool) -> None:
        await send_volleys(self._planner.plan, self._ask, self._timings, opening=opening)

    def _ask(self, way: Way, ttl: int | None = None) -> None:
        self._peer.check_send("probe")
        self._probes.ask(way, ttl)
