"""The keeper of the path in use: what it asks, what it doubts, when it gives up."""

from __future__ import annotations

from itertools import pairwise

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
        keepalive=lambda: DEFAULT_TIMINGS.keepalive,
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


async def test_an_idle_path_is_asked_as_often_as_our_nat_forgets(
    autojump_clock: trio.testing.MockClock, paths: Paths
) -> None:
    """The lifetime of its mappings may come to be known meanwhile."""
    lifetime = 40.0
    asked: list[float] = []
    keeper = PathKeeper(
        paths,
        DEFAULT_TIMINGS,
        ask=lambda way: asked.append(trio.current_time()),
        keepalive=lambda: lifetime / 2,
        suspect=lambda: None,
        changed=lambda: None,
    )
    with trio.move_on_after(50.0):
        await keeper.keep()
    lifetime = 10.0
    with trio.move_on_after(16.0):
        await keeper.keep()
    gaps = [later - sooner for sooner, later in pairwise(asked)]
    assert gaps == pytest.approx([20.0, 20.0, 10.0, 5.0, 5.0, 5.0])
