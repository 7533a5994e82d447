"""One way to a peer and what is known of it. Pure: time comes in as a number."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from tunnel.machines.stalls import Stalls
from tunnel.model.endpoint import Scope, scope_of
from tunnel.model.timings import Timings
from tunnel.model.way import Way
from tunnel.wire.frames import BASE_SIZE

NEVER = float("-inf")
_WIDE_AREA_COST = 0.020
_IPV6_COST = 0.015
_BURST = 0.1
"""Answers that come within so many seconds were held up together, as by a peer without a turn: the least counts."""


class _Burst(NamedTuple):
    """When the first of some answers came, the smoothed round trip before it, and the least round trip of them."""

    began: float
    before: float | None
    least: float


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
    """A probe of ours of BASE_SIZE bytes was answered at that size since the keys were made."""
    datagram_size: int = BASE_SIZE
    """The most bytes of UDP payload that were answered at their size: what a datagram may have (RFC 8899: PLPMTU).

    On a circuit its head comes on top."""
    shrunk: float = NEVER
    """When larger datagrams were last found to be lost: answers to earlier probes do not count."""
    search_due: float = NEVER
    """When its MTU is searched next."""
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
    _burst: _Burst = _Burst(NEVER, None, 0.0)

    def forget_size(self, now: float) -> None:
        """Large datagrams are lost, or it may lead elsewhere now: be content with the base size, and search anew."""
        self.datagram_size, self.shrunk, self.search_due = BASE_SIZE, now, NEVER

    def note_size(self, size: int, asked: float) -> bool:
        """A probe of this size, asked at that time, was answered at its size. True when it is the largest so far."""
        if size <= self.datagram_size or asked < self.shrunk:
            return False
        self.datagram_size = size
        return True

    def note_answer(self, now: float, rtt: float | None) -> None:
        """A probe was answered: keep a smoothed round trip (RFC 6298: an eighth of the new). None: no measurement."""
        if rtt is not None:
            if now - self._burst.began > _BURST:
                self._burst = _Burst(now, self.rtt, rtt)
            _, before, least = self._burst = self._burst._replace(least=min(self._burst.least, rtt))
            self.rtt = least if before is None else before + (least - before) / 8
        self.heard = self.answered = now
        self.asked = NEVER

    def is_silent(self, now: float, timings: Timings, stalls: Stalls) -> bool:
        """Whether a probe has waited for its answer for longer than a healthy path takes.

        What we merely hear proves nothing: a path that works inwards only must be found out.
        """
        return now > self.silent_from(timings, stalls)

    def silent_from(self, timings: Timings, stalls: Stalls) -> float:
        """When it becomes silent if no answer comes; infinity while no probe waits for one."""
        if self.asked == NEVER:
            return math.inf
        return stalls.deadline(self.asked, self.patience(timings))

    def patience(self, timings: Timings) -> float:
        """Seconds in which a healthy path has answered."""
        return max(timings.path_suspect, 4 * (self.rtt or 0.0))

    @property
    def cost(self) -> float:
        """What the choice goes by: the round trip, and a handicap for ways that leave the LAN, wrapped ones too."""
        assert self.way.remote is not None
        rtt = 1.0 if self.rtt is None else self.rtt
        if self.is_nested or scope_of(self.way.remote.host) in (Scope.GLOBAL, Scope.CARRIER):
            return rtt + (_IPV6_COST if self.way.remote.is_ipv6 else _WIDE_AREA_COST)
        return rtt
