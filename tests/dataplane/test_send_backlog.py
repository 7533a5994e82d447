"""How much room there is: what is stuck, or somebody else's, does not count for ever, and no slow link is stuck."""

from __future__ import annotations

import pytest

from tunnel.dataplane.send_backlog import BACKLOG, FORGET, LEAST, LOOK_AGAIN, STUCK, UNKNOWN, SendBacklog

SUPERPACKET = 60_000


class Link:
    """A kernel that sends `rate` bytes a second, and keeps `stuck` bytes for ever."""

    def __init__(self, rate: float, stuck: int = 0) -> None:
        self.rate, self.stuck = rate, stuck
        self.backlog = SendBacklog(self.unsent_bytes)
        self.now = self.held = self.sent = 0.0

    def unsent_bytes(self) -> int:
        return int(self.held) + self.stuck

    def fill(self, seconds: float, size: int = 1500) -> float:
        """Frames of so many bytes always wait; the bytes a second that left."""
        end, before = self.now + seconds, self.sent
        while self.now < end:
            room = self.backlog.room(self.now)
            while room > 0:
                while room > 0:
                    self.held += size
                    room -= size
                room = self.backlog.left()
            self.backlog.note_sent(self.now)
            self.now += LOOK_AGAIN
            left = min(self.held, self.rate * LOOK_AGAIN)
            self.held -= left
            self.sent += left
        return (self.sent - before) / seconds


def test_what_is_stuck_keeps_nothing_else() -> None:
    """The kernel keeps some packets for a neighbor that does not answer, and they are not our link's."""
    held = 200_000
    backlog = SendBacklog(lambda: held)
    backlog._limit = LEAST
    for number in range(int(STUCK / LOOK_AGAIN) + 3):
        now = number * LOOK_AGAIN
        room = backlog.room(now)
        backlog.note_sent(now)
    assert room == LEAST
    held = 0
    assert backlog.room(now + 1) <= UNKNOWN


@pytest.mark.parametrize("size", [1500, SUPERPACKET])
@pytest.mark.parametrize(("rate", "stuck"), [(1.25e6, 20_000), (12.5e6, 70_000), (12.5e6, 200_000), (125e6, 200_000)])
def test_the_link_is_used_beside_what_is_stuck(rate: float, stuck: int, size: int) -> None:
    """With each packet that left all was counted as the link's again: 1.2 Mbit/s were left of any link."""
    link = Link(rate, stuck)
    link.fill(2.0, size)
    assert link.fill(20.0, size) > 0.9 * rate


def test_when_what_was_stuck_leaves_queues_are_short_again_soon() -> None:
    """The neighbor has answered."""
    link = Link(12.5e6, 200_000)
    link.fill(1.0)
    link.held, link.stuck = link.held + link.stuck, 0
    link.fill(FORGET + 1.0)
    assert link.held <= 2 * BACKLOG * link.rate


def test_a_link_that_only_stood_still_has_short_queues_again_soon() -> None:
    """A radio link that is away for a while: what it held then is no lasting addition to what it may hold."""
    link = Link(12.5e6)
    link.fill(1.0)
    link.rate = 0.0
    link.fill(2.0, SUPERPACKET)
    assert link.held > 500_000
    link.rate = 12.5e6
    link.fill(FORGET + 1.0)
    assert link.held <= 2 * BACKLOG * link.rate


@pytest.mark.parametrize("rate", [1.25e5, 1.25e6])
def test_a_slow_link_that_sends_all_the_time_is_not_stuck(rate: float) -> None:
    """Also where it needs longer than STUCK for what it was given first."""
    link = Link(rate)
    link.fill(6.0)
    assert link.backlog._stuck == 0
    assert link.held <= 2 * LEAST
