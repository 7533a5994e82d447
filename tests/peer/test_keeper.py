"""The keeper of the path in use: what it asks, what it doubts, when it gives up."""

from __future__ import annotations

import pytest
import trio

from tunnel.model.endpoint import Endpoint
from tunnel.model.timings import DEFAULT_TIMINGS
from tunnel.peer.keeper import PathKeeper
from tunnel.peer.paths import Path, Paths
from tunnel.peer.surroundings import Way


@pytest.fixture
def paths() -> Paths:
    """One proven path, in use."""
    made = Paths(DEFAULT_TIMINGS)
    made.chosen = Path(Way(0, Endpoint("192.0.2.1", 7)), rtt=0.04, is_proven=True)
    return made


async def test_a_path_given_up_leaves_the_relay_on_the_route_to_the_end(
    autojump_clock: trio.testing.MockClock, paths: Paths
) -> None:
    """Between the end of a doubted path and the next state there must be no moment in which nothing carries."""
    doubts: list[bool] = []
    path = paths.chosen
    assert path is not None
    path.answered = path.asked = trio.current_time()
    keeper = PathKeeper(
        paths,
        DEFAULT_TIMINGS,
        ask=lambda way: None,
        suspect=lambda: None,
        changed=lambda: doubts.append(keeper.is_doubted),
    )

    async def keep_using() -> None:
        while True:
            keeper.note_sent(trio.current_time())
            await trio.sleep(0.1)

    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep_using)
        await keeper.keep()
        nursery.cancel_scope.cancel()
    assert trio.current_time() - began == pytest.approx(DEFAULT_TIMINGS.path_trust, abs=0.2)
    assert doubts == [True]
    assert not keeper.is_doubted
