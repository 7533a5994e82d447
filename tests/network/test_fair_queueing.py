"""A connection that has used much waits in the queue; one that has used little does not."""

from __future__ import annotations

import trio
from trio.testing import MockClock

from tunnel.network.fair_queueing import (
    DEBT,
    GROUP_BURST,
    LIGHT_BURST,
    LIGHT_RATE,
    LIGHTS_BURST,
    LIGHTS_MEMORY,
    MEMORY,
    FairQueue,
    Share,
    SourceGroup,
)


async def use_for_ever(share: Share, done: list[int], who: int) -> None:
    while True:
        await share.wait_turn()
        done.append(who)
        share.charge(8)


async def test_a_share_is_heavy_beyond_its_burst_and_light_again_when_it_rests(autojump_clock: MockClock) -> None:
    share = Share(FairQueue())
    share.charge(LIGHT_BURST)
    assert not share.is_heavy
    share.charge(1)
    assert share.is_heavy
    await trio.sleep(2 / LIGHT_RATE)
    assert not share.is_heavy


async def test_a_long_flood_is_forgotten_in_seconds(autojump_clock: MockClock) -> None:
    """Who was busy for an hour is not heavy for another one."""
    share = Share(FairQueue())
    for _ in range(100):
        share.charge(1e6)
    await trio.sleep(MEMORY)
    assert not share.is_heavy


async def test_a_group_of_heavy_ones_costs_a_light_one_a_few_pieces_a_round(autojump_clock: MockClock) -> None:
    """Sixty floods would else put sixty pieces of work between any two steps of an honest connection."""
    queue, done = FairQueue(), list[int]()
    shares = [Share(queue) for _ in range(60)]
    for share in shares:
        share.charge(1e6)
    await trio.sleep(LIGHTS_MEMORY)
    async with trio.open_nursery() as nursery:
        for who, share in enumerate(shares):
            nursery.start_soon(use_for_ever, share, done, who)
        light = Share(queue)
        for _ in range(50):
            before = len(done)
            await light.wait_turn()
            await trio.lowlevel.checkpoint()
            assert len(done) - before <= 2
        nursery.cancel_scope.cancel()


async def test_a_burst_of_many_light_ones_is_soon_in_line(autojump_clock: MockClock) -> None:
    """Hundreds that rest for two seconds and then all send at once would else put all of it before one message."""
    queue, at_once = FairQueue(), 0
    shares = [Share(queue) for _ in range(100)]
    for share in shares:
        if not share.is_heavy:
            at_once += 8
            share.charge(8)
    assert at_once <= LIGHTS_BURST + 8
    assert shares[-1].is_heavy
    await trio.sleep(MEMORY)
    assert not shares[-1].is_heavy


async def test_the_connections_of_one_source_are_light_together(autojump_clock: MockClock) -> None:
    """And leave the others as light as they were, once they have used up what one source has."""
    queue = FairQueue()
    group = [Share(queue, queue.group_of("192.0.2.1")) for _ in range(100)]
    other = Share(queue, queue.group_of("192.0.2.2"))
    for share in group[:8]:
        share.charge(GROUP_BURST / 8)
    group[0].charge(1)
    assert group[-1].is_heavy
    await trio.sleep(0.1)
    for share in group:
        share.charge(8)
    assert not other.is_heavy


async def test_a_group_has_no_more_turns_than_one(autojump_clock: MockClock) -> None:
    """Also when all of it began to wait before any of it had used anything."""
    queue, done = FairQueue(), list[int]()
    async with trio.open_nursery() as nursery:
        for who in range(60):
            share = Share(queue, queue.group_of("192.0.2.1"))
            nursery.start_soon(stand_for_ever, share, done, who)
        for who in (60, 61):
            nursery.start_soon(stand_for_ever, Share(queue), done, who)
        await wait_done(done, 900)
        nursery.cancel_scope.cancel()
    of_group = sum(who < 60 for who in done)
    assert 280 <= of_group <= 320
    assert max(done.count(who) for who in range(60)) - min(done.count(who) for who in range(60)) <= 1


async def stand_for_ever(share: Share, done: list[int], who: int) -> None:
    while True:
        await share.wait_queued()
        done.append(who)
        share.charge(8)


async def test_heavy_ones_take_turns(autojump_clock: MockClock) -> None:
    """No one of them waits longer than for each of the others once."""
    queue, done = FairQueue(), list[int]()
    async with trio.open_nursery() as nursery:
        for who in range(5):
            share = Share(queue)
            share.charge(1e6)
            nursery.start_soon(use_for_ever, share, done, who)
        while len(done) < 50:
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    assert [done.count(who) for who in range(5)] == [10] * 5


async def test_who_has_used_little_goes_before_who_has_used_much(autojump_clock: MockClock) -> None:
    """Else a connection that is merely busy would wait for sixty floods before each of its messages."""
    queue, done = FairQueue(), list[int]()
    async with trio.open_nursery() as nursery:
        for who in range(60):
            share = Share(queue)
            share.charge(1e6)
            nursery.start_soon(use_for_ever, share, done, who)
        await wait_done(done, 200)
        busy = Share(queue)
        busy.charge(LIGHT_BURST)
        await wait_done(done, 600)
        for _ in range(5):
            busy.charge(1)
            assert busy.is_heavy
            before = len(done)
            await busy.wait_turn()
            assert len(done) - before <= 3
            await wait_done(done, before + 20)
        nursery.cancel_scope.cancel()


async def test_what_was_used_while_nobody_waited_costs_nothing_later(autojump_clock: MockClock) -> None:
    """A pair that has talked for hours would else stand behind a flood that has just begun, for as long as it takes."""
    queue, done = FairQueue(), list[int]()
    old = Share(queue)
    for _ in range(10_000):
        await old.wait_queued()
        old.charge(5)
    async with trio.open_nursery() as nursery:
        for who in range(60):
            nursery.start_soon(use_for_ever, Share(queue), done, who)
        await wait_done(done, 1000)
        before = len(done)
        await old.wait_queued()
        assert len(done) - before <= 3
        nursery.cancel_scope.cancel()


async def test_what_one_was_sent_by_others_starves_it_not(autojump_clock: MockClock) -> None:
    queue, done = FairQueue(), list[int]()
    async with trio.open_nursery() as nursery:
        for who in range(60):
            nursery.start_soon(use_for_ever, Share(queue), done, who)
        await wait_done(done, 1000)
        receiver = Share(queue)
        receiver.charge(1e6)
        before = len(done)
        await receiver.wait_queued()
        assert len(done) - before <= 60 * (DEBT / 8 + 2)
        nursery.cancel_scope.cancel()


async def wait_done(done: list[int], count: int) -> None:
    while len(done) < count:
        await trio.lowlevel.checkpoint()


async def test_those_who_are_cancelled_in_line_hold_nobody_up(autojump_clock: MockClock) -> None:
    """Also one that is given the turn in the moment in which it is cancelled."""
    queue = FairQueue()
    async with trio.open_nursery() as nursery:
        for place in range(5):
            nursery.start_soon(queue.take, SourceGroup(), float(place))
        for _ in range(4):
            await trio.lowlevel.checkpoint()
            nursery.start_soon(queue.take, SourceGroup(), 9.0)
        nursery.cancel_scope.cancel()
    with trio.fail_after(1):
        await queue.take(SourceGroup(), 0.0)
