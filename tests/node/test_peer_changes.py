"""Who watches the peers is told of each of their moves, and who does not read waits in nobody's way."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import trio
import trio.testing

from tunnel.machines.notifier import Notifier
from tunnel.model.status import Move, PeerStatus
from tunnel.node.peer_changes import WATCH_QUEUE, PeerChanges

if TYPE_CHECKING:
    from tunnel.node.status_report import StatusReport
    from tunnel.peer.connection import PeerConnection


class Report:
    """A report that knows one peer."""

    def peer(self, peer: PeerConnection) -> PeerStatus:
        return cast("PeerStatus", peer)


LAPTOP = cast("PeerConnection", "laptop")


def changes_of(notifier: Notifier | None = None) -> PeerChanges:
    return PeerChanges(cast("StatusReport", Report()), notifier or Notifier())


def move(number: int) -> Move:
    return Move(float(number), "announced", "introduced", "punching")


async def test_a_watcher_that_does_not_read_misses_the_oldest(autojump_clock: trio.testing.MockClock) -> None:
    """And only it: its queue is its own."""
    changes, seen, numbers = changes_of(), list[float](), range(WATCH_QUEUE + 4)

    async def read(pause: float) -> None:
        watching = changes.watch()
        seen.append((await anext(watching)).move.at)
        await trio.sleep(pause)
        seen.append((await anext(watching)).move.at)
        await watching.aclose()

    for pause, expected in ((0.0, 1.0), (1.0, 4.0)):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read, pause)
            for number in numbers:
                await trio.testing.wait_all_tasks_blocked()
                changes.note_move(LAPTOP, move(number))
        assert seen.pop() == expected
        assert seen.pop() == 0.0


async def test_a_move_beats_for_those_who_wait_for_the_status(autojump_clock: trio.testing.MockClock) -> None:
    notifier = Notifier()
    changes = changes_of(notifier)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(notifier.wait)
        await trio.testing.wait_all_tasks_blocked()
        changes.note_move(LAPTOP, move(1))
