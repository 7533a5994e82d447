"""The ways to one peer, what is proved of each, and the one that carries data. Pure: time comes in as a number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from tunnel.machines.stalls import Stalls
from tunnel.model.endpoint import Scope, scope_of
from tunnel.model.rates import TokenBucket
from tunnel.model.timings import Timings
from tunnel.model.way import Way
from tunnel.peer.path import NEVER, Path
from tunnel.peer.ports import Overlays
from tunnel.peer.relays import Relays

MAX_DIRECT = 32
HUSH_SHARE, HUSH_BURST = 0.02, 3.0
"""Share of the time, and seconds at once, for which applications may be kept waiting for one peer."""
_HYSTERESIS_SHARE = 0.2
_HYSTERESIS_LEAST = 0.010


@dataclass(slots=True)
class PathTable:
    """All ways to one peer."""

    timings: Timings
    stalls: Stalls
    overlays: Overlays | None = None
    """None: there are none."""
    relays: Relays = field(init=False)
    direct: dict[Way, Path] = field(default_factory=dict)
    chosen: Path | None = None
    """The direct path in use."""
    is_doubted: bool = False
    """The chosen path is silent, or the peer has fallen back to the relay: data goes both ways."""
    awaited: set[Way] = field(default_factory=set)
    """Ways of a port prediction that we sent to, each within its budget: a packet from there is expected."""
    hushes: TokenBucket = field(default_factory=lambda: TokenBucket(HUSH_SHARE, HUSH_BURST, 0.0))
    """Seconds in which applications may be kept waiting; neither a new epoch of the peer's nor new ways add any."""
    answered_small: bool = False
    """Some way answered small probes in this round, whatever became of the full-size ones.

    A way through another VPN does not count: its small MTU says nothing about the others.
    """

    def __post_init__(self) -> None:
        self.relays = Relays(self.timings, self.stalls)

    @property
    def relay(self) -> Path:
        """The WebSocket link to the server."""
        return self.relays.websocket

    def at(self, way: Way) -> Path | None:
        """The path of this way, if it is known."""
        return self.relays.at(way) if way.is_relay else self.direct.get(way)

    def expect(self, way: Way) -> Path:
        """The path of a way that we mean to probe: made if it is new."""
        known = self.at(way)
        if known is not None:
            return known
        if way.is_relay:
            return Path(way)  # a circuit that was in use a moment ago: its path is not kept
        if len(self.direct) >= MAX_DIRECT:
            oldest = min(
                (path for path in self.direct.values() if path is not self.chosen),
                key=lambda path: (path.is_proved, path.heard),
            )
            del self.direct[oldest.way]
        path = self.direct[way] = Path(way, is_nested=self._is_nested(way))
        return path

    def admit(self, way: Way, now: float) -> Path | None:
        """The path of an authenticated packet from `way`; None when too many unverified ones are open already.

        One that was not heard for long is no longer open, so it does not take up room for ever.
        """
        known = self.at(way)
        if known is not None or way.is_relay:
            return known
        if way in self.awaited:
            return self.expect(way)
        since = now - self.timings.path_burial
        unverified = sum(1 for path in self.direct.values() if path.answered == NEVER and path.heard > since)
        return None if unverified >= self.timings.unverified_addresses else self.expect(way)

    def promote(self, now: float) -> bool:
        """Choose the best proved path, with hysteresis; a silent one yields at once. True when the choice changed."""
        proved = [path for path in self.direct.values() if path.is_proved and not self.is_silent(path, now)]
        if not proved:
            return False
        best = min(proved, key=lambda path: path.cost)
        current = self.chosen
        if current is not None and current in proved:
            margin = max(_HYSTERESIS_LEAST, _HYSTERESIS_SHARE * current.cost)
            if best is current or best.cost > current.cost - margin:
                return False
        if best is current:
            return False
        self.chosen = best
        return True

    def path_in_use(self, route: Sequence[Way], now: float) -> Path:
        """The path on the route that gets data through: one that merely gets copies, on suspicion, does not."""
        chosen, relay = self.chosen, self.relays.path_in_use(route, now)
        if chosen is None or chosen.way not in route:
            return relay or self.relay
        is_doubted = not chosen.is_proved or self.is_silent(chosen, now)
        return relay if is_doubted and relay is not None else chosen

    def is_silent(self, path: Path, now: float) -> bool:
        """Whether a probe on this path has waited for its answer for too long."""
        return path.is_silent(now, self.timings, self.stalls)

    def silent_from(self, path: Path) -> float:
        """When it becomes silent if no answer comes."""
        return path.silent_from(self.timings, self.stalls)

    def begin_round(self, now: float) -> None:
        """A punch begins: old proofs are void until an answer comes again; the old choice goes on carrying.

        A choice that may lead through the tunnel itself is given up: what it carries goes in circles.
        """
        self.answered_small = False
        if self.chosen is not None and self.chosen.may_ride:
            self.abandon()
        for path in self.direct.values():
            path.is_proved = False
            path.forget_size(now)
            path.asked = NEVER
            path.probe_backs = path.hushes = 0

    def doubt_proofs(self, now: float) -> None:
        """The addresses or routes of this machine changed: a way may lead elsewhere now, even through the tunnel."""
        for path in self.direct.values():
            path.may_ride, path.hushes = path.is_proved, 0
            path.is_nested = self._is_nested(path.way)
            path.forget_size(now)
        if self.relays.circuit is not None:
            self.relays.circuit.forget_size(now)

    def abandon(self) -> None:
        """The chosen path gets no more data."""
        self.chosen = None

    def forget_socket(self, number: int) -> None:
        """This socket is closed, and so are its ways."""
        for way in [way for way in self.direct if way.socket == number]:
            del self.direct[way]

    def _is_nested(self, way: Way) -> bool:
        """Asked only where it matters: an address of the wide area is not on a LAN anyway."""
        remote, overlays = way.remote, self.overlays
        if remote is None or overlays is None or scope_of(remote.host) is not Scope.PRIVATE:
            return False
        return overlays.is_nested(remote.host)

    def forget_all(self) -> None:
        """The peer or its keys are new: nothing is known of any way."""
        self.direct.clear()
        self.relays.forget()
        self.chosen = None
