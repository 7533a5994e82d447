"""Writers go one after the other, and who is alone does not wait."""

from __future__ import annotations

import trio
from trio.testing import MockClock, assert_no_checkpoints

from tunnel.network.write_lock import WriteLock


async def test_writers_go_in_the_order_in_which_they_came(autojump_clock: MockClock) -> None:
    lock, events = WriteLock(), list[str]()

    async def write(name: str) -> None:
        async with lock:
            events.append(f"{name} begins")
            await trio.sleep(1)
            events.append(f"{name} ends")

    async with trio.open_nursery() as nursery:
        for name in "abc":
            nursery.start_soon(write, name)
            await trio.sleep(0.1)
    assert events == [f"{name} {what}" for name in "abc" for what in ("begins", "ends")]


async def test_who_is_alone_takes_it_at_once() -> None:
    lock = WriteLock()
    with assert_no_checkpoints():
        async with lock:
            pass


async def test_a_writer_that_is_cancelled_as_it_waits_leaves_the_others_their_turn(autojump_clock: MockClock) -> None:
    lock, done = WriteLock(), list[str]()

    async def write(name: str, patience: float) -> None:
        with trio.move_on_after(patience):
            async with lock:
                await trio.sleep(1)
                done.append(name)

    async with trio.open_nursery() as nursery:
        for name, patience in (("first", 9), ("impatient", 0.5), ("last", 9)):
            nursery.start_soon(write, name, patience)
            await trio.sleep(0.01)
    assert done == ["first", "last"]
