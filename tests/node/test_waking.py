"""A machine that slept looks again at where it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from tunnel.network.memory_machine import MemoryClock
from tunnel.node.waking import watch_sleep

if TYPE_CHECKING:
    from tests.node.conftest import OpenNode, Town


@pytest.mark.parametrize(("naps", "told"), [([], []), ([1.0, 0.5], []), ([30.0, 3600.0], [30.0, 3600.0])])
async def test_each_sleep_is_told_once(
    autojump_clock: trio.testing.MockClock, naps: list[float], told: list[float]
) -> None:
    clock, heard = MemoryClock(), list[float]()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch_sleep, clock, heard.append)
        for nap in naps:
            await trio.sleep(5.0)
            clock.slept += nap
        await trio.sleep(60.0)
        nursery.cancel_scope.cancel()
    assert heard == pytest.approx(told)


async def test_a_node_that_slept_surveys_and_asks_its_server(town: Town, open_in: OpenNode) -> None:
    async with town.server(), open_in("desk") as desk:
        await desk.wait_registered()
        await trio.sleep(5.0)
        before = desk.program.surveyor.result
        town.host("desk").clock.slept += 600.0
        await trio.sleep(3.0)
        assert desk.program.surveyor.result is not before
