"""What the demo waits for."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from tunnel.verify.demo.peer_progress import PeerProgress, wait_direct, wait_given_up


async def test_each_change_is_shown_once_and_wakes_whoever_waits(
    console: Any, autojump_clock: trio.testing.MockClock
) -> None:
    both = [PeerProgress(name, console) for name in ("desk", "laptop")]

    async def happen() -> None:
        for at, progress in enumerate(both):
            progress.note_move("it", "punching", "path_verified", "connected", 100.0 + at)
            await trio.sleep(1)
            progress.note_path("it", "direct", 100.0)
            progress.note_path("it", "direct", 101.0)
        await trio.sleep(1)
        for at, progress in enumerate(both):
            progress.is_muted = True
            progress.note_move("it", "connected", "path_lost", "punching", 110.0 + at)
            progress.note_move("it", "punching", "introduced", "punching", 120.0)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(happen)
        assert await wait_direct(*both) == 101.0
        assert trio.current_time() == pytest.approx(2.0)
        assert await wait_given_up(*both) == 111.0
    assert console.paths == [("desk", "direct"), ("laptop", "direct")]
    assert console.moves == [("desk", "path_verified"), ("laptop", "path_verified")], "nobody hears of what is muted"
