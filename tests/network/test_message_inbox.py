"""What was read waits until it is received, and no more is read before."""

from __future__ import annotations

import trio
from trio.testing import MockClock

from tunnel.network.message_inbox import MessageInbox


async def test_messages_are_taken_in_order_and_then_more_may_come(autojump_clock: MockClock) -> None:
    inbox, events = MessageInbox(), list[object]()

    async def put() -> None:
        for number in range(3):
            inbox.put([bytes([number]), bytes([number])])
            await inbox.wait_empty()
            events.append("empty")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(put)
        while len(events) < 9:
            while (message := inbox.take_nowait()) is None:
                await inbox.wait_news()
            events.append(message)
            await trio.sleep(1)
    assert events == [b"\0", b"\0", "empty", b"\1", b"\1", "empty", b"\2", b"\2", "empty"]


async def test_a_notice_ends_the_wait_without_a_message(autojump_clock: MockClock) -> None:
    """The reader has ended: nothing will come."""
    inbox = MessageInbox()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(inbox.wait_news)
        await trio.sleep(1)
        inbox.notify()
    assert inbox.take_nowait() is None


async def test_a_closed_inbox_forgets_what_comes_and_holds_nobody_up(autojump_clock: MockClock) -> None:
    """The close of the other side comes behind its messages."""
    inbox = MessageInbox()
    inbox.put([b"unread"])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(inbox.wait_empty)
        nursery.start_soon(inbox.wait_news)
        await trio.sleep(1)
        inbox.close()
    inbox.put([b"late"])
    await inbox.wait_empty()
    assert inbox.take_nowait() is None
