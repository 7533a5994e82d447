"""Who had no turn knows it, and takes what it heard of nobody meanwhile for nobody's silence."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tunnel.machines.stalls import LEAST, MOST, TICK, WATCHED, Stalls
from tunnel.model.timings import DEFAULT_TIMINGS


@asynccontextmanager
async def open_stalls() -> AsyncIterator[Stalls]:
    stalls = Stalls()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stalls.run)
        await wait_all_tasks_blocked()
        stalls.lost(0.0)
        yield stalls
        nursery.cancel_scope.cancel()


async def test_a_stall_is_not_counted_and_what_came_before_it_and_after_it_is(autojump_clock: MockClock) -> None:
    async with open_stalls() as stalls:
        await trio.sleep(1.1)
        autojump_clock.jump(0.6)
        await trio.sleep(1.0)
        assert stalls.lost(0.5) == pytest.approx(0.5)  # 1.2 .. 1.7: the turn at 1.2 was the next one that was due
        assert stalls.deadline(0.5, 2.0) == pytest.approx(3.0)
        assert stalls.lost(1.4) == pytest.approx(0.3)
        assert stalls.lost(1.71) == 0.0
        assert stalls.last_ended == pytest.approx(1.7)
        assert stalls.deadline(-math.inf, 2.0) == -math.inf


async def test_whoever_has_the_first_turn_after_a_stall_knows_of_it(autojump_clock: MockClock) -> None:
    """All timers end at once, and it is chance whose task is first."""
    async with open_stalls() as stalls:
        autojump_clock.jump(2.0)
        assert stalls.deadline(0.0, 1.0) == pytest.approx(3.0 - TICK)
        assert stalls.deadline(0.0, 1.0) == pytest.approx(3.0 - TICK)
        await trio.sleep(5.0)
        assert stalls.lost(0.0) == pytest.approx(2.0 - TICK)


async def test_a_turn_that_is_a_little_late_is_no_stall(autojump_clock: MockClock) -> None:
    async with open_stalls() as stalls:
        autojump_clock.jump(TICK + 0.9 * LEAST)
        assert stalls.lost(0.0) == 0.0


async def test_a_stall_that_is_not_noticed_makes_no_path_silent() -> None:
    """An answer takes a quarter of the patience at most. The rest must be longer than what nobody notices."""
    assert 0.75 * DEFAULT_TIMINGS.path_suspect > TICK + LEAST


async def test_a_long_stall_is_time_that_passed(autojump_clock: MockClock) -> None:
    """The peers have given this node up by then: what it knew of them is old."""
    async with open_stalls() as stalls:
        autojump_clock.jump(TICK + MOST + 0.1)
        assert stalls.lost(0.0) == 0.0
        assert stalls.last_ended == -math.inf
    assert DEFAULT_TIMINGS.path_trust > MOST


async def test_a_program_that_has_hardly_any_turns_finds_out_all_the_same(autojump_clock: MockClock) -> None:
    """What it was awake for counts."""
    async with open_stalls() as stalls:
        while trio.current_time() < stalls.deadline(0.0, 1.0):
            await trio.sleep(0.1)
            autojump_clock.jump(0.5)
        assert trio.current_time() < 5.0


async def test_a_program_that_nobody_asks_sleeps_and_the_first_question_wakes_it(autojump_clock: MockClock) -> None:
    """An idle node of a laptop is not woken five times a second."""
    async with open_stalls() as stalls:
        await trio.sleep(60.0)
        assert trio.lowlevel.current_statistics().seconds_to_next_deadline > 3600.0
        autojump_clock.jump(2.0)
        assert stalls.lost(0.0) == 0.0
        autojump_clock.jump(2.0)
        assert stalls.lost(0.0) == pytest.approx(2.0 - TICK)
        await wait_all_tasks_blocked()
        assert trio.lowlevel.current_statistics().seconds_to_next_deadline == pytest.approx(TICK)


async def test_whoever_waits_by_a_short_deadline_is_watched_until_it_is_over() -> None:
    timings = DEFAULT_TIMINGS
    waits = (timings.path_suspect, timings.session_trust, timings.server_suspect_patience, timings.circuit_alone)
    assert max(waits) <= WATCHED


async def test_without_its_task_there_are_no_stalls(autojump_clock: MockClock) -> None:
    async with open_stalls() as stalls:
        await trio.sleep(1.0)
    autojump_clock.jump(2.0)
    assert Stalls().lost(0.0) == stalls.lost(0.0) == 0.0


async def test_no_number_of_stalls_fills_the_memory() -> None:
    stalls = Stalls()
    for second in range(1000):
        stalls.note(second, second + 0.5)
    assert stalls.lost(0.0) < 20.0
    assert stalls.lost(995.0) == pytest.approx(2.5)
