"""The ways to one peer, what is proved of each, and the one that carries data. Pure: time comes in as a number."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from tunnel.model.endpoint import Scope, scope_of
from tunnel.model.timings import Timings
from tunnel.peer.surroundings import RELAY, Way

NEVER = float("-inf")
MAX_DIRECT = 32
_WIDE_AREA_COST = 0.020
_IPV6_COST = 0.015
_HYSTERESIS_SHARE = 0.2
_HYSTERESIS_LEAST = 0.010


@dataclass(slots=True, eq=False)
class Path:
    """One way to the peer. Times are Trio's, round trips in seconds."""

    way: Way
    rtt: float | None = None
    heard: float = NEVER
    """When an authenticated packet last came in on it."""
    answered: float = NEVER
    """When a probe of ours was last answered on it."""
    is_proven: bool = False
    """A full-size probe of ours was answered at full size since the keys were made."""
    asked: float = NEVER
    """When the oldest unanswered heartbeat went out; NEVER when none is open."""
    probed_back: float = NEVER
    probe_backs: int = 0
    """How often a probe of the peer's made us probe back in this round: bounded, or two sides could go on for ever."""

    def note_answer(self, now: float, rtt: float) -> None:
        """A probe was answered: keep a smoothed round trip (RFC 6298: an eighth of the new)."""
        self.rtt = rtt if self.rtt is None else self.rtt + (rtt - self.rtt) / 8
        self.heard = self.answered = now
        self.asked = NEVER

    def is_silent(self, now: float, timings: Timings) -> bool:
        """Whether a probe has waited for its answer for longer than a healthy path takes.

        What we merely hear proves nothing: a path that works inwards only must be found out.
        """
        return now > self.silent_from(timings)

    def silent_from(self, timings: Timings) -> float:
        """From when on it is silent if no answer comes; infinity while no probe waits for one."""
        return math.inf if self.asked == NEVER else self.asked + max(timings.path_suspect, 4 * (self.rtt or 0.0))

    @property
    def cost(self) -> float:
        """What choosing costs: the round trip, and a handicap for ways that leave the house."""
        assert self.way.remote is not None
        rtt = 1.0 if self.rtt is None else self.rtt
        if scope_of(self.way.remote.host) in (Scope.GLOBAL, Scope.CARRIER):
            return rtt + (_IPV6_COST if self.way.remote.is_ipv6 else _WIDE_AREA_COST)
        return rtt


@dataclass(slots=True)
class Paths:
    """All ways to one peer. `route` is what the hot path reads: the ways that each datagram takes."""

    timings: Timings
    relay: Path = field(default_factory=lambda: Path(RELAY))
    direct: dict[Way, Path] = field(default_factory=dict)
    chosen: Path | None = None
    """The direct path in use."""
    route: tuple[Way, ...] = ()
    answered_small: bool = False
    """Some way answered small probes in this round, whatever became of the full-size ones."""

    def at(self, way: Way) -> Path | None:
        """The path of this way, if it is known."""
        return self.relay if way == RELAY else self.direct.get(way)

    def expect(self, way: Way) -> Path:
        """The path of a way that we mean to probe: made if it is new."""
        known = self.at(way)
        if known is not None:
            return known
        if len(self.direct) >= MAX_DIRECT:
            oldest = min(
                (path for path in self.direct.values() if path is not self.chosen),
                key=lambda path: (path.is_proven, path.heard),
            )
            del self.direct[oldest.way]
        path = self.direct[way] = Path(way)
        return path

    def admit(self, way: Way, now: float) -> Path | None:
        """The path of an authenticated packet from `way`; None when too many unverified ones are open already.

        One that was not heard for long is no longer open: it takes nobody's place for ever.
        """
        known = self.at(way)
        if known is not None:
            return known
        since = now - self.timings.path_burial
        unverified = sum(1 for path in self.direct.values() if path.answered == NEVER and path.heard > since)
        return None if unverified >= self.timings.unverified_addresses else self.expect(way)

    def promote(self, now: float) -> bool:
        """Choose the best proven path, with hysteresis; a silent one yields at once. True when the choice changed."""
        proven = [path for path in self.direct.values() if path.is_proven and not path.is_silent(now, self.timings)]
        if not proven:
            return False
        best = min(proven, key=lambda path: path.cost)
        current = self.chosen
        if current is not None and current in proven:
            margin = max(_HYSTERESIS_LEAST, _HYSTERESIS_SHARE * current.cost)
            if best is current or best.cost > current.cost - margin:
                return False
        if best is current:
            return False
        self.chosen = best
        return True

    def carrier(self, now: float) -> Path:
        """The path on the route that gets data through: one that merely gets copies, on suspicion, does not."""
        chosen = self.chosen
        if chosen is None or chosen.way not in self.route:
            return self.relay
        is_doubted = not chosen.is_proven or chosen.is_silent(now, self.timings)
        return self.relay if is_doubted and RELAY in self.route else chosen

    def begin_round(self) -> None:
        """A punch begins: old proofs are void, an answer must come again; the old choice goes on carrying."""
        self.answered_small = False
        for path in self.direct.values():
            path.is_proven = False
            path.asked = NEVER
            path.probe_backs = 0

    def bury(self) -> None:
        """The chosen path gets no more data."""
        self.chosen = None

    def forget_all(self) -> None:
        """The peer or its keys are new: nothing is known of any way."""
        self.direct.clear()
        self.relay = Path(RELAY)
        self.chosen = None
        self.route = ()
