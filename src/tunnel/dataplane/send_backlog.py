"""How much may be handed to the kernel now, so that it holds about BACKLOG seconds of its link's traffic.

The kernel sends at the speed of the slowest queue on this machine: a network card, a shaper. How fast that is shows
between two looks at what waits (SIOCOUTQ, netdevice(7)). Pure: time is passed in.
"""

from __future__ import annotations

import math
from collections.abc import Callable

BACKLOG = 0.005
"""Seconds of traffic that the kernel may hold."""
LEAST = 16 * 1024
"""Bytes that it may hold on the slowest link."""
UNKNOWN = 512 * 1024
"""Bytes that it may hold before anything ever waited: what one read burst brings."""
WINDOW = 0.005
"""Seconds over which the speed is measured: superpackets leave as one."""
LOOK_AGAIN = 0.001
"""Seconds until the next look."""
STUCK = 0.1
"""Seconds without room and progress after which bytes count as stuck: a neighbor that answers no ARP, a card without a
link, or what somebody else sends as fast as the link is. Others do not wait for them.
"""
FORGET = 2.0
"""Seconds until that is found out anew: a slow link may have been mistaken for stuck, and would keep so much."""


class SendBacklog:
    """One for each node. Ask for the `room`, send, and `note_sent` if nothing more is sent before the next look."""

    def __init__(self, unsent: Callable[[], int]) -> None:
        """`unsent`: bytes that the kernel holds now."""
        self._unsent = unsent
        self._limit = UNKNOWN
        self._stuck, self._confirmed = 0, 0.0
        self._noted: tuple[int, float] | None = None
        self._least, self._moved = math.inf, 0.0
        """What was held at least since there was room, and when that last became less."""
        self._drained, self._busy = 0, 0.0

    def room(self, now: float) -> int:
        """Bytes that may be handed over now; negative: even more was handed over."""
        held = self._unsent()
        if self._noted is not None:
            self._measure(*self._noted, held, now)
            self._noted = None
        else:
            self._least = math.inf
            self._drained, self._busy = 0, 0.0
        self._watch(held, now)
        return self._limit + self._stuck - held

    def left(self) -> int:
        """The same while a turn goes on: what the kernel has sent in the meantime makes room again."""
        return self._limit + self._stuck - self._unsent()

    def note_sent(self, now: float) -> None:
        """All that is handed over before the next look was handed over just now."""
        self._noted = self._unsent(), now

    def _measure(self, before: int, since: float, held: int, now: float) -> None:
        self._drained += max(0, before - held)
        self._busy += now - since
        is_empty = held <= self._stuck
        if self._busy >= WINDOW or (is_empty and self._busy > 0.0):
            fits = int(self._drained / self._busy * BACKLOG)
            if not is_empty or fits > self._limit:  # what is gone at this look may have been gone long before it
                self._limit = max(LEAST, fits)
            self._drained, self._busy = 0, 0.0

    def _watch(self, held: int, now: float) -> None:
        """Progress is only less than ever since there was room: others may fill up what the link has sent."""
        self._stuck = min(self._stuck, held) if now - self._confirmed < FORGET else 0
        if held < self._least or not held:
            self._least, self._moved = held, now
        elif now - self._moved >= STUCK:
            self._stuck, self._confirmed = held, now
            self._drained, self._busy = 0, 0.0
        if held < self._limit + self._stuck:
            self._least = math.inf
