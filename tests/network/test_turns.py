"""Who has used much waits in line; who has used little does not stand in it."""

from __future__ import annotations

import trio
from trio.testing import MockClock

from tunnel.network.turns import DEBT, LIGHT_BURST, LIGHT_RATE, MEMORY, Share, Turns


async def use_for_ever(share: Share, done: list[int], who: int) -> None:
    while True:
        await share.wait_turn()
        done.append(who)
        share.charge(8)


async def test_a_share_is_heavy_beyond_its_burst_and_light_again_when_it_rests(autojump_clock: MockClock) -> None:
    share = Share(Turns())
    share.charge(LIGHT_BURST)
    assert not share.is_heavy
    share.charge(1)
    assert share.is_heavy
    await trio.sleep(2 / LIGHT_RATE)
    assert not share.is_heavy


async def test_a_long_flood_is_forgotten_in_seconds(autojump_clock: MockClock) -> None:
    """Who was busy for an hour is not heavy for another one."""
    share = Share(Turns())
    for _ in range(100):
        share.charge(1e6)
    await trio.sleep(MEMORY)
    assert not share.is_heavy


async def test_a_crowd_of_heavy_ones_costs_a_light_one_a_few_pieces_a_round(autojump_clock: MockClock) -> None:
    """Sixty floods would else put sixty pieces of work between any two steps of an honest connection."""
    turns, done = Turns(), list[int]()
    async with trio.open_nursery() as nursery:
        for who in range(60):
            share = Share(turns)
            share.charge(1e6)
            nursery.start_soon(use_for_ever, share, done, who)
        light = Share(turns)
        for _ in range(50):
            before = len(done)
            await light.wait_turn()
            await trio.lowlevel.checkpoint()
            assert len(done) - before <= 2
        nursery.cancel_scope.cancel()


async def test_heavy_ones_take_turns(autojump_clock: MockClock) -> None:
    """No one of them waits longer than for each of the others once."""
    turns, done = Turns(), list[int]()
    async with trio.open_nursery() as nursery:
        for who in range(5):
            share = Share(turns)
            share.charge(1e6)
            nursery.start_soon(use_for_ever, share, done, who)
        while len(done) < 50:
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    assert [done.count(who) for who in range(5)] == [10] * 5


async def test_who_has_used_little_goes_before_who_has_used_much(autojump_clock: MockClock) -> None:
    """Else a connection that is merely busy would wait for sixty floods before each of its messages."""
    turns, done = Turns(), list[int]()
    async with trio.open_nursery() as nursery:
        for who in range(60):
            share = Share(turns)
            share.charge(1e6)
            nursery.start_soon(use_for_ever, share, done, who)
        await wait_done(done, 200)
        busy = Share(turns)
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
    turns, done = Turns(), list[int]()
    old = Share(turns)
    for _ in range(10_000):
        await old.stand_in_line()
        old.charge(5)
    async with trio.open_nursery() as nursery:
        for who in range(60):
            nursery.start_soon(use_for_ever, Share(turns), done, who)
        await wait_done(done, 1000)
        before = len(done)
        await old.stand_in_line()
        assert len(done) - before <= 3
        nursery.cancel_scope.cancel()


async def test_what_one_was_sent_by_others_starves_it_not(autojump_clock: MockClock) -> None:
    turns, done = Turns(), list[int]()
    async with trio.open_nursery() as nursery:
        for who in range(60):
            nursery.start_soon(use_for_ever, Share(turns), done, who)
        await wait_done(done, 1000)
        receiver = Share(turns)
        receiver.charge(1e6)
        before = len(done)
        await receiver.stand_in_line()
        assert len(done) - before <= 60 * (DEBT / 8 + 2)
        nursery.cancel_scope.cancel()


async def wait_done(done: list[int], count: int) -> None:
    while len(done) < count:
        await trio.lowlevel.checkpoint()


async def test_those_who_are_cancelled_in_line_hold_nobody_up(autojump_clock: MockClock) -> None:
    """Also one that is given the turn in the moment in which it is cancelled."""
    turns = Turns()
    async with trio.open_nursery() as nursery:
        for place in range(5):
            nursery.start_soon(turns.take, float(place))
        for _ in range(4):
            await trio.lowlevel.checkpoint()
            nursery.start_soon(turns.take, 9.0)
        nursery.cancel_scope.cancel()
    with trio.fail_after(1):
        await turns.take(0.0)
