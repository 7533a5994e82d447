"""Whoever waits for a fact looks again each time one changed."""

from __future__ import annotations

import trio

from tunnel.machines.notifier import Notifier


async def test_notify_wakes_all_who_wait_and_nobody_who_comes_later(autojump_clock: trio.testing.MockClock) -> None:
    notifier, woken = Notifier(), 0

    async def wait() -> None:
        nonlocal woken
        await notifier.wait()
        woken += 1

    async with trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(wait)
        await trio.sleep(1)
        notifier.notify()
        nursery.start_soon(wait)
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    assert woken == 2


async def test_a_condition_is_asked_at_once_and_after_each_notify(autojump_clock: trio.testing.MockClock) -> None:
    """What holds already is not waited for."""
    notifier, facts = Notifier(), [1]
    await notifier.wait_until(lambda: len(facts) == 1)

    async def change() -> None:
        for _ in range(2):
            await trio.sleep(1)
            facts.append(1)
            notifier.notify()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(change)
        await notifier.wait_until(lambda: len(facts) == 3)
    assert trio.current_time() == 2
