"""Passes on what one member announces: only the newest, and less often the more peers there are.

The first few go at once. Each later one waits until the messages of those before it are paid for, at a fixed rate.
"""

from __future__ import annotations

import math

import trio

from tunnel.network.fair_queueing import Share
from tunnel.server.presence import Member, Presence

MESSAGES_RATE = 50.0
"""Peers a second that one member's announcements are passed on to: one change a second in a network of fifty."""
AT_ONCE = 3
"""Announcements that are passed on without waiting; a node that starts makes about as many."""
NOTES_A_PIECE = 64
"""Notes that cost as much as one message that is read."""


class AnnouncementPacer:
    """Run `run` in a task of the member's connection; call `note` when the member has announced something."""

    def __init__(self, presence: Presence, member: Member, share: Share) -> None:
        self._presence = presence
        self._member = member
        self._share = share
        self._fresh = trio.Event()

    def note(self) -> None:
        """There is an announcement that the others have not been told."""
        self._fresh.set()

    async def run(self) -> None:
        """Pass on, until cancelled."""
        paid_until = -math.inf
        while True:
            await self._fresh.wait()
            await self._share.wait_queued()
            self._fresh = trio.Event()
            told = self._presence.pass_on(self._member)
            self._share.charge(told / NOTES_A_PIECE)
            cost = told / MESSAGES_RATE
            paid_until = max(paid_until, trio.current_time()) + cost
            await trio.sleep_until(paid_until - (AT_ONCE - 1) * cost)
