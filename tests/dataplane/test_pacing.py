"""The kernel is given as much as its link sends in some milliseconds; the rest waits where it can be shortened."""

from __future__ import annotations

import pytest
from tests.dataplane.flows import DIRECT, open_flow

from tunnel.dataplane import flow_queue
from tunnel.dataplane.flow import Flow
from tunnel.dataplane.pacing import Pacing
from tunnel.dataplane.send_backlog import BACKLOG, LEAST, LOOK_AGAIN, UNKNOWN
from tunnel.model.way import RELAY

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
        if pacing.passes(flow, [frame]):
            link.send(frame)
        else:
            pacing.hold(flow, [frame], link.now)
    if link.now >= pacing.due:
        for _, row in pacing.drain(link.now):
            for held in row:
                link.send(bytes(held))


@pytest.fixture
def flow() -> Flow:
    flow, _ = open_flow()
    flow.route = (DIRECT,)
    return flow


@pytest.fixture(autouse=True)
def no_shared_queues(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow_queue, "QUEUES", 2**60)


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


def test_without_its_interface_nothing_waits(flow: Flow) -> None:
    """Old packets on a new interface would be a surprise."""
    link = Link(1.0)
    pacing = Pacing(link.unsent_bytes)
    turn(pacing, link, flow, *[BULK] * 100)
    assert pacing.due == LOOK_AGAIN
    pacing.clear()
    assert pacing.dropped + len(link.sent) == 100
    link.advance(1)
    sent = len(link.sent)
    turn(pacing, link, flow)
    assert len(link.sent) == sent


@pytest.mark.parametrize(("count", "passes"), [(1, True), (2, False)])
def test_a_superpacket_needs_some_room_and_a_burst_room_for_all(flow: Flow, count: int, passes: bool) -> None:
    """Where one byte of room was left, a burst of 358 KB passed. A superpacket cannot wait for so much room."""
    pacing = Pacing(lambda: UNKNOWN - 1)
    pacing.begin(0.0)
    assert pacing.passes(flow, [BULK] * count) is passes


def test_of_a_burst_leaves_in_the_same_turn_what_there_is_room_for(flow: Flow) -> None:
    link = Link(1e6)
    link.held = float(UNKNOWN - LEAST)
    pacing = Pacing(link.unsent_bytes)
    burst = [PING] * 1000
    pacing.begin(0.0)
    assert not pacing.passes(flow, burst)
    pacing.hold(flow, burst, 0.0)
    assert pacing.due == 0.0
    for _, row in pacing.drain(0.0):
        for held in row:
            link.send(bytes(held))
    assert 0 <= link.held - UNKNOWN < len(PING)
    assert pacing.due == LOOK_AGAIN


def test_what_the_link_to_the_server_carries_does_not_wait_for_the_sockets(flow: Flow) -> None:
    """It has a queue of its own."""
    pacing = Pacing(lambda: 2 * UNKNOWN)
    pacing.begin(0.0)
    assert not pacing.passes(flow, [PING])
    flow.route = (RELAY, DIRECT)
    assert not pacing.passes(flow, [PING])
    flow.route = (RELAY,)
    assert pacing.passes(flow, [PING] * 1000)


@pytest.mark.parametrize("rate", [1.25e6, 12.5e6])
def test_what_is_not_paced_does_not_starve_what_is(flow: Flow, rate: float) -> None:
    """Echo replies and control messages as fast as the link is: a look always found less than the one before."""
    link = Link(rate)
    pacing = Pacing(link.unsent_bytes)
    for _ in range(5000):
        turn(pacing, link, flow, *[BULK[:1400]] * 9)
        link.advance(LOOK_AGAIN / 2)
        link.held = max(link.held, 1_000_000.0)
        link.advance(LOOK_AGAIN / 2)
    assert sum([len(frame) for at, frame in link.sent if at > 1.0]) >= 0.04 * rate * 4
