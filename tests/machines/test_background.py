"""A task beside a block."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from tunnel.machines.background import run_beside


async def test_the_task_ends_with_the_block(autojump_clock: MockClock) -> None:
    seen = []

    async def task() -> None:
        try:
            await trio.sleep_forever()
        finally:
            seen.append("ended")

    async with run_beside(task):
        await trio.sleep(1)
        assert seen == []
    assert seen == ["ended"]


async def test_a_task_may_end_before_the_block(autojump_clock: MockClock) -> None:
    async with run_beside(trio.lowlevel.checkpoint):
        await trio.sleep(1)


async def test_the_blocks_error_leaves_as_it_is(autojump_clock: MockClock) -> None:
    with pytest.raises(LookupError, match="mine"):
        async with run_beside(trio.sleep_forever):
            raise LookupError("mine")


async def test_a_cancellation_passes_through_even_when_the_task_has_ended(autojump_clock: MockClock) -> None:
    """Else the code after the block would run as if the block had been completed."""
    after: list[str] = []
    with trio.move_on_after(1):
        async with run_beside(trio.lowlevel.checkpoint):
            await trio.sleep_forever()
        after.append("went on")
    assert after == []


async def test_the_tasks_error_cancels_the_block(autojump_clock: MockClock) -> None:
    async def fail() -> None:
        await trio.sleep(1)
        raise LookupError("the task's")

    with pytest.RaisesGroup(pytest.RaisesExc(LookupError, match="the task's")):
        async with run_beside(fail):
            await trio.sleep_forever()


async def test_the_blocks_error_wins_over_a_cancellation_around_it(autojump_clock: MockClock) -> None:
    async def block() -> None:
        async with run_beside(trio.sleep_forever):
            scope.cancel()
            raise LookupError("mine")

    with trio.CancelScope() as scope, pytest.raises(LookupError, match="mine"):
        await block()
