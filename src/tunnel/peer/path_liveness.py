"""Keeps the path in use alive and judges it; an idle path is kept alive, not judged.

A path is in use while we send, and while the peer speaks to us over the relay instead: it may not hear us on the path,
or we may not hear it. What was sent is owed an answer: until one has come the path is judged, however seldom we send.

A stall of this program is no silence of the peer's, and that the peer used the relay meanwhile was our fault.
"""

from __future__ import annotations

import trio

from tunnel.machines.notifier import Notifier
from tunnel.model.timings import Timings
from tunnel.model.way import RELAY, Way
from tunnel.nat.lifetime import keepalive_for
from tunnel.peer.path import NEVER, Path
from tunnel.peer.peer_state import PeerState
from tunnel.peer.ports import NetworkWatch
from tunnel.peer.probes import Probes
from tunnel.peer.punch_planner import PunchPlanner
from tunnel.peer.routing import Routing

_TICK = 0.1
"""Seconds between two looks at a path that is doubted: an answer must end the doubt soon."""
_LEAST = 0.01
"""Seconds between two looks, at least."""
_SETTLING = 1.0
"""Seconds after a path was proved, or we had a stall, in which the peer may use the relay although it hears us."""


class PathLiveness:
    """One for each peer connection. `keep` runs while the peer is connected; the data plane calls `note_sent`."""

    def __init__(
        self,
        peer: PeerState,
        timings: Timings,
        probes: Probes,
        routing: Routing,
        planner: PunchPlanner,
        watch: NetworkWatch,
    ) -> None:
        self._peer = peer
        self._paths = peer.paths
        self._stalls = peer.paths.stalls
        self._timings = timings
        self._probes = probes
        self._routing = routing
        self._planner = planner
        self._watch = watch
        self._woken = Notifier()
        self._is_asleep = False
        self._used = NEVER
        self._used_since = NEVER
        self._echo_until = NEVER
        self._kept_since = NEVER

    def note_sent(self, now: float) -> None:
        """We sent data: the path is in use."""
        if now - self._used > self._timings.path_in_use and not self._is_owed():
            self._used_since = now
        self._used = now
        if self._is_asleep:
            self._woken.notify()

    def note_heard(self, way: Way, now: float) -> None:
        """An authenticated batch came in on this way."""
        path = self._paths.admit(way, now)
        if path is None:
            return
        if path.heard == NEVER and way.is_direct:
            self._probes.ask(way)
        path.heard = now
        if way.is_relay:
            self._paths.relays.carried = now
            self.note_asked(way, now)

    def note_asked(self, way: Way, now: float) -> None:
        """The peer sends on this way. If it uses the relay although we hold a path, it may not hear us there.

        So we judge the path, too: a side that only receives would find out nothing, and a punch needs both.
        """
        settled_from = max(self._kept_since, self._stalls.last_ended) + _SETTLING
        if way.is_relay and self._peer.state == "connected" and now > settled_from:
            self._echo_until = now + self._timings.relay_echo
            self.note_sent(now)

    async def keep(self) -> None:
        """Heartbeats, keepalives, doubts. Returns when the chosen path is no longer to be trusted."""
        timings = self._timings
        last_probe = last_suspicion = NEVER
        began = self._kept_since = trio.current_time()
        try:
            while (path := self._paths.chosen) is not None:
                now = trio.current_time()
                is_used = self._is_used(now) or self._is_owed()
                is_silent = self._paths.is_silent(path, now)
                answered = max(path.answered, self._used_since, began)
                if is_used and now >= self._stalls.deadline(answered, timings.path_trust):
                    return
                self._doubt(is_silent or (is_used and now < self._echo_until))
                if is_used and is_silent and now - last_suspicion >= timings.heartbeat:
                    last_suspicion = now
                    self._suspect()
                is_stale = last_probe < self._stalls.last_ended  # the answer may have found a full socket
                if is_stale or now >= last_probe + self._probe_gap(is_used, path, now):
                    last_probe = now
                    self._ask(path.way)
                if not is_used:
                    due = last_probe + self._probe_gap(is_used, path, now)
                    await self._doze_until(due if is_silent else min(due, self._paths.silent_from(path) + _LEAST))
                elif is_silent or self._paths.is_doubted:
                    await trio.sleep(_TICK)
                else:
                    due = min(last_probe + timings.heartbeat, self._paths.silent_from(path))
                    await trio.sleep_until(max(due, now + _LEAST))
        finally:
            self._paths.is_doubted = False  # the move that follows makes the route anew; until then the relay stays

    async def keep_relay(self) -> None:
        """Measure the relay now and then, for ever; while it carries what we send, its silence is suspect at once.

        Only this finds out that the link to the server died without a word.
        """
        timings = self._timings
        last_probe = last_suspicion = NEVER
        while True:
            now = trio.current_time()
            relay = self._paths.relay
            is_used = self._is_used(now) and self._peer.relay_carries
            is_silent = self._paths.is_silent(relay, now)
            if is_used and is_silent and now - last_suspicion >= timings.heartbeat:
                last_suspicion = now
                self._suspect()
            is_needed = RELAY in self._peer.flow.route  # else a circuit carries what we send
            is_quiet = now >= max(relay.heard, last_probe) + timings.path_suspect
            if now >= last_probe + timings.relay_heartbeat or (is_used and is_quiet and is_needed):
                last_probe = now
                self._ask(RELAY)
            if not is_used:
                await self._doze_until(last_probe + timings.relay_heartbeat)
            elif is_silent:
                await trio.sleep(_TICK)
            else:
                quiet_from = max(relay.heard, last_probe, NEVER if is_needed else now) + timings.path_suspect
                await trio.sleep_until(max(min(quiet_from, self._paths.silent_from(relay)), now + _LEAST))

    def _is_used(self, now: float) -> bool:
        return now - self._used < self._timings.path_in_use

    def _is_owed(self) -> bool:
        """Whether nothing was answered on the path since it was used last."""
        path = self._paths.chosen
        return path is not None and path.answered < self._used

    def _probe_gap(self, is_used: bool, path: Path, now: float) -> float:
        timings = self._timings
        is_silent = self._paths.is_silent(path, now)
        if is_used:
            return timings.path_suspect_probe if is_silent else timings.heartbeat
        if is_silent and now - path.asked < timings.path_trust:
            return timings.heartbeat  # one keepalive may be lost: it is not left in doubt until the next
        return self._keepalive()

    def _keepalive(self) -> float:
        """It follows how long our own NAT keeps an idle mapping; the peer does the same for its own."""
        card = self._peer.own_card
        return keepalive_for(None if card is None else card.body.nat.lifetime, self._timings)

    def _suspect(self) -> None:
        """The path is silent: is it the peer, or are we in another network? All ways are probed, too."""
        self._watch.suspect_network()
        for way in (RELAY, *self._planner.plan().ways):
            self._ask(way)

    def _ask(self, way: Way) -> None:
        self._peer.check_send("probe")
        self._probes.ask(way)

    def _doubt(self, is_doubted: bool) -> None:
        if is_doubted != self._paths.is_doubted:
            self._paths.is_doubted = is_doubted
            self._routing.update()

    async def _doze_until(self, deadline: float) -> None:
        self._is_asleep = True
        with trio.move_on_at(deadline):
            await self._woken.wait()
        self._is_asleep = False
