"""A machine that was suspended looks again at where it is."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio

from tunnel.network.suspend_detection import LEAST_STEP, SLEW_WINDOW, CopyWatch, wait_slept
from tunnel.verify.memory.machine import MemoryClock


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
            watch = CopyWatch(
                lambda: trio.current_time() + shown + step * is_later,
                lambda: trio.current_time(),
                lambda: "two" if other_kernel and is_later else "one",
            )
            heard = await watch.wait()
    assert heard == told


async def signs(lead: Callable[[float], float], seconds: float) -> list[float]:
    """When a copy was told of, while the wall clock is ahead by so much."""
    told = list[float]()
    watch = CopyWatch(lambda: trio.current_time() + lead(trio.current_time()), trio.current_time, lambda: "one")
    with trio.move_on_after(seconds):
        while True:
            await watch.wait()
            told.append(trio.current_time())
    return told


async def test_a_clock_that_runs_fast_until_it_is_right_is_a_sign_too(autojump_clock: trio.testing.MockClock) -> None:
    """So does chrony, past its first updates, by 1/12: two hours take it a day. New keys are drawn once an hour."""
    told = await signs(lambda now: 1.8e9 + min(7200.0, now / 12), 12000.0)
    assert told[0] <= 12 * LEAST_STEP + 2.0
    assert 2 <= len(told) <= 12000.0 / SLEW_WINDOW + 1


async def test_small_steps_that_add_up_are_a_sign(autojump_clock: trio.testing.MockClock) -> None:
    assert await signs(lambda now: 1.8e9 + 2.0 * (now // 600.0), 2000.0) == [pytest.approx(1800.0, abs=2.0)]


@pytest.mark.parametrize("drift", [500e-6, -500e-6])
async def test_no_honest_drift_of_a_clock_is_ever_a_sign(autojump_clock: trio.testing.MockClock, drift: float) -> None:
    """500 in a million is all that a time service corrects; what is older than an hour is forgotten."""
    assert await signs(lambda now: 1.8e9 + drift * now, 6 * SLEW_WINDOW) == []


async def test_the_first_setting_of_a_clock_is_no_sign_afterwards(autojump_clock: trio.testing.MockClock) -> None:
    assert await signs(lambda now: 0.0 if now < 30.0 else 1.8e9 + 0.5 * (now > 60.0), 7200.0) == []
