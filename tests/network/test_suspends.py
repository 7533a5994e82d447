"""A machine that slept looks again at where it is."""

from __future__ import annotations

import pytest
import trio

from tunnel.network.memory_machine import MemoryClock
from tunnel.network.suspends import wait_slept


@pytest.mark.parametrize(("naps", "told"), [([], []), ([1.0, 0.5], []), ([30.0, 3600.0], [30.0, 3600.0])])
async def test_each_sleep_is_told_once(
    autojump_clock: trio.testing.MockClock, naps: list[float], told: list[float]
) -> None:
    slept, heard = [0.0], list[float]()

    async def listen() -> None:
        while True:
            heard.append(await wait_slept(lambda: trio.current_time() + sum(slept)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen)
        for nap in naps:
            await trio.sleep(5.0)
            slept.append(nap)
        await trio.sleep(60.0)
        nursery.cancel_scope.cancel()
    assert heard == pytest.approx(told)


async def test_a_clock_in_memory_tells_each_sleep_too(autojump_clock: trio.testing.MockClock) -> None:
    clock, heard = MemoryClock(), list[float]()

    async def listen() -> None:
        while True:
            heard.append(await clock.wait_slept())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen)
        for nap in (3.0, 600.0):
            await trio.sleep(1.0)
            clock.wake(nap)
        await trio.sleep(1.0)
        nursery.cancel_scope.cancel()
    assert heard == [3.0, 600.0]
