"""What lines do to packets."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace

import pytest
import trio
from trio.testing import MockClock

from tunnel.model.endpoint import Endpoint
from tunnel.verify.memory.internet import MemoryInternet, open_memory_internet
from tunnel.verify.memory.packet import Fate, MemoryPacket, Owner, Segment, SegmentKind
from tunnel.verify.reachability.topology import Line
from tunnel.verify.simulation.internet.line import AccessLine

HERE, THERE = Endpoint("25.0.0.1", 1), Endpoint("25.0.0.2", 2)
Arrival = tuple[float, int]
"""When, and which one."""


@dataclass
class Ends:
    """A line between a network above and an owner below, both of which only write down what comes."""

    internet: MemoryInternet
    conditions: Line
    seed: int = 1
    name: str = "below"
    up: list[Arrival] = field(default_factory=list)
    down: list[Arrival] = field(default_factory=list)
    lost: list[tuple[int, Fate]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.internet.watch = lambda packet, fate: self.lost.append((packet.ttl, fate))
        self.line = AccessLine(self, self.conditions, ether=self.internet, chance=random.Random(self.seed))
        self.line.attach("25.0.0.1", self)

    def attach(self, address: str, owner: Owner) -> None:
        assert owner.name == self.name
        self.far_end = owner

    def detach(self, address: str) -> None: ...

    def transmit(self, packet: MemoryPacket) -> None:
        self.up.append((trio.current_time(), packet.ttl))

    def deliver(self, packet: MemoryPacket) -> None:
        self.down.append((trio.current_time(), packet.ttl))

    def send_up(self, number: int, size: int = 100, *, stream: bool = False) -> None:
        segment = Segment(SegmentKind.DATA, number, None) if stream else None
        self.line.transmit(MemoryPacket(HERE, THERE, bytes(size), number, segment))

    def send_down(self, number: int, size: int = 100) -> None:
        self.far_end.deliver(MemoryPacket(THERE, HERE, bytes(size), number))


Lay = Callable[[Line], Ends]


@pytest.fixture
async def internet(autojump_clock: MockClock) -> AsyncIterator[MemoryInternet]:
    async with open_memory_internet() as internet:
        yield internet


@pytest.fixture
def lay(internet: MemoryInternet) -> Lay:
    """A line of these conditions."""
    return lambda conditions: Ends(internet, conditions)


def numbers(arrivals: list[Arrival]) -> list[int]:
    return [number for _, number in arrivals]


async def test_a_plain_line_passes_at_once(lay: Lay) -> None:
    ends = lay(Line())
    ends.send_up(1)
    ends.send_down(2)
    assert (ends.up, ends.down) == ([(0.0, 1)], [(0.0, 2)])


async def test_latency_is_one_way(lay: Lay) -> None:
    ends = lay(Line(latency=0.25))
    ends.send_up(1)
    ends.send_down(2)
    await trio.sleep(1)
    assert (ends.up, ends.down) == ([(0.25, 1)], [(0.25, 2)])


async def test_jitter_is_at_most_so_much_and_lets_datagrams_overtake(lay: Lay) -> None:
    ends = lay(Line(latency=0.1, jitter=0.05))
    for number in range(200):
        ends.send_up(number)
    await trio.sleep(1)
    assert all(0.1 <= at <= 0.15 for at, _ in ends.up)
    assert max(at for at, _ in ends.up) > 0.14
    assert sorted(numbers(ends.up)) == list(range(200)) != numbers(ends.up)


async def test_byte_streams_keep_their_order_in_jitter_and_reordering(lay: Lay) -> None:
    ends = lay(Line(latency=0.1, jitter=0.05, reorder=0.5))
    for number in range(200):
        ends.send_up(number, stream=True)
    await trio.sleep(1)
    assert numbers(ends.up) == list(range(200))


async def test_without_jitter_order_survives_a_line_that_becomes_faster(lay: Lay) -> None:
    ends = lay(Line(latency=0.5))
    ends.send_up(1)
    await trio.sleep(0.1)
    ends.line.conditions = Line()
    ends.send_up(2)
    await trio.sleep(1)
    ends.send_up(3)
    assert ends.up == [(0.5, 1), (0.5, 2), (1.1, 3)]


@pytest.mark.parametrize("direction", ["up", "down"])
async def test_loss_is_of_one_direction_and_its_share(lay: Lay, direction: str) -> None:
    ends = lay(Line(loss_up=0.3) if direction == "up" else Line(loss_down=0.3))
    for number in range(1000):
        ends.send_up(number)
        ends.send_down(number)
    lossy, whole = (ends.up, ends.down) if direction == "up" else (ends.down, ends.up)
    assert 640 < len(lossy) < 760
    assert len(whole) == 1000
    assert {fate for _, fate in ends.lost} == {Fate.DROPPED}
    assert len(ends.lost) == 1000 - len(lossy)


async def test_reordered_datagrams_take_longer(lay: Lay) -> None:
    ends = lay(Line(latency=0.1, reorder=0.2, reorder_delay=0.03))
    for number in range(500):
        ends.send_up(number)
    await trio.sleep(1)
    late = [number for at, number in ends.up if at == pytest.approx(0.13)]
    assert 70 < len(late) < 130
    assert len(late) + sum(at == pytest.approx(0.1) for at, _ in ends.up) == 500


async def test_duplicates_come_twice_but_never_of_a_stream(lay: Lay) -> None:
    ends = lay(Line(duplicate=0.5))
    for number in range(200):
        ends.send_up(number)
        ends.send_up(1000 + number, stream=True)
    await trio.sleep(1)
    came = numbers(ends.up)
    assert 260 < sum(number < 1000 for number in came) < 340
    assert sum(number >= 1000 for number in came) == 200
    assert set(came) == {*range(200), *range(1000, 1200)}


async def test_what_is_too_long_vanishes_without_a_word(lay: Lay) -> None:
    """1,400 bytes with the 28 of IP and UDP are the MTU of 1,428."""
    ends = lay(Line(mtu_up=1428))
    ends.send_up(1, 1400)
    ends.send_up(2, 1401)
    ends.send_down(3, 1401)
    ends.send_up(4, 16384, stream=True)
    await trio.sleep(1)
    assert (numbers(ends.up), numbers(ends.down)) == ([1, 4], [3])
    assert ends.lost == [(2, Fate.OVERSIZE)]


async def test_ipv6_headers_are_twenty_bytes_longer(lay: Lay) -> None:
    ends = lay(Line(mtu_up=1428))
    for number, size in ((1, 1380), (2, 1381)):
        ends.line.transmit(MemoryPacket(Endpoint("2001:db8::1", 1), Endpoint("2001:db8::2", 2), bytes(size), number))
    await trio.sleep(1)
    assert numbers(ends.up) == [1]


async def test_a_rate_spaces_packets_and_sheds_what_would_wait_too_long(lay: Lay) -> None:
    """1,000 bytes at 10,000 a second are 0.1 s each; a packet that would wait more than 0.2 s is lost."""
    ends = lay(Line(rate_up=10_000.0, queue=0.2, latency=1.0))
    for number in range(6):
        ends.send_up(number, 972)
    await trio.sleep(2)
    assert numbers(ends.up) == [0, 1, 2]
    assert [at for at, _ in ends.up] == pytest.approx([1.1, 1.2, 1.3])
    assert ends.lost == [(number, Fate.SHED) for number in (3, 4, 5)]
    ends.send_up(7, 972)
    await trio.sleep(2)
    assert numbers(ends.up) == [0, 1, 2, 7]
    assert ends.up[-1][0] == pytest.approx(3.1)


async def test_a_stream_waits_for_a_slow_line_as_long_as_it_takes(lay: Lay) -> None:
    ends = lay(Line(rate_down=10_000.0, rate_up=10_000.0))
    for number in range(20):
        ends.send_up(number, 972, stream=True)
    await trio.sleep(5)
    assert numbers(ends.up) == list(range(20))
    assert ends.up[-1][0] == pytest.approx(2.0)


async def test_a_cut_is_told_the_direction_and_loses_what_it_refuses(lay: Lay) -> None:
    ends = lay(Line())
    ends.line.refuses = lambda packet, up: up
    ends.send_up(1)
    ends.send_down(2)
    ends.line.refuses = None
    ends.send_up(3)
    assert (numbers(ends.up), numbers(ends.down)) == ([3], [2])
    assert ends.lost == [(1, Fate.DROPPED)]


async def test_conditions_may_change_at_any_moment(lay: Lay) -> None:
    ends = lay(Line())
    ends.line.conditions = replace(ends.line.conditions, loss_down=1.0)
    ends.send_down(1)
    ends.send_up(2)
    ends.line.conditions = Line()
    ends.send_down(3)
    assert (numbers(ends.up), numbers(ends.down)) == ([2], [3])


async def test_a_line_repeats_itself(internet: MemoryInternet) -> None:
    conditions = Line(latency=0.01, jitter=0.01, loss_up=0.1, reorder=0.1, duplicate=0.1)
    runs = [Ends(internet, conditions, seed) for seed in (5, 5, 6)]
    for ends in runs:
        for number in range(100):
            ends.send_up(number)
    await trio.sleep(1)
    assert runs[0].up == runs[1].up != runs[2].up


async def test_datagrams_alone_may_be_lost_in_one_direction(lay: Lay) -> None:
    """As where a firewall or a provider swallows UDP one way: TCP and the other direction are as before."""
    ends = lay(Line(udp_loss_down=1.0))
    for number in range(20):
        ends.send_down(number)
        ends.send_up(number)
        ends.send_up(100 + number, stream=True)
    assert ends.down == []
    assert len(ends.up) == 40
    assert ends.lost == [(number, Fate.DROPPED) for number in range(20)]
    ends.line.conditions = Line(udp_loss_up=0.3)
    ends.up.clear()
    for number in range(1000):
        ends.send_up(number)
        ends.send_up(1000 + number, stream=True)
    came = numbers(ends.up)
    assert 640 < sum(number < 1000 for number in came) < 760
    assert sum(number >= 1000 for number in came) == 1000


async def test_datagrams_over_their_rate_are_lost_and_those_within_it_do_not_wait(lay: Lay) -> None:
    """A policer, not a shaper: 1,000 bytes at 10,000 a second, and a burst of 0.2 s."""
    ends = lay(Line(udp_rate_up=10_000.0, queue=0.2))
    for number in range(6):
        ends.send_up(number, 972)
        ends.send_up(10 + number, 972, stream=True)
    assert ends.up == [(0.0, number) for number in (0, 10, 1, 11, 2, 12, 13, 14, 15)]
    assert ends.lost == [(number, Fate.SHED) for number in (3, 4, 5)]
    ends.send_down(7, 972)
    assert numbers(ends.down) == [7]
    await trio.sleep(0.11)
    ends.send_up(8, 972)
    assert ends.up[-1] == (0.11, 8)


async def test_of_twice_the_rate_of_datagrams_half_comes_through(lay: Lay) -> None:
    """Offered twice the rate for ten seconds, the rate passes and the burst beside it."""
    ends = lay(Line(udp_rate_down=10_000.0, queue=0.2))
    for number in range(200):
        ends.send_down(number, 972)
        await trio.sleep(0.05)
    assert 100 <= len(ends.down) <= 103
