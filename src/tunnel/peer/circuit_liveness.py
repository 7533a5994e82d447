"""Gets a circuit of the UDP relay for a pair that has no direct path, proves it, and judges it while it carries."""

from __future__ import annotations

import trio

from tunnel.machines.notifier import Notifier
from tunnel.model.timings import Timings, rung
from tunnel.model.way import Way
from tunnel.peer.path import NEVER, Path
from tunnel.peer.peer_state import PeerState
from tunnel.peer.ports import Circuits
from tunnel.peer.probes import Probes
from tunnel.peer.routing import Routing

_STATES = ("punching", "relayed")
"""States in which the relay carries, if anything does."""
_LEAST = 0.01
"""Seconds between two looks, at least."""


class CircuitLiveness:
    """One for each peer connection; `run` lives as long. Call `note_wanted` when somebody sends after a pause."""

    def __init__(
        self,
        peer: PeerState,
        timings: Timings,
        circuits: Circuits,
        probes: Probes,
        routing: Routing,
    ) -> None:
        self._peer = peer
        self._circuits = circuits
        self._timings = timings
        self._relays = peer.paths.relays
        self._stalls = peer.paths.stalls
        self._probes = probes
        self._routing = routing
        self._woken = Notifier()

    def note_wanted(self) -> None:
        """Look now, not when the next look is due."""
        self._woken.notify()

    async def run(self) -> None:
        """For ever: whenever the relay carries and is in use, see that it does so over a circuit."""
        while True:
            await self._peer.notifier.wait_until(self._is_relayed)
            with trio.move_on_after(self._timings.circuit_delay):
                await self._peer.notifier.wait_until(lambda: not self._is_relayed() or self._relays.circuit is not None)
                if not self._is_relayed():
                    continue
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._keep)
                await self._peer.notifier.wait_until(lambda: not self._is_relayed())
                nursery.cancel_scope.cancel()
            await self._let_go()

    async def _let_go(self) -> None:
        """Without a link to the server the circuit carries on for a while; update the route when it no longer does."""
        while not self._is_relayed() and self._relays.ways_alone(trio.current_time()):
            with trio.move_on_after(self._timings.heartbeat):
                await self._peer.notifier.wait_until(self._is_relayed)
        self._routing.update()

    def _is_relayed(self) -> bool:
        return self._peer.state in _STATES and self._peer.relay_carries

    async def _keep(self) -> None:
        while True:
            now = trio.current_time()
            circuit = self._relays.circuit
            if not self._is_wanted(now):
                await self._doze_until(now + (self._timings.relay_heartbeat if circuit else self._timings.circuit_idle))
            elif circuit is None:
                self._circuits.want(self._peer.node)
                await self._doze_until(now + self._timings.relay_heartbeat)
            else:
                await self._watch(circuit)

    async def _watch(self, circuit: Path) -> None:
        """Probe this circuit while it is in use: often where it carries, more and more seldom where nothing answers."""
        timings, asked_at, tries = self._timings, NEVER, 0
        ways: tuple[Way, ...] = ()
        while self._relays.circuit is circuit and self._is_wanted(now := trio.current_time()):
            self._circuits.want(self._peer.node)
            self._relays.doubt(now)
            if ways != (ways := self._relays.ways(now)):
                self._routing.update()
            is_stale = asked_at < self._stalls.last_ended  # the answer may have found a full socket
            if is_stale or now >= asked_at + self._gap(circuit, tries, now):
                tries = 0 if circuit.is_proved else tries + 1
                if circuit.asked != NEVER and now >= self._stalls.deadline(circuit.asked, timings.path_suspect):
                    self._circuits.doubt(self._peer.node)
                asked_at = now
                self._probes.ask(circuit.way)
            due = asked_at + self._gap(circuit, tries, now)
            if circuit.is_proved and circuit.asked != NEVER:
                silent_from = circuit.silent_from(timings, self._stalls)
                turns = (silent_from + _LEAST, self._stalls.deadline(circuit.asked, timings.path_trust))
                due = min((due, *(turn for turn in turns if turn > now)))
            await self._doze_until(max(due, now + _LEAST))

    def _gap(self, circuit: Path, tries: int, now: float) -> float:
        timings = self._timings
        if not circuit.is_proved:
            return rung(timings.circuit_probes, max(tries - 1, 0))
        if now - self._peer.wanted_at >= timings.path_in_use:
            return timings.circuit_keepalive
        is_silent = circuit.is_silent(now, timings, self._stalls)
        return timings.path_suspect_probe if is_silent else timings.heartbeat

    async def _doze_until(self, deadline: float) -> None:
        with trio.move_on_at(deadline):
            await self._woken.wait()

    def _is_wanted(self, now: float) -> bool:
        """Whether we sent not long ago, or the peer did over the relay."""
        return now - max(self._peer.wanted_at, self._relays.carried) < self._timings.circuit_idle
