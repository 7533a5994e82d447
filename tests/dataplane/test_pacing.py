"""The kernel is given as much as its link sends in some milliseconds; the rest waits where it can be shortened."""

from __future__ import annotations

import pytest
from tests.dataplane.flows import open_flow

from tunnel.dataplane.flow import Flow
from tunnel.dataplane.pacing import Pacing
from tunnel.dataplane.send_backlog import BACKLOG, LEAST, LOOK_AGAIN, STUCK, UNKNOWN, SendBacklog

BULK = b"\x45\x00" + bytes(7) + b"\x06" + bytes(2) + b"\x0a\x56\x00\x01\x0a\x56\x00\x02" + bytes(30000)
PING = b"\x45\x00" + bytes(7) + b"\x01" + bytes(2) + b"\x0a\x56\x00\x01\x0a\x56\x00\x02" + bytes(64)


class Link:
    """A kernel that sends `rate` bytes a second."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.now = 0.0
        self.held = 0.0
        self.sent: list[tuple[float, bytes]] = []

    def send(self, frame: bytes) -> None:
        self.held += len(frame)
        self.sent.append((self.now, frame))

    def unsent_bytes(self) -> int:
        return int(self.held)

    def advance(self, seconds: float) -> None:
        self.now += seconds
        self.held = max(0.0, self.held - seconds * self.rate)


def turn(pacing: Pacing, link: Link, flow: Flow, *frames: bytes) -> None:
    """As the plane's turns are."""
    pacing.begin(link.now)
    for frame in frames:
        if pacing.passes(len(frame)):
            link.send(frame)
        else:
            pacing.hold(flow, [frame], link.now)
    if link.now >= pacing.due:
        for _, row in pacing.drain(link.now):
            for held in row:
                link.send(bytes(held))


@pytest.fixture
def flow() -> Flow:
    return open_flow()[0]


def test_while_the_kernel_holds_nothing_all_leaves_at_once(flow: Flow) -> None:
    """Nothing is copied on a link that is faster than this machine."""
    link = Link(1e12)
    pacing = Pacing(link.unsent_bytes)
    for _ in range(100):
        turn(pacing, link, flow, *[BULK] * 9)
        link.advance(0.001)
    assert len(link.sent) == 900


@pytest.mark.parametrize("rate", [12.5e6, 125e6])
def test_on_a_slower_link_the_kernel_holds_some_milliseconds(flow: Flow, rate: float) -> None:
    """Beyond that nobody could pass, and nothing be dropped in time. The link is never idle."""
    link = Link(rate)
    pacing = Pacing(link.unsent_bytes)
    held = []
    for number in range(2000):
        turn(pacing, link, flow, *[BULK] * (number % 2 * int(rate / 12.5e6)))
        link.advance(LOOK_AGAIN)
        if number > 500:
            held.append(link.held)
    assert max(held) <= rate * 2 * BACKLOG + len(BULK)
    assert min(held) > 0
    assert pacing.dropped > 0


def test_a_ping_waits_for_no_more_than_the_kernel_holds(flow: Flow) -> None:
    """What waits here lets it pass."""
    link = Link(12.5e6)
    pacing = Pacing(link.unsent_bytes)
    sent_at = 0.0
    for number in range(1000):
        turn(pacing, link, flow, BULK)
        if number == 900:
            sent_at = link.now
            turn(pacing, link, flow, PING)
        link.advance(LOOK_AGAIN)
    (left_at,) = [at for at, frame in link.sent if frame == PING]
    assert left_at - sent_at <= BACKLOG


def test_a_link_that_becomes_faster_is_used(flow: Flow) -> None:
    """A radio link does, and a cable that is plugged in."""
    link = Link(1e6)
    pacing = Pacing(link.unsent_bytes)
    for number in range(4000):
        if number == 1000:
            link.rate = 125e6
        if number == 3000:
            before = len(link.sent)
        turn(pacing, link, flow, *[BULK] * 6)
        link.advance(LOOK_AGAIN)
    assert (len(link.sent) - before) * len(BULK) >= 0.9 * 125e6


def test_what_is_stuck_keeps_nothing_else(flow: Flow) -> None:
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


def test_without_its_interface_nothing_waits(flow: Flow) -> None:
    """Old packets on a new interface would be a surprise."""
    link = Link(1.0)
    pacing = Pacing(link.unsent_bytes)
    turn(pacing, link, flow, *[BULK] * 100)
    assert pacing.due == LOOK_AGAIN
    pacing.clear()
    link.advance(1)
    sent = len(link.sent)
    turn(pacing, link, flow)
    assert len(link.sent) == sent
