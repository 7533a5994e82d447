"""One way to a peer and what is known of it. Pure: time comes in as a number."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tunnel.model.endpoint import Scope, scope_of
from tunnel.model.timings import Timings
from tunnel.model.way import Way

NEVER = float("-inf")
_WIDE_AREA_COST = 0.020
_IPV6_COST = 0.015


@dataclass(slots=True, eq=False)
class Path:
    """One way to the peer. Times are Trio's, round trips in seconds."""

    way: Way
    rtt: float | None = None
    heard: float = NEVER
    """When an authenticated packet last came in on it."""
    answered: float = NEVER
    """When a probe of ours was last answered on it."""
    is_proved: bool = False
    """A full-size probe of ours was answered at full size since the keys were made."""
    asked: float = NEVER
    """When the oldest unanswered heartbeat went out; NEVER when none is open."""
    probed_back: float = NEVER
    hushes: int = 0
    """How often in this round applications waited in vain for its proof. Bounded."""
    is_nested: bool = False
    """It leaves by an interface that wraps what it sends (another VPN): it is no LAN, even with a private address."""
    may_ride: bool = False
    """This machine's addresses or routes changed since it was proved: it may lead through the tunnel itself now."""
    probe_backs: int = 0
    """How often in this round a probe of the peer's made us probe back. Bounded, or two sides could go on for ever."""

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
        """When it becomes silent if no answer comes; infinity while no probe waits for one."""
        return math.inf if self.asked == NEVER else self.asked + max(timings.path_suspect, 4 * (self.rtt or 0.0))

    @property
    def cost(self) -> float:
        """What the choice goes by: the round trip, and a handicap for ways that leave the LAN, wrapped ones too."""
        assert self.way.remote is not None
        rtt = 1.0 if self.rtt is None else self.rtt
        if self.is_nested or scope_of(self.way.remote.host) in (Scope.GLOBAL, Scope.CARRIER):
            return rtt + (_IPV6_COST if self.way.remote.is_ipv6 else _WIDE_AREA_COST)
        return rtt
