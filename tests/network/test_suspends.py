"""A machine that slept looks again at where it is."""

from __future__ import annotations

import pytest
import trio

from tunnel.network.memory_machine import MemoryClock
from tunnel.network.suspends import wait_copied, wait_slept


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


@pytest.mark.parametrize(
    ("shown", "step", "other_kernel", "told"),
    [
        (1.8e9, 0.0, False, None),
        (1.8e9, -3600.0, False, None),
        (1.8e9, 2.0, False, None),
        (0.0, 1.8e9, False, None),
        (1.8e9, 3600.0, False, "the wall clock was set forward by 3600 s"),
        (1.8e9, 0.0, True, "the kernel is another one"),
    ],
)
async def test_a_copy_of_a_memory_is_known_by_its_clock_or_its_kernel(
    autojump_clock: trio.testing.MockClock, shown: float, step: float, other_kernel: bool, told: str | None
) -> None:
    """A clock that is kept right by small steps, set back, or set for the first time is no sign."""
    is_later = False

    async def happen() -> None:
        nonlocal is_later
        await trio.sleep(7.0)
        is_later = True

    async with trio.open_nursery() as nursery:
        nursery.start_soon(happen)
        heard = None
        with trio.move_on_after(60.0):
            heard = await wait_copied(
                lambda: trio.current_time() + shown + step * is_later,
                lambda: trio.current_time(),
                lambda: "two" if other_kernel and is_later else "one",
            )
    assert heard == told
